"""Old images are drawn with the requested probability."""

import numpy as np
import pytest

from bsce_keras.data.replay_sampling import draw_probabilities

# Two old classes of 3 and 1 exemplars, two new ones of 10 and 26 images.
COUNTS = (3, 1, 10, 26)
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), COUNTS))


def share_of_classes(sampling, num_old_classes=2):
    probabilities = draw_probabilities(sampling, LABELS, num_old_classes)
    return np.bincount(LABELS, weights=probabilities)


def test_memory_oversampling_draws_exemplars_as_often_as_new_images():
    np.testing.assert_allclose(
        share_of_classes("memory_oversampling"),
        [0.5 * 3 / 4, 0.5 * 1 / 4, 0.5 * 10 / 36, 0.5 * 26 / 36],
    )


def test_class_oversampling_draws_all_classes_equally_often():
    np.testing.assert_allclose(share_of_classes("class_oversampling"), [0.25] * 4)


@pytest.mark.parametrize("num_old_classes", [2, 3])
def test_four_new_images_are_drawn_for_each_exemplar(num_old_classes):
    """Exemplars are a minority, or with three old classes nearly as many."""
    shares = share_of_classes("four_to_one", num_old_classes)
    np.testing.assert_allclose(shares[:num_old_classes].sum(), 0.2)
    counts = np.array(COUNTS[:num_old_classes])
    np.testing.assert_allclose(shares[:num_old_classes], 0.2 * counts / counts.sum())


def test_images_of_a_class_have_equal_probability():
    probabilities = draw_probabilities("class_oversampling", LABELS, 2)
    for label, count in enumerate(COUNTS):
        np.testing.assert_allclose(probabilities[label == LABELS], 0.25 / count)


def test_class_oversampling_ignores_classes_without_images():
    labels = np.array([0, 2, 2, 3])
    probabilities = draw_probabilities("class_oversampling", labels, 2)
    np.testing.assert_allclose(probabilities, [1 / 3, 1 / 6, 1 / 6, 1 / 3])


def test_memory_oversampling_is_uniform_if_exemplars_are_not_fewer():
    assert draw_probabilities("memory_oversampling", LABELS, 3) is not None
    for labels in ([0, 0, 0, 1], [0, 0, 1, 1]):
        assert draw_probabilities("memory_oversampling", np.array(labels), 1) is None


@pytest.mark.parametrize("sampling", ["memory_oversampling", "class_oversampling"])
def test_every_image_is_drawn_once_without_exemplars(sampling):
    assert draw_probabilities(sampling, LABELS, 0) is None
    assert draw_probabilities(sampling, np.array([2, 3, 3]), 2) is None


def test_uniform_sampling_draws_every_image_once():
    assert draw_probabilities("uniform", LABELS, 2) is None
