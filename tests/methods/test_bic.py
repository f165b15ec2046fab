"""BiC: the two numbers of its correction, and the images set aside for them."""

import json
import math

import keras
import numpy as np
import pytest

from bsce_keras import losses, make_config
from bsce_keras.methods import load_method
from bsce_keras.methods.base import StepContext
from bsce_keras.methods.bic import fit_bias_correction
from bsce_keras.models.heads import BiasCorrectedHead


def test_correction_is_not_trained_with_the_head():
    head = BiasCorrectedHead(4, 2)
    head.build((None, 8))
    assert [weight.name for weight in head.trainable_weights] == ["kernel", "bias"]
    assert len(head.weights) == 4


def random_logits(num_images=60, num_classes=6, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_images, num_classes)), rng.integers(
        0, num_classes, num_images
    )


def crossentropy(logits, labels, num_old, scale, offset, penalty):
    corrected = logits.copy()
    corrected[:, num_old:] = scale * logits[:, num_old:] + offset
    log_total = np.log(np.exp(corrected).sum(axis=1))
    values = log_total - corrected[np.arange(len(labels)), labels]
    return values.mean() + penalty * offset**2


def test_correction_equals_a_result_by_hand():
    """Images have an old logit of 0 and a new one of 1; one image in four is new.

    The best corrected new logit is log(1/3). The scale reaches it without penalty.
    """
    logits = np.tile([0.0, 1.0], (8, 1))
    labels = np.array([1, 0, 0, 0] * 2)
    scale, offset = fit_bias_correction(logits, labels, num_old_classes=1)
    assert scale == pytest.approx(math.log(1 / 3), abs=1e-4)
    assert offset == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("penalty", [0.05, 1.0])
def test_correction_minimises_the_penalised_cross_entropy(penalty):
    logits, labels = random_logits()
    found = fit_bias_correction(logits, labels, 4, penalty)
    best = crossentropy(logits, labels, 4, *found, penalty)
    for by_scale, by_offset in [(0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)]:
        other = found[0] + by_scale, found[1] + by_offset
        assert crossentropy(logits, labels, 4, *other, penalty) > best


def test_correction_undoes_a_linear_change_of_new_logits():
    """This holds without a penalty."""
    logits, labels = random_logits()
    scale, offset = fit_bias_correction(logits, labels, 4, 0.0)
    biased = logits.copy()
    biased[:, 4:] = 3.0 * logits[:, 4:] + 5.0
    again = fit_bias_correction(biased, labels, 4, 0.0)
    assert again == pytest.approx((scale / 3, offset - 5 * scale / 3), abs=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_scale_is_bounded_for_images_without_a_mistake(sign):
    """New logits separate the images, the right way or the wrong way round."""
    logits = sign * np.array([[0.0, -0.1], [0.0, 0.1]])
    scale, offset = fit_bias_correction(logits, [0, 1], num_old_classes=1)
    assert (scale, offset) == pytest.approx((10.0 * sign, 0.0), abs=1e-6)


def head_of(num_old, num_new):
    head = BiasCorrectedHead(num_old, num_new)
    head.build((None, 3))
    return head


FEATURES = np.array([[1.0, 0.0, 2.0]], np.float32)


def test_head_gets_the_correction_with_the_configured_penalty():
    request = {"method": "bic", "method_parameters": {"offset_penalty": 1.0}}
    method = load_method(make_config("digits", **request).method)
    context = StepContext(4, 2, (5,) * 4 + (100,) * 2, "softmax", step_sizes=(4, 2))
    head, set_aside = head_of(4, 2), random_logits()
    method.after_training(head, context, set_aside)
    expected = fit_bias_correction(*set_aside, 4, 1.0)
    np.testing.assert_allclose((head.scale, head.offset), expected, rtol=1e-6)
    usual = fit_bias_correction(*set_aside, 4)
    assert np.abs(np.subtract(usual, expected)).max() > 1e-3


def test_base_step_is_not_corrected():
    method = load_method(make_config("digits", method="bic").method)
    head = head_of(0, 6)
    context = StepContext(0, 6, (5,) * 6, "softmax", step_sizes=(6,))
    method.after_training(head, context, random_logits())
    assert (float(head.scale), float(head.offset)) == (1.0, 0.0)


def test_only_new_logits_are_corrected():
    head = head_of(3, 1)
    raw = head(FEATURES)["logits"].numpy()
    head.scale.assign(0.5)
    head.offset.assign(-1.0)
    corrected = head(FEATURES)["logits"].numpy()
    np.testing.assert_array_equal(corrected[:, :3], raw[:, :3])
    np.testing.assert_allclose(corrected[:, 3:], 0.5 * raw[:, 3:] - 1.0, rtol=1e-6)
    # Exported files have a dense layer. Its biases are large enough to tell here.
    head.bias.assign([1.0, 2.0, 3.0, 4.0])
    exported = keras.Model(inputs := keras.Input((3,)), head.plain(inputs))(FEATURES)
    np.testing.assert_allclose(exported["logits"], head(FEATURES)["logits"], rtol=1e-5)


def test_grown_head_copies_uncorrected_logits():
    """Corrections are not stacked: the next head starts uncorrected."""
    old = head_of(1, 2)
    raw = old(FEATURES)["logits"].numpy()
    old.scale.assign(0.5)
    old.offset.assign(-1.0)
    new = head_of(3, 1)
    new.grow_from(old)
    np.testing.assert_array_equal(new(FEATURES)["logits"][:, :3], raw)


def test_distillation_does_not_have_the_factor_tau_squared():
    method = load_method(make_config("digits", method="bic").method)
    context = StepContext(3, 1, (5, 5, 5, 130), "softmax", step_sizes=(3, 1))
    terms = {term.name: term for term in method.loss_terms(context)}
    rng = np.random.default_rng(1)
    teacher = {"logits": rng.normal(size=(2, 3))}
    student = {"logits": rng.normal(size=(2, 4))}
    expected = losses.logit_distillation(teacher["logits"], student["logits"], 2.0)
    actual = terms["distillation"].values(None, student, teacher)
    np.testing.assert_allclose(actual, expected / 4.0)
    assert terms["distillation"].weight == 0.75
    assert terms["classification"].weight == 0.25


def test_images_set_aside_are_not_trained_on(tmp_path):
    from bsce_keras.experiment import run_experiment
    from bsce_keras.records.checkpoints import Checkpoints

    config = make_config(
        "digits",
        method="bic",
        backbone="small",
        num_base_classes=8,
        num_increments=1,
        exemplars_per_class=20,
        epochs=1,
        precision="float32",
        export=False,
        run_dir=str(tmp_path),
    )
    run_experiment(config)
    text = (tmp_path / "steps.jsonl").read_text()
    base, increment = (json.loads(line) for line in text.splitlines())
    assert base["class_counts"] == [128] * 8
    assert increment["class_counts"] == [18] * 8 + [128] * 2
    assert increment["exemplars_per_class"] == [20] * 10
    arrays, _ = Checkpoints(tmp_path).load_step(1)
    scale, offset = (float(value) for value in _corrections(arrays))
    assert (scale, offset) != (1.0, 0.0)


def _corrections(arrays):
    """Returns scale and offset from the classifier's weights."""
    return [a for n, a in arrays.items() if n.startswith("classifier") and a.ndim == 0]
