"""Separated softmax: each side is a softmax; old and new classes do not compete."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.losses import separated_softmax_crossentropy

LABELS = np.array([0, 4, 1, 2])


def random_logits(seed=0):
    return np.random.default_rng(seed).normal(size=(4, 5)).astype(np.float32)


def loss_of(labels, logits, num_old_classes):
    return separated_softmax_crossentropy(
        labels, tf.constant(logits), num_old_classes
    ).numpy()


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        # exp(z) is 1, 2 for the old classes and 3, 4, 5 for the new ones.
        (0, np.log(3 / 1)),
        (1, np.log(3 / 2)),
        (2, np.log(12 / 3)),
        (4, np.log(12 / 5)),
    ],
)
def test_worked_numbers(label, expected):
    logits = np.log([[1.0, 2.0, 3.0, 4.0, 5.0]])
    np.testing.assert_allclose(loss_of([label], logits, 2), [expected], rtol=1e-6)


@pytest.mark.parametrize("num_old_classes", [0, 5])
def test_loss_is_the_plain_softmax_with_only_one_side(num_old_classes):
    logits = random_logits()
    expected = keras.losses.sparse_categorical_crossentropy(
        LABELS, logits, from_logits=True
    )
    np.testing.assert_allclose(
        loss_of(LABELS, logits, num_old_classes), expected, rtol=1e-6
    )


def test_gradient_reaches_only_logits_of_the_own_side():
    logits = tf.constant(random_logits())
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = separated_softmax_crossentropy(LABELS, logits, 2)
    slopes = tape.gradient(loss, logits).numpy()
    is_old_class = np.arange(5) < 2
    competes = is_old_class == (LABELS < 2)[:, None]
    assert np.all(slopes[~competes] == 0.0)
    assert np.all(slopes[competes] != 0.0)


def test_gradient_is_zero_for_a_side_of_one_class():
    logits = random_logits()
    loss = loss_of(LABELS, logits, 4)
    assert loss[1] == 0.0
    assert np.all(loss[[0, 2, 3]] > 0.0)


def test_loss_ignores_large_logits_of_the_other_side():
    logits = random_logits()
    far = logits.copy()
    far[:, 2:] += 1e4
    old = [0, 2]
    np.testing.assert_array_equal(
        loss_of(LABELS, far, 2)[old], loss_of(LABELS, logits, 2)[old]
    )


def test_bfloat16_logits_are_computed_in_float32():
    logits = tf.cast(random_logits(), tf.bfloat16)
    loss = separated_softmax_crossentropy(LABELS[:, None], logits, 2)
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(
        loss, loss_of(LABELS, tf.cast(logits, tf.float32), 2), rtol=1e-6
    )


def test_one_hot_labels_are_refused():
    with pytest.raises(ValueError, match="looks one-hot"):
        separated_softmax_crossentropy(np.eye(5)[LABELS], random_logits(), 2)


@pytest.mark.parametrize("num_old_classes", [-1, 6])
def test_old_classes_beyond_the_columns_are_refused(num_old_classes):
    with pytest.raises(ValueError, match="number of classes, 5. Received"):
        separated_softmax_crossentropy(LABELS, random_logits(), num_old_classes)
