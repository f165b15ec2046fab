"""Vector heads: cosines, proxies, growing and imprinting."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.models.heads import CosineHead, LocalSimilarityHead

NUM_FEATURES = 6


def make_head(kind, num_old, num_new):
    head = kind(num_old, num_new)
    head.build((None, NUM_FEATURES))
    head.scale.assign(3.0)
    return head


def some_features():
    return np.random.default_rng(1).normal(size=(4, NUM_FEATURES)).astype(np.float32)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def all_vectors(head):
    return np.concatenate([weight.numpy() for weight in head.class_weights])


BOTH = pytest.mark.parametrize("kind", [CosineHead, LocalSimilarityHead])


def test_vectors_start_as_released_and_the_scale_at_1():
    """LUCIR's are uniform in +-1/sqrt(d); PODNet's are normal with deviation 1/sqrt(d).

    d is 64, so that 1/sqrt(d) is 1/8.
    """
    starts = {}
    for kind in (CosineHead, LocalSimilarityHead):
        head = kind(0, 300)
        head.build((None, 64))
        assert float(head.scale) == 1.0
        starts[kind] = 8 * head.new_vectors.numpy()
    uniform, normal = starts[CosineHead], starts[LocalSimilarityHead]
    assert normal.shape == (300, 10, 64)
    assert 0.99 < uniform.max() <= 1 and -1 <= uniform.min() < -0.99
    assert uniform.std() == pytest.approx(3**-0.5, rel=0.02)
    assert normal.std() == pytest.approx(1, rel=0.02) and normal.max() > 3


def test_cosine_logits_are_scaled_cosines():
    head, features = make_head(CosineHead, 2, 3), some_features()
    outputs = head(features)
    old, new = head.old_vectors.numpy(), head.new_vectors.numpy()
    expected = unit(features) @ unit(np.concatenate([old, new])).T
    np.testing.assert_allclose(outputs["cosines"], expected, atol=1e-6)
    np.testing.assert_allclose(outputs["logits"], 3.0 * expected, atol=1e-6)


def test_local_similarities_are_softmax_weighted():
    """The formula is the released one: self-weighted negative squared distances."""
    head, features = make_head(LocalSimilarityHead, 2, 3), some_features()
    outputs = head(features)
    gaps = unit(features)[:, None, None] - unit(all_vectors(head))
    nearness = -np.sum(gaps**2, axis=-1)
    weights = np.exp(nearness) / np.exp(nearness).sum(axis=-1, keepdims=True)
    expected = (weights * nearness).sum(axis=-1)
    np.testing.assert_allclose(outputs["similarities"], expected, atol=1e-5)
    np.testing.assert_allclose(outputs["logits"], 3.0 * expected, atol=1e-5)
    np.testing.assert_array_equal(outputs["scale"], np.full((4, 1), 3.0))


@BOTH
def test_growing_keeps_the_logits_of_old_classes(kind):
    old, new = make_head(kind, 2, 3), make_head(kind, 5, 1)
    new.scale.assign(1.0)
    new.grow_from(old)
    before, after = old(some_features())["logits"], new(some_features())["logits"]
    assert after.shape == (4, 6)
    np.testing.assert_allclose(after[:, :5], before, atol=1e-6)


@BOTH
def test_frozen_old_vectors_pass_gradients_to_features(kind):
    head = make_head(kind, 5, 1)
    assert {w.path.split("/")[-1] for w in head.trainable_weights} == {
        "scale",
        "new_vectors",
    }
    features = tf.constant(some_features())
    with tf.GradientTape() as tape:
        tape.watch(features)
        old_logits = head(features)["logits"][:, :5]
    assert np.abs(tape.gradient(old_logits, features)).max() > 1e-3


@BOTH
def test_imprinted_vectors_have_the_mean_length_of_old_vectors(kind):
    """Centres of unit features are shorter than 1, and so are PODNet's proxies."""
    head = make_head(kind, 5, 2)
    rng = np.random.default_rng(2)
    directions = 0.8 * unit(rng.normal(size=(2, *kind.vectors_shape, NUM_FEATURES)))
    head.imprint(directions)
    length = np.linalg.norm(head.old_vectors.numpy(), axis=-1).mean()
    np.testing.assert_allclose(head.new_vectors, directions * length, rtol=1e-5)


@BOTH
def test_features_of_zero_give_finite_logits_and_gradients(kind):
    head = make_head(kind, 2, 1)
    features = tf.zeros((2, NUM_FEATURES))
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = head(features)["logits"]
    assert np.all(np.isfinite(logits))
    assert np.all(np.isfinite(tape.gradient(logits, features)))


@BOTH
def test_logits_are_float32_under_a_bfloat16_backbone(kind):
    keras.config.set_dtype_policy("mixed_bfloat16")
    head = kind(2, 1)
    outputs = head(tf.cast(some_features(), tf.bfloat16))
    assert {output.dtype for output in outputs.values()} == {tf.float32}


@BOTH
def test_head_is_restored_from_its_config(kind):
    head = kind(2, 3, name="head")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(head)
    )
    assert copy.get_config() == head.get_config()
    assert (copy.num_old_classes, copy.num_new_classes) == (2, 3)
