"""Losses that are equal at a base step."""

import pytest

from bsce_keras.records.base_step import _loss_differences

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
def test_losses_that_are_equal_at_a_base_step_do_not_differ(theirs, ours, counts):
    assert _loss_differences(theirs, ours, counts) == []


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("separated_softmax", "balanced_softmax"),
        ("softmax", "rescaled_softmax"),
        ("balanced_softmax", "rescaled_softmax"),
    ],
)
def test_unequal_class_sizes_make_losses_differ(theirs, ours):
    (line,) = _loss_differences(theirs, ours, UNEQUAL)
    assert line.startswith(f"--classification_loss: {theirs} there, {ours} here, and")


def test_podnet_s_own_loss_always_differs():
    assert _loss_differences("nca", "softmax", EQUAL)
