"""Hyper-parameters of methods have the effect that their help promises."""

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras import make_config
from bsce_keras.losses import logit_distillation
from bsce_keras.methods import load_method
from bsce_keras.methods.base import StepContext

NUM_OLD, NUM_NEW = 5, 4
LABELS = np.array([0, 8, 3, 6, 4, 1])


def outputs(num_classes, seed):
    """Returns the outputs of a network that the terms below read."""
    rng = np.random.default_rng(seed)
    rows = {"logits": num_classes, "similarities": num_classes, "features": 8}
    found = {name: rng.normal(size=(6, width)) for name, width in rows.items()}
    found["cosines"] = np.tanh(found["logits"])
    found["scale"] = np.full((6, 1), 3.0)
    found["stage1"] = rng.normal(size=(6, 4, 4, 2))
    return {name: tf.constant(values, tf.float32) for name, values in found.items()}


def terms_of(method, **parameters):
    """Returns the loss terms of an increment, after steps of 3 and 2 classes."""
    config = make_config(
        "digits", method=method, increments=[2], method_parameters=parameters
    ).method
    context = StepContext(
        NUM_OLD,
        NUM_NEW,
        (5,) * NUM_OLD + (100,) * NUM_NEW,
        config.classification_loss,
        step_sizes=(3, 2, NUM_NEW),
    )
    return load_method(config).loss_terms(context)


@pytest.mark.parametrize(
    ("method", "factor"),
    [
        ("il_baseline", 1.0),
        ("bic", 1 / 16),
        ("wa", 1 / 16),
        ("lwf", 1 / 16),
        ("icarl", 1 / 16),
        ("ss_il", 1.0),
    ],
)
def test_distillation_has_the_configured_temperature(method, factor):
    """Four methods divide by its square, 16."""
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(6, NUM_OLD)), rng.normal(size=(6, 9))
    steps = [slice(0, 3), slice(3, 5)] if method == "ss_il" else [slice(0, 5)]
    expected = sum(
        logit_distillation(teacher[:, step], student[:, step], 4.0) for step in steps
    )
    _, term = terms_of(method, temperature=4.0)
    found = term.values(LABELS, {"logits": student}, {"logits": teacher})
    np.testing.assert_allclose(found, factor * expected, rtol=1e-6)


def loss_of(method, **parameters):
    """Returns the weighted sum of the terms of `terms_of`."""
    student, teacher = outputs(NUM_OLD + NUM_NEW, seed=1), outputs(NUM_OLD, seed=2)
    total = 0.0
    for term in terms_of(method, **parameters):
        values = term.values(LABELS, student, teacher)
        values = values[0] if isinstance(values, tuple) else values
        total += term.weight * float(tf.reduce_mean(values))
    return total


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("lucir", {"less_forget_weight": 7.0}),
        ("lucir", {"margin_ranking_weight": 0.5}),
        ("lucir", {"margin": 0.9}),
        ("lucir", {"top_k": 3}),
        ("podnet", {"spatial_weight": 7.0}),
        ("podnet", {"flat_weight": 7.0}),
        ("podnet", {"nca": "paper"}),
    ],
)
def test_a_parameter_of_the_terms_changes_the_loss(method, parameters):
    changed, default = loss_of(method, **parameters), loss_of(method)
    assert abs(changed - default) > 1e-3


def test_the_margin_of_podnet_changes_the_loss_of_the_paper():
    wide, narrow = (loss_of("podnet", nca="paper", margin=m) for m in (0.9, 0.6))
    assert wide - narrow > 1e-3
