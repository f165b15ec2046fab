"""ExemplarGraph: neural gas over the features of every class, with its neighbourhoods.

This is the graph of TPCIL (Tao et al., ECCV 2020). A vertex represents a stored image;
edges join neighbours in feature space. It is a reconstruction, because code was not
released. The article's abstract names an elastic graph built by competitive Hebbian
learning. The neural-gas update and its rates are those of a re-implementation of the
authors' later TOPIC. The lifetime of edges is recalled; the rest is ours.

`ExemplarGraph` is the selection policy of TPCIL's memory.
"""

import numpy as np

from bsce_keras.memory.selection import herding
from bsce_keras.memory.selection_policies import SelectionPolicy
from bsce_keras.memory.unit_rows import unit_rows

# Passes over the features of a class, rate of the nearest vertex, number of ranks over
# which the rate falls by e, and number of vertices that move.
_PASSES = 2
_RATE = 0.1
_REACH = 10.0
_NUM_MOVED = 10
# Largest age of an edge. It ages when either end wins together with another vertex.
_LIFETIME = 200
_BLOCK = 256


class ExemplarGraph(SelectionPolicy):
    """Vertices of all seen classes, in the order of the exemplars they represent.

    A vertex has a centroid and edges to other vertices. The centroid does not move
    after its step. Classes are added one by one; `connect` then adds edges.

    Attributes:
        centroids: float64, shape `(num_vertices, d)`, unit rows.
        edges: int64, shape `(num_edges, 2)`, pairs `i < j` in rising order. Once
            connected, every vertex has an edge, unless it is the only vertex.
    """

    description = "images of the vertices of a neural-gas graph over the features"

    def __init__(self):
        self.centroids = np.zeros((0, 0))
        self.edges = np.zeros((0, 2), np.int64)
        self._num_old = 0
        self._rows = []

    def keep(self, vertices):
        """Drops all other vertices and their edges.

        Args:
            vertices: int, indices of the vertices to keep, in rising order.
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
        """Adds the vertices of a new class and chooses an image for each.

        Vertices that are nearest to most images come first.

        Args:
            features: float, shape `(num_images, d)`, features of the class.
            num_vertices: number of vertices, at most one per image.
            rng: `np.random.Generator`.

        Returns:
            int64 indices of the images, all different, one per vertex.
        """
        rows = unit_rows(np.asarray(features, np.float64))
        centroids = neural_gas(rows, num_vertices, rng)
        centroids, images = represented(rows, centroids)
        self._rows.append(rows.astype(np.float32))
        known = self.centroids.reshape(-1, rows.shape[1])
        self.centroids = np.concatenate([known, centroids])
        return images

    def connect(self, rng):
        """Joins neighbours, by the features of classes added since the last call.

        Args:
            rng: `np.random.Generator` for the order of the features.
        """
        if self._rows and len(self.centroids) > 1:
            nearest = [nearest_two(rows, self.centroids) for rows in self._rows]
            nearest = rng.permutation(np.concatenate(nearest))
            self.edges = hebbian_edges(nearest, self.edges, self._num_old)
        self._rows = []
        self.edges = without_isolated(self.edges, self.centroids)

    def to_arrays(self):
        """Returns the graph as named arrays for checkpoints."""
        return {"graph_centroids": self.centroids, "graph_edges": self.edges}

    def restore(self, arrays):
        """Restores the graph from the arrays of `to_arrays`."""
        self.centroids, self.edges = arrays["graph_centroids"], arrays["graph_edges"]
        self._num_old, self._rows = len(self.centroids), []


def neural_gas(rows, num_vertices, rng):
    """Returns centroids that spread over the unit features of a class.

    Centroids start at random images. Two passes visit all images in random order. The
    ten centroids nearest to an image move towards its features f, then are scaled to
    unit length:

        m_k <- m_k + 0.1 exp(-k / 10) (f - m_k),   k = 0, ..., 9 by distance

    Args:
        rows: float64, shape `(num_images, d)`, unit features.
        num_vertices: number of centroids, at most one per image.
        rng: `np.random.Generator`.

    Returns:
        float64, shape `(min(num_vertices, num_images), d)`, unit rows.
    """
    centroids = rows[rng.permutation(len(rows))[:num_vertices]]
    num_moved = min(_NUM_MOVED, len(centroids))
    rates = _RATE * np.exp(-np.arange(num_moved) / _REACH)[:, None]
    for _ in range(_PASSES):
        for row in rows[rng.permutation(len(rows))]:
            # The nearest of unit vectors has the largest product.
            nearest = np.argsort(-(centroids @ row), kind="stable")[:num_moved]
            moved = centroids[nearest]
            centroids[nearest] = unit_rows(moved + rates * (row - moved))
    return centroids


def represented(rows, centroids):
    """Chooses an image for every centroid.

    Centroids that are nearest to most images come first. In this order, each takes the
    nearest image that is still free. A centroid that is not nearest to any image moves
    to the next free image of the herding list.

    Args:
        rows: float64, shape `(num_images, d)`, unit features of one class.
        centroids: float64, shape `(num_vertices, d)`, unit rows; at most as many as
            images.

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
    """Returns the nearest and the second nearest centroid of every row.

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
    """Joins vertices by competitive Hebbian learning.

    The two nearest vertices of every image get an edge of age 0. All other edges of the
    nearest vertex age by 1. An edge older than `lifetime` is removed. Edges between two
    old vertices stay, because their images are gone. Ages are therefore not kept after
    a step.

    Args:
        nearest: int, shape `(num_images, 2)`, result of `nearest_two` in the order of
            the visits.
        edges: int64, shape `(num_edges, 2)`, edges between old vertices.
        num_old: number of vertices of earlier steps, which come first.
        lifetime: largest age of an edge.

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
    """Adds an edge to the nearest vertex for every vertex without edges.

    Args:
        edges: int64, shape `(num_edges, 2)`.
        centroids: float, shape `(num_vertices, d)`, unit rows.

    Returns:
        int64, shape `(num_edges, 2)`, pairs `i < j` in rising order. A single vertex
        stays without edges.
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
