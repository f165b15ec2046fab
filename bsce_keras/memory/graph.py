"""ExemplarGraph: a neural gas over the features of every class, and its neighbourhoods.

The graph of TPCIL (Tao et al., ECCV 2020), whose vertices stand for images that are
kept and whose edges join what lies side by side in feature space. Reconstruction: the
article's abstract names an elastic graph built by competitive Hebbian learning, and no
code was released. The neural-gas update and its rates are those of a re-implementation
of the authors' later TOPIC, the lifetime of edges is recalled, the rest is ours.

It is the selection policy of TPCIL's memory.
"""

import numpy as np

from bsce_keras.memory.policies import SelectionPolicy
from bsce_keras.memory.selection import herding
from bsce_keras.memory.unit_rows import unit_rows

# Passes over the features of a class, rate of the nearest vertex, ranks over which the
# rate falls by e, and how many vertices move at all.
_PASSES = 2
_RATE = 0.1
_REACH = 10.0
_NUM_MOVED = 10
# Wins of either end, shared with another vertex, that an edge outlives.
_LIFETIME = 200
_BLOCK = 256


class ExemplarGraph(SelectionPolicy):
    """Vertices of all seen classes, in the order of the exemplars they stand for.

    A vertex has a centroid, which never moves once its step is over, and edges to other
    vertices. Classes are added one by one; `connect` then gives all of them edges.

    Attributes:
        centroids: float64, shape `(num_vertices, d)`, unit rows.
        edges: int64, shape `(num_edges, 2)`, pairs `i < j` in rising order. Once
            connected, every vertex has one, unless it is the only vertex.
    """

    description = "images of the vertices of a neural-gas graph over the features"

    def __init__(self):
        self.centroids = np.zeros((0, 0))
        self.edges = np.zeros((0, 2), np.int64)
        self._num_old = 0
        self._rows = []

    def keep(self, vertices):
        """Drops all vertices but these, and the edges of those dropped.

        Args:
            vertices: int, places among the vertices, in rising order.
        """
        place = np.full(len(self.centroids), -1)
        place[vertices] = np.arange(len(vertices))
        edges = place[self.edges]
        self.edges = edges[(edges >= 0).all(axis=1)]
        self.centroids = self.centroids[vertices]
        self._num_old = len(vertices)

    def rank(self, images, quota, features_of, rng):
        return self.add_class(features_of(images), quota, rng)

    def add_class(self, features, num_vertices, rng):
        """Places the vertices of a new class and chooses an image for each.

        Those that stand for most images come first.

        Args:
            features: float, shape `(num_images, d)`, of the class.
            num_vertices: how many; one for every image if there are not more.
            rng: `np.random.Generator`.

        Returns:
            int64 indices of the images, all different, one for each vertex.
        """
        rows = unit_rows(np.asarray(features, np.float64))
        centroids = neural_gas(rows, num_vertices, rng)
        centroids, images = represented(rows, centroids)
        self._rows.append(rows.astype(np.float32))
        known = self.centroids.reshape(-1, rows.shape[1])
        self.centroids = np.concatenate([known, centroids])
        return images

    def connect(self, rng):
        """Joins neighbours, by the features of the classes added since the last time.

        Args:
            rng: `np.random.Generator`, for the order in which features are looked at.
        """
        if self._rows and len(self.centroids) > 1:
            nearest = [nearest_two(rows, self.centroids) for rows in self._rows]
            nearest = rng.permutation(np.concatenate(nearest))
            self.edges = hebbian_edges(nearest, self.edges, self._num_old)
        self._rows = []
        self.edges = without_isolated(self.edges, self.centroids)

    def to_arrays(self):
        """The graph as named arrays, for checkpoints."""
        return {"graph_centroids": self.centroids, "graph_edges": self.edges}

    def restore(self, arrays):
        """Takes over what `to_arrays` returned."""
        self.centroids, self.edges = arrays["graph_centroids"], arrays["graph_edges"]
        self._num_old, self._rows = len(self.centroids), []


