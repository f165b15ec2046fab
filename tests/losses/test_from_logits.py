"""`from_logits` that contradicts the model: a warning, and the softmax is undone."""

import warnings

import keras
import numpy as np
import pytest

from bsce_keras.losses import BalancedSoftmaxLoss

COUNTS = [500, 20, 4]
IMAGES = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
LABELS = np.arange(16) % 3


def make_model(activation=None, dtype=None, bias=True):
    keras.utils.set_random_seed(1)
    output = keras.layers.Dense(3, activation, use_bias=bias, dtype=dtype)
    model = keras.Sequential([keras.Input((4,)), output])
    output.kernel.assign(10 * output.kernel)
    return model


def evaluated(model, from_logits, **options):
    model.compile(loss=BalancedSoftmaxLoss(COUNTS, from_logits=from_logits), **options)
    return model.evaluate(IMAGES, LABELS, verbose=0)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_final_activation_is_undone_with_a_warning(activation):
    with pytest.warns(UserWarning, match=f"ends in a {activation}; its input is taken"):
        loss = evaluated(make_model(activation), from_logits=True)
    assert loss == pytest.approx(evaluated(make_model(), from_logits=True))


def test_softmax_before_a_cast_is_found():
    with pytest.warns(UserWarning, match="ends in a softmax"):
        loss = evaluated(make_model("softmax", "mixed_bfloat16"), from_logits=True)
    plain = evaluated(make_model(dtype="mixed_bfloat16"), from_logits=True)
    assert loss == pytest.approx(plain)


def test_final_softmax_of_an_eager_model_is_undone_with_a_warning():
    with pytest.warns(UserWarning, match="ends in a softmax"):
        loss = evaluated(make_model("softmax"), from_logits=True, run_eagerly=True)
    assert loss == pytest.approx(evaluated(make_model(), from_logits=True))


def test_eager_rows_that_sum_to_1_give_a_warning_as_logits():
    loss = BalancedSoftmaxLoss(COUNTS)
    with pytest.warns(UserWarning, match="Use `from_logits=False`"):
        loss([0, 1], np.array([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]]))


@pytest.mark.parametrize(
    ("activation", "bias"), [(None, True), (None, False), ("sigmoid", True)]
)
@pytest.mark.parametrize("eager", [False, True])
def test_outputs_that_are_not_probabilities_give_a_warning(activation, bias, eager):
    with pytest.warns(UserWarning, match="Use `from_logits=True`"):
        evaluated(make_model(activation, bias=bias), False, run_eagerly=eager)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("activation", [None, "softmax"])
def test_matching_models_do_not_give_a_warning(activation, eager):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluated(make_model(activation), activation is None, run_eagerly=eager)


def test_rows_of_a_bfloat16_softmax_are_probabilities():
    model = make_model("softmax", "mixed_bfloat16")
    sums = np.asarray(model(IMAGES)).astype(np.float32).sum(axis=1)
    assert np.abs(sums - 1).max() > 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluated(model, from_logits=False, run_eagerly=True)


@pytest.mark.parametrize(
    ("counts", "logits"), [(COUNTS, [[2.0, -1.0, 0.0]]), ([5], [[1.0]])]
)
def test_logits_that_sum_to_1_do_not_give_a_warning(counts, logits):
    """Probabilities are not negative, and one class has nothing to choose from."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BalancedSoftmaxLoss(counts)([0], np.array(logits))


@pytest.mark.parametrize("eager", [False, True])
def test_a_reshaped_softmax_as_logits_gives_a_warning(eager):
    model = keras.Sequential([make_model("softmax"), keras.layers.Reshape((3,))])
    with pytest.warns(UserWarning, match="Use `from_logits=False`"):
        evaluated(model, from_logits=True, run_eagerly=eager)
