"""Gradient of alpha: both forms agree, and equal central differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.losses import logit_distillation
from bsce_keras.losses.balanced_softmax import balanced_softmax_crossentropy
from bsce_keras.meta import alpha_gradient
from bsce_keras.models.layers import FusedBatchNormalization

NUM_OLD, NUM_CLASSES = 3, 5
COUNTS = (2, 2, 2, 20, 20)


@pytest.fixture
def problem():
    """Returns a small float64 network with batch normalisation, and two batches."""
    keras.utils.set_random_seed(3)
    keras.config.set_dtype_policy("float64")
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            keras.layers.Conv2D(6, 3, use_bias=False),
            FusedBatchNormalization(),
            keras.layers.Activation("tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(NUM_CLASSES),
        ]
    )
    rng = np.random.default_rng(3)

    def batch(size):
        images = rng.normal(size=(size, 4, 4, 2))
        return tf.constant(images), tf.constant(rng.integers(0, NUM_CLASSES, size))

    return model, batch(12), batch(10)


def distillation(teacher_logits):
    def other_loss(images, logits):
        return 0.7 * tf.reduce_mean(logit_distillation(teacher_logits, logits))

    return other_loss


def gradient(problem, method, alpha=0.8, other_loss=None):
    model, train, validation = problem
    return float(
        alpha_gradient(
            model,
            alpha,
            train,
            validation,
            class_counts=COUNTS,
            num_old_classes=NUM_OLD,
            learning_rate=0.3,
            classification_weight=0.4,
            other_loss=other_loss,
            method=method,
        )
    )


@pytest.mark.parametrize("with_distillation", [False, True])
def test_closed_form_equals_nested_tapes(problem, with_distillation):
    other = None
    if with_distillation:
        rng = np.random.default_rng(0)
        other = distillation(tf.constant(rng.normal(size=(12, NUM_OLD))))
    closed = gradient(problem, "closed_form", other_loss=other)
    nested = gradient(problem, "nested_tapes", other_loss=other)
    assert abs(closed) > 1e-5
    assert closed == pytest.approx(nested, abs=1e-12, rel=1e-6)


def test_alpha_gradient_equals_a_central_difference(problem):
    """The difference is that of the loss after one update, computed here."""
    model, (images, labels), (validation_images, validation_labels) = problem

    def validation_loss(alpha):
        values = [tf.convert_to_tensor(v.value) for v in model.trainable_variables]
        state = [v.value for v in model.non_trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(values)
            logits = model.stateless_call(values, state, images, training=True)[0]
            loss = 0.4 * tf.reduce_mean(
                balanced_softmax_crossentropy(
                    labels, logits, COUNTS, tf.constant(alpha, tf.float64), NUM_OLD
                )
            )
        slopes = tape.gradient(loss, values)
        moved = [v - 0.3 * g for v, g in zip(values, slopes, strict=True)]
        logits = model.stateless_call(moved, state, validation_images, training=True)[0]
        return float(
            tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    validation_labels, logits
                )
            )
        )

    slope = (validation_loss(0.8 + 1e-4) - validation_loss(0.8 - 1e-4)) / 2e-4
    assert gradient(problem, "closed_form") == pytest.approx(slope, rel=1e-5)


def test_variables_of_the_model_do_not_change(problem):
    model = problem[0]
    before = [keras.ops.convert_to_numpy(v).copy() for v in model.variables]
    for method in ("closed_form", "nested_tapes"):
        gradient(problem, method)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(variable))


def test_gradient_is_zero_without_old_classes(problem):
    model, train, validation = problem
    for method in ("closed_form", "nested_tapes"):
        slope = alpha_gradient(
            model,
            1.0,
            train,
            validation,
            class_counts=COUNTS,
            num_old_classes=0,
            learning_rate=0.3,
            method=method,
        )
        assert float(slope) == 0.0


def test_unknown_method_and_invalid_alpha_are_refused(problem):
    with pytest.raises(ValueError, match="closed_form"):
        gradient(problem, "forward_mode")
    with pytest.raises(ValueError, match="above 0"):
        gradient(problem, "closed_form", alpha=0.0)


def test_a_model_that_is_not_built_is_refused(problem):
    model = keras.Sequential([keras.layers.Dense(4)])
    with pytest.raises(ValueError, match="needs weights to train"):
        gradient((model, *problem[1:]), "closed_form")


@pytest.mark.parametrize("method", ["closed_form", "nested_tapes"])
def test_an_other_loss_of_one_value_per_image_is_refused(problem, method):
    def other_loss(images, logits):
        return tf.reduce_mean(logits**2, axis=-1)

    with pytest.raises(ValueError, match=r"a scalar.* shape \(12,\).*mean"):
        gradient(problem, method, other_loss=other_loss)


def test_one_hot_labels_equal_integers(problem):
    model, *batches = problem
    one_hot = [(images, tf.one_hot(labels, NUM_CLASSES)) for images, labels in batches]
    expected = gradient(problem, "closed_form")
    assert gradient((model, *one_hot), "closed_form") == pytest.approx(expected)
