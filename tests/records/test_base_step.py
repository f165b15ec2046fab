"""Which losses are one loss in a base step, and which images the same images."""

import dataclasses

import numpy as np
import pytest

from bsce_keras.config import MemoryConfig, MemoryUse
from bsce_keras.data.examples import Examples
from bsce_keras.data.stored_images import StoredImages
from bsce_keras.records.base_step import (
    _loss_differences,
    _memory_config,
    _same_images,
)

MEMORY, OPTIMIZED = (
    MemoryConfig(20),
    MemoryConfig(20, use=MemoryUse(optimizes_pixels=True)),
)
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


def make_examples(order):
    """Three images of each of two classes, whose ids begin anew in every class."""
    images = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2, 1)
    labels, ids = np.repeat([0, 1], 3), np.tile(np.arange(3), 2)
    return Examples(images, labels, ids).select(np.array(order))


def other_pixels(kept):
    return {**kept, "images": kept["images"] ^ 1}


def exemplars(examples):
    return {"images": examples.images, "labels": examples.labels, "ids": examples.ids}


@pytest.mark.parametrize("on_disk", [False, True])
def test_exemplars_are_found_among_the_images_by_class_and_id(on_disk):
    examples = make_examples([5, 1, 0, 3, 4, 2])
    if on_disk:
        images = StoredImages((examples.images,), np.arange(6))
        examples = Examples(images, examples.labels, examples.ids)
    state = {"class_counts": [3, 3]}
    kept = exemplars(make_examples([2, 0, 4]))
    assert _same_images(kept, state, examples, MEMORY)
    assert not _same_images(kept, {"class_counts": [3, 2]}, examples, MEMORY)
    assert not _same_images(
        {**kept, "images": kept["images"] ^ 1}, state, examples, MEMORY
    )
    assert not _same_images({**kept, "ids": kept["ids"] + 1}, state, examples, MEMORY)
    assert not _same_images({**kept, "ids": kept["ids"] + 7}, state, examples, MEMORY)
    assert _same_images({}, state, examples, MEMORY)


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
    assert _same_images(held, state, examples, OPTIMIZED)
    assert not _same_images(held, state, examples, MEMORY)
    strange = {**held, "ids": np.array([1, 7])}
    assert not _same_images(strange, state, examples, OPTIMIZED)


def test_images_held_out_of_training_are_no_difference():
    """A quota of 20 holds 2 of the 3 images of each class out."""
    examples = make_examples(range(6))
    state = {"class_counts": [1, 1]}
    kept = exemplars(make_examples([0, 4]))
    held_out = MemoryConfig(20, use=MemoryUse(sets_aside=True))
    assert _same_images(kept, state, examples, held_out)
    assert not _same_images(kept, {"class_counts": [3, 3]}, examples, held_out)


def test_the_memory_of_a_config_json_is_read_back():
    memory = MemoryConfig(20, use=MemoryUse(sets_aside=True))
    assert _memory_config(dataclasses.asdict(memory)) == memory
