"""Which losses are one loss in a base step, and which images are the same."""

import numpy as np
import pytest

from bsce_keras.base_step import _loss_differences, _same_images
from bsce_keras.examples import Examples

EQUAL, UNEQUAL = (5, 5), (5, 7)


@pytest.mark.parametrize(
    ("theirs", "ours", "counts"),
    [
        ("softmax", "separated_softmax", UNEQUAL),
        ("balanced_softmax", "meta_balanced_softmax", UNEQUAL),
        ("softmax", "meta_balanced_softmax", EQUAL),
        ("separated_softmax", "rescaled_softmax", EQUAL),
    ],
)
def test_one_loss_under_two_names(theirs, ours, counts):
    assert _loss_differences(theirs, ours, counts) == []


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("separated_softmax", "balanced_softmax"),
        ("softmax", "rescaled_softmax"),
        ("balanced_softmax", "rescaled_softmax"),
    ],
)
def test_unequal_classes_make_two_losses(theirs, ours):
    (line,) = _loss_differences(theirs, ours, UNEQUAL)
    assert line.startswith(f"--classification_loss: {theirs} there, {ours} here, and")


def test_podnet_s_own_loss_is_another_whatever_the_counts():
    assert _loss_differences("nca", "softmax", EQUAL)


def test_exemplars_with_other_pixels_are_known_by_their_ids():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    ids = np.arange(6)
    examples = Examples(images, ids // 3, ids)
    held = {
        "images": 9 + images[[1, 4]],
        "labels": ids[[1, 4]] // 3,
        "ids": ids[[1, 4]],
    }
    state = {"class_counts": [3, 3]}
    assert _same_images(held, state, examples, optimized=True)
    assert not _same_images(held, state, examples, optimized=False)
    strange = {**held, "ids": np.array([1, 7])}
    assert not _same_images(strange, state, examples, optimized=True)
