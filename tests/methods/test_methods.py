"""What holds for every method by name, and the terms of the two that are here."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras import make_config
from bsce_keras.losses import balanced_softmax_crossentropy, logit_distillation
from bsce_keras.methods import METHODS, load_method
from bsce_keras.methods.base import CLASSIFICATION, StepContext

NUM_OLD, NUM_NEW = 3, 1
COUNTS = (5, 5, 5, 100)
LABELS = np.array([0, 3, 1])


def context(loss="balanced_softmax", num_old=NUM_OLD, alpha=1.0):
    num_new = len(COUNTS) - num_old
    return StepContext(num_old, num_new, COUNTS, loss, alpha)


def outputs(num_classes, seed):
    logits = np.random.default_rng(seed).normal(size=(3, num_classes))
    return {"logits": tf.constant(logits, tf.float32)}


def method(name):
    return load_method(make_config("digits", method=name).method)


@pytest.mark.parametrize("name", METHODS)
def test_the_base_step_has_the_classification_term_alone(name):
    terms = method(name).loss_terms(context(num_old=0))
    assert [(term.name, term.weight) for term in terms] == [(CLASSIFICATION, 1.0)]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("loss", ["softmax", "balanced_softmax"])
def test_classification_is_the_loss_that_was_asked_for(name, loss):
    term = method(name).loss_terms(context(loss, alpha=0.5))[0]
    student = outputs(4, seed=1)
    counts, alpha = (COUNTS, 0.5) if loss == "balanced_softmax" else ((1,) * 4, 1.0)
    expected = balanced_softmax_crossentropy(
        LABELS, student["logits"], counts, alpha, NUM_OLD
    )
    actual = term.values(LABELS, student, outputs(3, seed=2))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_other_terms_push_the_student_nowhere_where_it_equals_the_teacher(name):
    student = outputs(4, seed=1)
    teacher = {"logits": student["logits"][:, :NUM_OLD]}
    for term in method(name).loss_terms(context())[1:]:
        with tf.GradientTape() as tape:
            tape.watch(student["logits"])
            loss = tf.reduce_mean(term.values(LABELS, student, teacher))
        slope = tape.gradient(loss, student["logits"])
        np.testing.assert_allclose(slope, 0.0, atol=1e-6)


def test_il_baseline_weighs_by_the_share_of_old_classes():
    classification, distillation = method("il_baseline").loss_terms(context())
    assert (classification.weight, distillation.weight) == (0.25, 0.75)
    student, teacher = outputs(4, seed=1), outputs(3, seed=2)
    np.testing.assert_allclose(
        distillation.values(LABELS, student, teacher),
        logit_distillation(teacher["logits"], student["logits"], temperature=2.0),
    )


def test_a_learned_alpha_is_read_at_every_call():
    alpha = keras.Variable(1.0)
    term = method("finetune").loss_terms(context("meta_balanced_softmax", alpha=alpha))
    student = outputs(4, seed=1)
    before = term[0].values(LABELS, student, None)
    alpha.assign(0.1)
    assert np.all(term[0].values(LABELS, student, None) != before)
