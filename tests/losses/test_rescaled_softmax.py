"""Rescaled softmax: classes have equal total weight, and the mean weight is 1."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.losses import rescaled_softmax_crossentropy

COUNTS = [20, 20, 500]


def random_batch(num_images=6, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num_images, 3)).astype(np.float32)
    return rng.integers(0, 3, num_images), logits


def plain_crossentropy(labels, logits):
    return keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    ).numpy()


@pytest.mark.parametrize(
    ("label", "weight"), [(0, 540 / 60), (1, 540 / 60), (2, 540 / 1500)]
)
def test_worked_numbers(label, weight):
    loss = rescaled_softmax_crossentropy([label], np.zeros((1, 3)), COUNTS)
    np.testing.assert_allclose(loss, [weight * np.log(3)], rtol=1e-6)


def test_equal_counts_give_plain_crossentropy():
    labels, logits = random_batch()
    np.testing.assert_allclose(
        rescaled_softmax_crossentropy(labels, logits, [7, 7, 7]),
        plain_crossentropy(labels, logits),
        rtol=1e-6,
    )


@pytest.mark.parametrize("counts", [[4, 9, 30], [5, 0, 12]])
def test_the_mean_weight_of_the_training_images_is_one(counts):
    labels = np.repeat(np.arange(3), counts)
    loss = rescaled_softmax_crossentropy(labels, np.zeros((len(labels), 3)), counts)
    np.testing.assert_allclose(np.mean(loss), np.log(3), rtol=1e-5)


def test_the_gradient_grows_with_the_weight():
    labels, logits = random_batch()
    logits = tf.constant(logits)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        rescaled = rescaled_softmax_crossentropy(labels, logits, COUNTS)
        plain = keras.losses.sparse_categorical_crossentropy(
            labels, logits, from_logits=True
        )
    weights = np.array([9.0, 9.0, 0.36])[labels]
    np.testing.assert_allclose(
        tape.gradient(rescaled, logits),
        weights[:, None] * tape.gradient(plain, logits).numpy(),
        rtol=1e-5,
        atol=1e-7,
    )


def test_bfloat16_logits_are_computed_in_float32():
    labels, logits = random_batch()
    logits = tf.cast(logits, tf.bfloat16)
    loss = rescaled_softmax_crossentropy(labels, logits, COUNTS)
    assert loss.dtype == tf.float32


def test_absent_class_label_gives_inf_and_finite_gradients():
    logits = tf.constant([[0.0, 200.0], [1.0, 2.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = rescaled_softmax_crossentropy([1, 0], logits, [9, 0])
        kept = loss[1]
    assert loss[0] == np.inf
    assert np.all(np.isfinite(tape.gradient(kept, logits)))


def test_counts_may_be_a_tensor_of_a_traced_function():
    labels, logits = random_batch()
    traced = tf.function(rescaled_softmax_crossentropy)(
        labels[:, None], logits, tf.constant(COUNTS)
    )
    expected = rescaled_softmax_crossentropy(labels, logits, COUNTS)
    np.testing.assert_allclose(traced, expected, rtol=1e-6)


def test_one_hot_labels_are_refused():
    labels, logits = random_batch()
    with pytest.raises(ValueError, match="looks one-hot"):
        rescaled_softmax_crossentropy(np.eye(3)[labels], logits, COUNTS)


def test_counts_of_other_classes_are_refused():
    labels, logits = random_batch()
    with pytest.raises(ValueError, match="one count per column"):
        rescaled_softmax_crossentropy(labels, logits, [20, 500])
