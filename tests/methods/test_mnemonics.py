"""Mnemonics: the objective of exemplars, and its gradient by their pixels."""

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras import make_config
from bsce_keras.learner.exemplar_pixels import pixel_gradient
from bsce_keras.meta import plain_crossentropy
from bsce_keras.methods import load_method
from bsce_keras.methods.base import FINETUNING, MAIN, PIXELS
from bsce_keras.methods.mnemonics import trained_vectors
from bsce_keras.models.heads import CosineHead, cosines

NUM_CLASSES, D, SCALE = 4, 5, 6.0
LABELS = np.array([0, 1, 1, 3], np.int32)
QUERY_LABELS = np.array([1, 0, 2, 3, 0], np.int32)


def normal(shape, seed, dtype=tf.float64):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def test_trained_vectors_equal_gradient_descent():
    vectors, features = normal((NUM_CLASSES, D), 1), normal((len(LABELS), D), 2)
    variable = tf.Variable(vectors)
    for _ in range(3):
        with tf.GradientTape() as tape:
            logits = SCALE * cosines(features, variable)
            loss = tf.reduce_mean(plain_crossentropy(LABELS, logits))
        variable.assign_sub(0.3 * tape.gradient(loss, variable))
    found = trained_vectors(vectors, SCALE, features, LABELS, 3, 0.3)
    np.testing.assert_allclose(found, variable, rtol=1e-12)
    assert np.abs(found - vectors).max() > 0.01


def test_zero_vectors_stay_zero():
    vectors = tf.zeros((NUM_CLASSES, D))
    features = normal((len(LABELS), D), 2, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(features)
        found = trained_vectors(vectors, SCALE, features, LABELS, 2, 0.3)
    np.testing.assert_array_equal(found, vectors)
    assert np.isfinite(tape.gradient(found, features)).all()


def tiny_network(dtype):
    """Returns a network of two smooth layers on images of 3x3 pixels."""
    first, second = normal((9, 7), 3, dtype), normal((7, D), 4, dtype)

    def features_of(images):
        rows = tf.reshape(tf.cast(images, dtype), (-1, 9)) / 255.0 - 0.5
        return tf.tanh(rows @ first) @ second

    return features_of


def objective(num_updates=20, rate=0.1):
    vectors = normal((NUM_CLASSES, D), 1)

    def loss(features, labels, query_features, query_labels):
        trained = trained_vectors(
            vectors,
            SCALE,
            features,
            labels,
            num_updates=num_updates,
            learning_rate=rate,
        )
        logits = SCALE * cosines(query_features, trained)
        return tf.reduce_mean(plain_crossentropy(query_labels, logits))

    return loss


def test_gradient_by_pixels_equals_finite_differences():
    """It is not 0, in contrast to the first release of the paper's code."""
    features_of, loss = tiny_network(tf.float64), objective()
    rng = np.random.default_rng(5)
    pixels = rng.uniform(0.0, 255.0, (len(LABELS), 3, 3, 1))
    queries = rng.uniform(0.0, 255.0, (len(QUERY_LABELS), 3, 3, 1)), QUERY_LABELS
    slope = pixel_gradient(features_of, loss, tf.constant(pixels), LABELS, *queries)

    def value(at):
        return float(
            loss(features_of(at), LABELS, features_of(queries[0]), QUERY_LABELS)
        )

    expected = np.zeros_like(pixels)
    for place in np.ndindex(pixels.shape):
        step = np.zeros_like(pixels)
        step[place] = 1e-3
        expected[place] = (value(pixels + step) - value(pixels - step)) / 2e-3
    assert np.abs(expected).min() > 1e-8
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-9)


def test_pixels_have_no_gradient_without_inner_updates():
    features_of, loss = tiny_network(tf.float64), objective(num_updates=0)
    pixels = tf.constant(np.full((len(LABELS), 3, 3, 1), 99.0))
    queries = np.full((len(QUERY_LABELS), 3, 3, 1), 77.0), QUERY_LABELS
    assert pixel_gradient(features_of, loss, pixels, LABELS, *queries) is None


def mnemonics(**parameters):
    request = {"method": "mnemonics", "method_parameters": parameters}
    return load_method(make_config("digits", **request).method)


def test_fine_tuning_follows_the_optimisation_of_the_pixels():
    assert mnemonics().phases == (MAIN, PIXELS, FINETUNING)


def test_objective_has_the_configured_schedule_of_pixels():
    parameters = {
        "pixel_learning_rate": 0.02,
        "pixel_passes": 4,
        "old_share": 0.5,
        "classes_at_once": 7,
    }
    head = CosineHead(num_old_classes=1, num_new_classes=3)
    head.build((None, D))
    asked = mnemonics(**parameters).pixel_objective(head)
    assert (asked.learning_rate, asked.passes) == (0.02, 4)
    assert (asked.old_share, asked.classes_at_once) == (0.5, 7)


def test_objective_starts_from_the_head_and_leaves_it():
    method = mnemonics(inner_updates=3, inner_learning_rate=0.05)
    head = CosineHead(num_old_classes=1, num_new_classes=3)
    features = normal((len(LABELS), D), 2, tf.float32)
    head(features)
    head.scale.assign(SCALE)
    before = [weight.numpy() for weight in head.weights]
    loss = method.pixel_objective(head).loss
    queries = normal((len(QUERY_LABELS), D), 3, tf.float32)
    found = loss(features, LABELS, queries, QUERY_LABELS)
    vectors = tf.concat([head.old_vectors, head.new_vectors], axis=0)
    trained = trained_vectors(vectors, SCALE, features, LABELS, 3, 0.05)
    expected = plain_crossentropy(QUERY_LABELS, SCALE * cosines(queries, trained))
    assert float(found) == pytest.approx(float(tf.reduce_mean(expected)))
    for weight, value in zip(head.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize(
    ("scale", "passes"), [({}, 10), ({"schedule_scale": 0.25}, 2), ({"epochs": 1}, 1)]
)
def test_passes_scale_with_the_schedule(scale, passes):
    parameters = make_config("digits", method="mnemonics", **scale).method.parameters
    assert parameters.pixel_passes == passes
