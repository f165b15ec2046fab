"""Topology preservation: worked numbers, invariances and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.losses import topology_preserving


def random_pairs(number=30):
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, number))


def gradients(reference, current):
    reference, current = tf.constant(reference), tf.constant(current)
    with tf.GradientTape() as tape:
        tape.watch((reference, current))
        loss = topology_preserving(reference, current)
    return tape.gradient(loss, (reference, current))


@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    [
        # (-.5, 0, .5) by (-.2, -.2, .4): .3 / sqrt(.5 * .24).
        ([0.0, 0.5, 1.0], [0.2, 0.2, 0.8], -np.sqrt(0.75)),
        ([1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], 1 / 3),
        ([1.0, -1.0, 0.0], [1.0, 1.0, -2.0], 0.0),
    ],
)
def test_worked_numbers(reference, current, expected):
    loss = topology_preserving(reference, current)
    assert loss.dtype == tf.float32 and loss.shape == ()
    np.testing.assert_allclose(loss, expected, atol=1e-6)


def test_topology_loss_is_minus_pearsons_correlation():
    reference, current = random_pairs()
    expected = -np.corrcoef(reference, current)[0, 1]
    loss = topology_preserving(reference, current)
    assert loss.dtype == tf.float64
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


@pytest.mark.parametrize(("slope", "expected"), [(0.01, -1), (7.0, -1), (-0.5, 1)])
def test_topology_loss_is_1_or_minus_1_for_affine_similarities(slope, expected):
    reference, _ = random_pairs()
    current = slope * reference + 0.3
    np.testing.assert_allclose(
        topology_preserving(reference, current), expected, rtol=1e-12
    )
    _, gradient = gradients(reference, current)
    np.testing.assert_allclose(gradient, np.zeros_like(reference), atol=1e-12)


def test_topology_loss_ignores_level_and_scale():
    reference, current = random_pairs()
    expected = topology_preserving(reference, current)
    for changed in (
        (reference, 0.1 * current + 0.7),
        (3.0 * reference - 2.0, current),
    ):
        np.testing.assert_allclose(topology_preserving(*changed), expected, rtol=1e-9)


def test_only_the_current_similarities_have_a_gradient():
    reference, current = random_pairs()
    to_reference, to_current = gradients(reference, current)
    assert to_reference is None
    assert np.abs(to_current).max() > 1e-3
    np.testing.assert_allclose(np.sum(to_current), 0.0, atol=1e-12)
    centred = current - current.mean()
    np.testing.assert_allclose(np.sum(to_current * centred), 0.0, atol=1e-12)


def test_the_gradient_agrees_with_finite_differences():
    reference, current = random_pairs()
    _, gradient = gradients(reference, current)
    direction = np.random.default_rng(1).normal(size=current.shape)
    ahead, behind = (
        topology_preserving(reference, current + step * direction)
        for step in (1e-6, -1e-6)
    )
    np.testing.assert_allclose(
        np.sum(gradient * direction), (ahead - behind) / 2e-6, atol=1e-8
    )


@pytest.mark.parametrize("constant", ["reference", "current", "both"])
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_constant_similarities_give_0_and_a_finite_gradient(constant, value):
    reference, current = random_pairs().astype(np.float32)
    if constant != "current":
        reference = np.full_like(reference, value)
    if constant != "reference":
        current = np.full_like(current, value)
    assert float(topology_preserving(reference, current)) == 0.0
    _, gradient = gradients(reference, current)
    assert np.isfinite(gradient).all()
    assert np.any(gradient) == (constant == "current")


@pytest.mark.parametrize("number", [0, 1])
def test_zero_pairs_and_one_pair_give_zero_loss_and_gradient(number):
    pairs = np.ones((2, number), np.float32)
    assert float(topology_preserving(*pairs)) == 0.0
    np.testing.assert_array_equal(gradients(*pairs)[1], np.zeros(number))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    # Half precision cannot represent their mean.
    reference = tf.constant([1.0, 1.0, 1.0078125], dtype)
    current = tf.constant([1.0, 1.0, 1.0078125], dtype)
    loss = topology_preserving(reference, current)
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, -1.0, rtol=1e-6)
    _, gradient = gradients(reference, tf.constant([1.0, 1.0078125, 1.0], dtype))
    assert gradient.dtype == dtype and tf.reduce_max(tf.abs(gradient)) > 0


def test_traced_function_works_with_an_unknown_number_of_pairs():
    unknown = tf.TensorSpec((None,), tf.float64)
    traced = tf.function(topology_preserving, input_signature=[unknown, unknown])
    for number in (0, 30):
        pairs = random_pairs(number)
        np.testing.assert_allclose(
            traced(*pairs), topology_preserving(*pairs), rtol=1e-12
        )


@pytest.mark.parametrize(
    ("reference", "current"),
    [([1.0, 2.0], [1.0]), ([[1.0, 2.0]], [[1.0, 2.0]]), (1.0, [1.0])],
)
def test_similarities_of_other_pairs_are_refused(reference, current):
    with pytest.raises(ValueError, match=r"the same shape, \(num_pairs,\)"):
        topology_preserving(reference, current)