def neural_gas(rows, num_vertices, rng):
    """Centroids that spread over the unit features of a class.

    They start at random images. For every image, in random order and twice, the ten
    nearest ones move towards its features f, and are brought to unit length again:

        m_k <- m_k + 0.1 exp(-k / 10) (f - m_k),   k = 0, ..., 9 by distance

    Args:
        rows: float64, shape `(num_images, d)`, unit features.
        num_vertices: how many; one for every image if there are not more.
        rng: `np.random.Generator`.

    Returns:
        float64, shape `(min(num_vertices, num_images), d)`, unit rows.
    """
    centroids = rows[rng.permutation(len(rows))[:num_vertices]]
    num_moved = min(_NUM_MOVED, len(centroids))
    rates = _RATE * np.exp(-np.arange(num_moved) / _REACH)[:, None]
    for _ in range(_PASSES):
        for row in rows[rng.permutation(len(rows))]:
            # Of unit vectors the nearest has the largest product.
            nearest = np.argsort(-(centroids @ row), kind="stable")[:num_moved]
            moved = centroids[nearest]
            centroids[nearest] = unit_rows(moved + rates * (row - moved))
    return centroids


def represented(rows, centroids):
    """An image for every centroid, those that are nearest to most images first.

    In this order each takes the nearest image that is still free. One that is nearest
    to no image has lost its place: it moves to the next free image of the herding list.

    Args:
        rows: float64, shape `(num_images, d)`, unit features of one class.
        centroids: float64, shape `(num_vertices, d)`, unit rows, not more than images.

    Returns:
        `(centroids, images)`: the centroids in their new order, and int64 indices of
        images, all different.
    """
    products = rows @ centroids.T
    wins = np.bincount(products.argmax(axis=1), minlength=len(centroids))
    order = np.argsort(-wins, kind="stable")
    num_alive = np.count_nonzero(wins)
    images = []
    for vertex in order[:num_alive]:
        images.append(int(products[:, vertex].argmax()))
        products[images[-1]] = -np.inf
    free = [i for i in herding(rows, len(centroids)).tolist() if i not in images]
    images += free[: len(centroids) - num_alive]
    centroids = centroids[order]
    centroids[num_alive:] = rows[images[num_alive:]]
    return centroids, np.array(images, np.int64)


def nearest_two(rows, centroids):
    """The nearest and the second nearest centroid of every row.

    Args:
        rows: float, shape `(num_images, d)`, unit features.
        centroids: float, shape `(num_vertices, d)`, unit rows, at least two.

    Returns:
        int64, shape `(num_images, 2)`.
    """
    found = []
    for start in range(0, len(rows), _BLOCK):
        products = rows[start : start + _BLOCK] @ centroids.T
        first = products.argmax(axis=1)
        products[np.arange(len(first)), first] = -np.inf
        found.append(np.stack([first, products.argmax(axis=1)], axis=1))
    return np.concatenate(found)


def hebbian_edges(nearest, edges, num_old, lifetime=_LIFETIME):
    """Competitive Hebbian learning: what is nearest to one image together is joined.

    For every image its two nearest vertices get an edge of age 0, and every other edge
    of the nearest one ages by 1. An edge older than `lifetime` is cut. Edges between
    two old vertices stay, for the images that made them are gone; so age is of no use
    beyond a step.

    Args:
        nearest: int, shape `(num_images, 2)`, of `nearest_two`, in the order in which
            images are looked at.
        edges: int64, shape `(num_edges, 2)`, between old vertices.
        num_old: the first vertices, which are of earlier steps.
        lifetime: the age that an edge may reach.

    Returns:
        int64, shape `(num_edges, 2)`, pairs `i < j` in rising order.
    """
    kept = {(int(i), int(j)) for i, j in edges}
    ages = {}
    for winner, second in nearest.tolist():
        if max(winner, second) < num_old:
            kept.add((min(winner, second), max(winner, second)))
        mine = ages.setdefault(winner, {})
        for other in list(mine):
            mine[other] = ages[other][winner] = mine[other] + 1
            if mine[other] > lifetime:
                del mine[other], ages[other][winner]
        if max(winner, second) >= num_old:
            mine[second] = ages.setdefault(second, {})[winner] = 0
    young = {(i, j) for i, others in ages.items() for j in others if i < j}
    return np.array(sorted(kept | young), np.int64).reshape(-1, 2)


def without_isolated(edges, centroids):
    """The edges, and one to its nearest vertex for every vertex that has none.

    Args:
        edges: int64, shape `(num_edges, 2)`.
        centroids: float, shape `(num_vertices, d)`, unit rows.

    Returns:
        int64, shape `(num_edges, 2)`, pairs `i < j` in rising order. A vertex that is
        alone stays so.
    """
    isolated = np.setdiff1d(np.arange(len(centroids)), edges)
    if not len(isolated) or len(centroids) < 2:
        return edges
    added = []
    for vertex in isolated:
        products = centroids @ centroids[vertex]
        products[vertex] = -np.inf
        added.append(sorted((int(vertex), int(products.argmax()))))
    return np.unique(np.concatenate([edges, np.array(added, np.int64)]), axis=0)
