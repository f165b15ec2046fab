"""Logit distillation: worked numbers and zeros of the gradient."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.losses import logit_distillation

# softmax([0, log 3]) is (1/4, 3/4).
TEACHER = np.array([[0.0, np.log(3)]], np.float32)
UNDECIDED = np.zeros((1, 2), np.float32)
ENTROPY = np.log(4) - 0.75 * np.log(3)


def gradients(teacher, student, temperature=2.0):
    teacher, student = tf.constant(teacher), tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch([teacher, student])
        loss = tf.reduce_sum(logit_distillation(teacher, student, temperature))
    return tape.gradient(loss, [teacher, student])


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize(
    ("student", "expected"), [(UNDECIDED, np.log(2)), (TEACHER, ENTROPY)]
)
def test_worked_numbers_times_the_squared_temperature(student, expected, temperature):
    loss = logit_distillation(TEACHER * temperature, student * temperature, temperature)
    np.testing.assert_allclose(loss, [temperature**2 * expected], rtol=1e-6)


def test_gradient_is_temperature_times_the_difference_of_probabilities():
    _, student = gradients(2 * TEACHER, UNDECIDED, temperature=2.0)
    np.testing.assert_allclose(student, [[2 * 0.25, -2 * 0.25]], atol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_distillation_gradient_is_zero_if_logits_differ_by_a_constant(shift):
    _, student = gradients(TEACHER, TEACHER + shift)
    np.testing.assert_allclose(student, [[0, 0]], atol=1e-6)


def test_distillation_of_one_old_class_is_zero():
    teacher, student = np.array([[3.0], [-5.0]], "float32"), np.eye(2, dtype="float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(logit_distillation(teacher, student), [0, 0])
        np.testing.assert_array_equal(gradients(teacher, student)[1], np.zeros((2, 2)))


def test_every_image_of_a_batch_has_its_own_loss():
    teacher = np.concatenate([TEACHER, UNDECIDED, TEACHER])
    student = np.concatenate([UNDECIDED, TEACHER, 2 * TEACHER])
    loss = logit_distillation(teacher, student)
    alone = [
        logit_distillation(t[None], s[None])[0]
        for t, s in zip(teacher, student, strict=True)
    ]
    assert len(set(map(float, alone))) == 3
    np.testing.assert_allclose(loss, alone, rtol=1e-6)


def test_teacher_gradient_is_zero():
    teacher, _ = gradients(TEACHER, UNDECIDED)
    assert teacher is None


def test_logits_of_new_classes_are_ignored():
    grown = np.concatenate([UNDECIDED, [[7.0, -7.0]]], axis=1).astype(np.float32)
    np.testing.assert_array_equal(
        logit_distillation(TEACHER, grown), logit_distillation(TEACHER, UNDECIDED)
    )
    _, student = gradients(TEACHER, grown)
    assert np.all(student[:, 2:] == 0) and np.all(student[:, :2] != 0)


def test_bfloat16_logits_give_a_float32_loss():
    loss = logit_distillation(
        tf.zeros((1, 3), "bfloat16"), tf.zeros((1, 3), "bfloat16")
    )
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, [4 * np.log(3)], rtol=1e-6)


@pytest.mark.parametrize(
    ("teacher", "student"), [((1, 2), (4, 3)), ((4, 2), (1, 3)), ((4, 3), (4, 1))]
)
def test_logits_that_would_be_broadcast_are_refused_with_both_shapes(teacher, student):
    with pytest.raises(ValueError, match=r"teacher logits of shape .* and student"):
        logit_distillation(np.zeros(teacher), np.zeros(student))
