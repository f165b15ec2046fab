"""ExemplarGraph: vertices, their images and edges, compared with results by hand."""

import numpy as np
import pytest

from bsce_keras.memory import graph as graph_module
from bsce_keras.memory.graph import (
    ExemplarGraph,
    hebbian_edges,
    nearest_two,
    neural_gas,
    represented,
    without_isolated,
)
from bsce_keras.memory.selection import herding


def on_circle(*degrees):
    """Returns unit vectors of the plane at angles in degrees."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def noise(seed, number=40, size=6):
    return np.random.default_rng(seed).normal(size=(number, size))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class InOrder:
    """Generator whose permutations keep the order."""

    def permutation(self, things):
        return np.arange(things) if isinstance(things, int) else np.asarray(things)


def test_centroids_move_by_rank_and_stay_unit_vectors():
    """Two passes over images at 0 and 90 degrees move both centroids each time."""
    rows = on_circle(0, 90)
    first, second = rows
    near, far = 0.1, 0.1 * np.exp(-0.1)
    for image in (*rows, *rows):
        is_nearest = image @ first >= image @ second
        rates = (near, far) if is_nearest else (far, near)
        first = unit(first + rates[0] * (image - first))
        second = unit(second + rates[1] * (image - second))
    expected = np.stack([first, second])
    np.testing.assert_allclose(neural_gas(rows, 2, InOrder()), expected, rtol=1e-12)


def test_at_most_ten_centroids_move_per_image():
    rows = unit(noise(1, 30))
    expected = rows[:12].copy()
    for image in (*rows, *rows):
        ranks = np.argsort(np.argsort(-expected @ image))
        rates = np.where(ranks < 10, 0.1 * np.exp(-ranks / 10), 0.0)[:, None]
        expected = unit(expected + rates * (image - expected))
    np.testing.assert_allclose(neural_gas(rows, 12, InOrder()), expected, rtol=1e-9)


def test_class_of_fewer_images_has_fewer_vertices():
    assert neural_gas(unit(noise(1, 3)), 5, InOrder()).shape == (3, 6)


def test_neural_gas_follows_its_generator():
    rows = unit(noise(1))
    first, again, other = (
        neural_gas(rows, 5, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_centroids_take_the_nearest_free_image_by_wins():
    """The centroid at 40 degrees wins 3 images, the one at 10 wins 1.

    The first one takes the image that is nearest to both.
    """
    rows = on_circle(26, 40, 55, 0)
    centroids, images = represented(rows, on_circle(10, 30))
    np.testing.assert_allclose(centroids, on_circle(30, 10))
    assert images.tolist() == [0, 3]


def test_centroid_without_wins_moves_to_a_herded_image():
    rows = on_circle(0, 10, 20, 90)
    centroids, images = represented(rows, on_circle(5, -90, 80))
    # The centroids win 3 images (at 5), 1 image (at 80) and 0 images (at -90).
    assert images[:2].tolist() == [0, 3]
    herded = [image for image in herding(rows, 3) if image not in (0, 3)]
    assert images[2] == herded[0]
    np.testing.assert_allclose(
        centroids, np.concatenate([on_circle(5, 80), rows[images[2:]]])
    )


def test_nearest_two_centroids_of_every_image():
    rows = np.concatenate([on_circle(1, 44, 89)] * 200)  # several blocks
    expected = [[0, 1], [1, 0], [2, 1]] * 200
    np.testing.assert_array_equal(nearest_two(rows, on_circle(0, 40, 90)), expected)


def test_neighbours_are_joined_and_unused_edges_removed():
    """Vertex 0 wins three times; its unused edge to 1 then has age 2."""
    nearest = np.array([[0, 1], [0, 2], [0, 2], [3, 2]])
    none = np.zeros((0, 2), np.int64)
    assert hebbian_edges(nearest, none, 0, lifetime=2).tolist() == [
        [0, 1],
        [0, 2],
        [2, 3],
    ]
    assert hebbian_edges(nearest, none, 0, lifetime=1).tolist() == [[0, 2], [2, 3]]


def test_edge_ages_by_wins_of_both_ends_and_use_resets_it():
    none = np.zeros((0, 2), np.int64)
    aged = np.array([[0, 1], [0, 2], [1, 3]])
    assert [0, 1] not in hebbian_edges(aged, none, 0, lifetime=1).tolist()
    used = np.array([[0, 1], [0, 2], [1, 0], [1, 3]])
    assert [0, 1] in hebbian_edges(used, none, 0, lifetime=1).tolist()


def test_edges_between_old_vertices_stay():
    """Vertices 0 to 2 are old and 3 is new. The edge between 0 and 1 is unused."""
    nearest = np.array([[0, 3], [0, 2], [0, 2], [0, 2]])
    edges = hebbian_edges(nearest, np.array([[0, 1]]), 3, lifetime=1)
    assert edges.tolist() == [[0, 1], [0, 2]]


def test_an_unused_edge_outlives_200_wins_of_its_ends():
    none = np.zeros((0, 2), np.int64)
    nearest = np.array([[0, 1], *[[0, 2]] * 200])
    assert hebbian_edges(nearest, none, 0).tolist() == [[0, 1], [0, 2]]
    nearest = np.array([[0, 1], *[[0, 2]] * 201])
    assert hebbian_edges(nearest, none, 0).tolist() == [[0, 2]]


def test_kept_vertices_are_old_in_the_next_step(monkeypatch):
    """Edges between old vertices do not age."""
    numbers = []

    def joined(nearest, edges, num_old):
        numbers.append(num_old)
        return hebbian_edges(nearest, edges, num_old)

    monkeypatch.setattr(graph_module, "hebbian_edges", joined)
    graph, rng = ExemplarGraph(), np.random.default_rng(1)
    for seed, kept in ((0, 0), (1, 3), (2, 5)):
        graph.keep(np.arange(kept))
        graph.add_class(noise(seed), 4, rng)
        graph.connect(rng)
    assert numbers == [0, 3, 5]


def reference_edges(nearest, num_vertices, lifetime):
    """Computes edges by matrices, as the algorithm is printed."""
    joined = np.zeros((num_vertices, num_vertices), bool)
    age = np.zeros((num_vertices, num_vertices), int)
    for winner, second in nearest:
        age[winner, joined[winner]] += 1
        age[:, winner] = age[winner]
        joined[winner, second] = joined[second, winner] = True
        age[winner, second] = age[second, winner] = 0
        old = joined & (age > lifetime)
        joined &= ~old
    return np.argwhere(np.triu(joined))


@pytest.mark.parametrize("lifetime", [0, 3, 20])
def test_edges_agree_with_the_algorithm_by_matrices(lifetime):
    rng = np.random.default_rng(lifetime)
    nearest = np.array([rng.permutation(7)[:2] for _ in range(300)])
    found = hebbian_edges(nearest, np.zeros((0, 2), np.int64), 0, lifetime)
    np.testing.assert_array_equal(found, reference_edges(nearest, 7, lifetime))


def test_isolated_vertex_gets_an_edge_to_its_nearest():
    centroids = on_circle(0, 10, 90, 70)
    edges = without_isolated(np.array([[0, 1]]), centroids)
    assert edges.tolist() == [[0, 1], [2, 3]]
    assert without_isolated(edges[:0], centroids[:1]).tolist() == []


def test_neighbouring_vertices_of_two_classes_are_joined():
    """One class has images at 0 and 40 degrees, the other at 50 and 90."""
    graph = ExemplarGraph()
    assert sorted(graph.add_class(on_circle(0, 40), 2, InOrder())) == [0, 1]
    graph.connect(InOrder())
    assert graph.edges.tolist() == [[0, 1]]
    before = graph.centroids.copy()
    graph.keep(np.array([0, 1]))
    graph.add_class(on_circle(50, 90), 2, InOrder())
    graph.connect(InOrder())
    np.testing.assert_array_equal(graph.centroids[:2], before)
    assert graph.edges.tolist() == [[0, 1], [1, 2], [2, 3]]


def test_edges_of_a_step_are_those_of_all_its_images():
    """Edges to nearest vertices alone would be far fewer."""
    graph = ExemplarGraph()
    features = [unit(noise(seed)).astype(np.float32) for seed in (1, 2)]
    for rows in features:
        graph.add_class(rows, 6, InOrder())
    graph.connect(InOrder())
    nearest = np.concatenate([nearest_two(rows, graph.centroids) for rows in features])
    expected = hebbian_edges(nearest, np.zeros((0, 2), np.int64), 0)
    assert len(expected) > 12
    np.testing.assert_array_equal(graph.edges, expected)


def test_dropped_vertices_lose_their_edges():
    graph = ExemplarGraph()
    arrays = {
        "graph_centroids": on_circle(0, 10, 20, 30),
        "graph_edges": np.array([[0, 1], [1, 3], [2, 3]]),
    }
    graph.restore(arrays)
    graph.keep(np.array([1, 2, 3]))
    assert graph.edges.tolist() == [[0, 2], [1, 2]]
    graph.keep(np.array([0, 1]))
    assert graph.edges.tolist() == []
    graph.connect(InOrder())
    assert graph.edges.tolist() == [[0, 1]]


def test_restored_graph_grows_like_the_saved_one():
    graph, restored = ExemplarGraph(), ExemplarGraph()
    graph.add_class(noise(1), 5, np.random.default_rng(1))
    graph.connect(np.random.default_rng(2))
    restored.restore(graph.to_arrays())
    for each in (graph, restored):
        each.keep(np.arange(4))
        each.add_class(noise(2), 4, np.random.default_rng(3))
        each.connect(np.random.default_rng(4))
    for name, values in graph.to_arrays().items():
        np.testing.assert_array_equal(restored.to_arrays()[name], values)


def test_identical_features_give_every_vertex_a_different_image():
    graph = ExemplarGraph()
    images = graph.add_class(np.ones((6, 3)), 4, np.random.default_rng(1))
    assert len(set(images.tolist())) == 4
    graph.connect(np.random.default_rng(1))
    assert set(graph.edges.ravel()) == {0, 1, 2, 3}
