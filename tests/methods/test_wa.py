"""Weight aligning: the scaled columns and their factor."""

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras import make_config
from bsce_keras.methods import load_method
from bsce_keras.methods.base import StepContext
from bsce_keras.models.heads import LinearHead
from bsce_keras.optimizers import CoupledSGD


@pytest.mark.parametrize("name", ["wa", "bic"])
def test_distillation_of_wa_and_bic_lacks_the_factor_tau_squared(name):
    """Logits: teacher (log 3, 0), student (0, 0); tau 2. log 2, not 4 log 2."""
    context = StepContext(2, 1, (5, 5, 130), "softmax", step_sizes=(2, 1))
    term = load_method(make_config("digits", method=name).method).loss_terms(context)[1]
    assert (term.name, term.weight) == ("distillation", pytest.approx(2 / 3))
    teacher = {"logits": np.array([[np.log(3.0), 0.0]])}
    student = {"logits": np.zeros((1, 3))}
    assert float(term.values(None, student, teacher)[0]) == pytest.approx(np.log(2))


def aligned(kernel, num_old, times=1):
    head = LinearHead(kernel.shape[1])
    head.build((None, len(kernel)))
    head.kernel.assign(kernel)
    bias = head.bias.numpy()
    num_new = kernel.shape[1] - num_old
    context = StepContext(num_old, num_new, (1,) * (num_old + num_new), "softmax")
    method = load_method(make_config("digits", method="wa").method)
    for _ in range(times):
        method.after_training(head, context, None)
    np.testing.assert_array_equal(head.bias, bias)
    return head.kernel.numpy()


def weights_after_one_update(parameters, strategy):
    """Weights (.1, .5) after an update by a gradient of (1, 1) at rate .2."""
    config = make_config("digits", method="wa", method_parameters=parameters).method
    with strategy.scope():
        head = load_method(config).make_head(0, 1)
        head.build((None, 2))
        head.kernel.assign([[0.1], [0.5]])
        optimizer = CoupledSGD(0.2)
        optimizer.build([head.kernel])

    def update():
        # Gradients are summed over replicas.
        gradient = tf.fill((2, 1), 1.0 / strategy.num_replicas_in_sync)
        optimizer.apply([gradient], [head.kernel])

    tf.function(lambda: strategy.run(update), autograph=False)()
    return head.kernel.numpy()[:, 0].tolist()


def test_weights_below_0_become_0_after_an_update():
    """.1 - .2 becomes 0; .5 - .2 is .3."""
    one_device = tf.distribute.get_strategy()
    assert weights_after_one_update({}, one_device) == pytest.approx([0.0, 0.3])
    unclipped = weights_after_one_update({"clips_weights": False}, one_device)
    assert unclipped == pytest.approx([-0.1, 0.3])


def test_weights_below_0_become_0_on_two_replicas(two_devices):
    assert weights_after_one_update({}, two_devices) == pytest.approx([0.0, 0.3])


# Columns of length 1, 3, 8 and 8.
KERNEL = np.array([[1.0, 0.0, 8.0, 0.0], [0.0, -3.0, 0.0, 8.0]], np.float32)


def test_new_columns_get_the_mean_length_of_old_ones():
    """Old lengths are 1 and 3, new ones 8: the factor is 2 / 8."""
    expected = KERNEL * np.array([1.0, 1.0, 0.25, 0.25])
    np.testing.assert_allclose(aligned(KERNEL, num_old=2), expected)


def test_aligning_again_changes_nothing():
    once = aligned(KERNEL, num_old=2)
    np.testing.assert_allclose(aligned(KERNEL, num_old=2, times=2), once, rtol=1e-6)


def test_new_classes_without_a_weight_above_0_are_reported(caplog):
    """Their mean length is 0, which cannot be scaled to that of old classes."""
    kernel = KERNEL * np.array([1.0, 1.0, 0.0, 0.0], np.float32)
    np.testing.assert_array_equal(aligned(kernel, num_old=2), kernel)
    assert "All weights of new classes are 0" in caplog.text


def test_base_step_is_not_aligned():
    np.testing.assert_array_equal(aligned(KERNEL, num_old=0), KERNEL)


def test_lengths_of_new_classes_keep_their_proportions():
    kernel = np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32)
    after = np.linalg.norm(aligned(kernel, num_old=4), axis=0)
    before = np.linalg.norm(kernel, axis=0)
    ratio = after[4:] / before[4:]
    assert ratio == pytest.approx(ratio[0])
    assert after[4:].mean() == pytest.approx(before[:4].mean())
