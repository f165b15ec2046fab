"""SS-IL: distillation per step, batch sizes and rates."""

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras import losses, make_config
from bsce_keras.config import choices
from bsce_keras.methods import load_method, recipes
from bsce_keras.methods.base import StepContext
from bsce_keras.optimizers import learning_rate_at

RNG = np.random.default_rng(1)
TEACHER = RNG.normal(size=(4, 5)).astype(np.float32)
STUDENT = RNG.normal(size=(4, 7)).astype(np.float32)


def config(**request):
    return make_config("digits", method="ss_il", num_increments=1, **request)


def distillation(student):
    """Computes the distillation of step 2, after steps of 3 and 2 classes."""
    context = StepContext(
        5, 2, (20,) * 5 + (500,) * 2, "separated_softmax", step_sizes=(3, 2, 2)
    )
    term = load_method(config().method).loss_terms(context)[1]
    assert (term.name, term.weight) == ("distillation", 1.0)
    return term.values(None, {"logits": student}, {"logits": TEACHER})


def test_every_earlier_step_has_a_separate_distillation():
    expected = losses.logit_distillation(TEACHER[:, :3], STUDENT[:, :3])
    expected += losses.logit_distillation(TEACHER[:, 3:5], STUDENT[:, 3:5])
    np.testing.assert_allclose(distillation(tf.constant(STUDENT)), expected, rtol=1e-6)


def test_shifting_logits_of_one_step_does_not_change_distillation():
    shifted = STUDENT + np.array([7.0] * 3 + [-2.0] * 4, np.float32)
    np.testing.assert_allclose(distillation(shifted), distillation(STUDENT), rtol=1e-5)


def test_base_step_has_only_classification():
    context = StepContext(0, 5, (130,) * 5, "separated_softmax", step_sizes=(5,))
    assert len(load_method(config().method).loss_terms(context)) == 1


def test_rate_is_divided_by_the_number_of_the_step():
    training = config(epochs=16).training
    rates = [learning_rate_at(training.at_step(step, 1000), 0) for step in range(3)]
    assert rates == pytest.approx([0.1, 0.1 / 2, 0.1 / 3])
    other = make_config("digits").training
    assert other.at_step(3, 1000) == other


def test_sampling_is_four_to_one_by_default():
    assert config().training.replay_sampling == "four_to_one"
    assert config(replay_sampling="uniform").training.replay_sampling == "uniform"


def test_increments_add_32_exemplars_to_batches_of_128():
    training = config(batch_size=128).training
    sizes = [training.at_step(step, 1000).batch_size for step in range(3)]
    assert sizes == [128, 160, 160]
    uniform = config(batch_size=128, replay_sampling="uniform").training
    assert uniform.at_step(1, 1000).batch_size == 128
    # 1000 images are 8 batches of 128, and 7 of 160.
    patient = config(batch_size=128, epochs=1, min_updates=80).training
    assert [patient.at_step(step, 1000).epochs for step in (0, 1)] == [10, 12]
    for kind in (choices.CIFAR, choices.SUBIMAGENET, choices.IMAGENET):
        assert recipes.published("ss_il").recipes[kind].batch_size == 128
