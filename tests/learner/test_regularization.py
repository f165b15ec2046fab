"""Losses that layers of a backbone of the user's own add to the training loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec
from bsce_keras.learner.learned_alpha import LearnedAlpha
from bsce_keras.learner.trainer import IncrementalTrainer
from bsce_keras.methods.base import LossTerm, StepContext
from bsce_keras.methods.finetune import Finetune
from bsce_keras.methods.parameters import NoParameters
from bsce_keras.models.classifier import build_classifier
from bsce_keras.models.heads import LinearHead
from bsce_keras.optimizers import CoupledSGD
from bsce_keras.runtime.errors import RunError

IMAGE = ImageSpec(
    size=2, stored_size=2, channels=1, flip=False, mean=(0.5,), std=(0.3,)
)
CONTEXT = StepContext(2, 1, (3, 3, 20), "balanced_softmax")
RATE, FACTOR = 0.1, 0.25


class SquaredMean(keras.layers.Layer):
    """Adds the squared mean of its inputs to the loss."""

    def call(self, inputs):
        self.add_loss(keras.ops.mean(inputs) ** 2)
        return inputs


class Spare(keras.layers.Layer):
    """Has a weight that it does not use, as the mask token of a vision transformer."""

    def build(self, input_shape):
        self.add_weight(shape=(3,), initializer="ones", name="mask_token")

    def call(self, inputs):
        return inputs


def make_trainer(regularizer=None, *layers, alpha=None):
    keras.utils.set_random_seed(1)
    images = keras.Input((2, 2, 1))
    features = keras.layers.Flatten()(images)
    for layer in (keras.layers.Dense(3, kernel_regularizer=regularizer), *layers):
        features = layer(features)
    backbone = keras.Model(images, features)
    trainer = IncrementalTrainer(
        build_classifier(backbone, LinearHead(3), IMAGE),
        None,
        Finetune(NoParameters()).loss_terms(CONTEXT),
        CONTEXT,
        alpha,
    )
    trainer.compile(optimizer=CoupledSGD(RATE))
    trainer.optimizer.build(trainer.student.trainable_variables)
    return trainer


def make_batch(size=6, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (size, 2, 2, 1)).astype(np.uint8)
    return images, np.arange(size, dtype=np.int32) % 3


def kernel_of(trainer):
    return trainer.student.trainable_variables[0].numpy()


def test_regularizer_of_a_backbone_adds_its_loss_and_its_gradient():
    """Factor * sum of w^2 adds 2 * factor * w to the gradient of w."""
    plain, decayed = make_trainer(), make_trainer(keras.regularizers.L2(FACTOR))
    before = kernel_of(plain)
    logs, decayed_logs = (one.train_step(make_batch()) for one in (plain, decayed))
    added = FACTOR * np.sum(before**2)
    assert float(decayed_logs["regularization"]) == pytest.approx(added, rel=1e-6)
    assert float(decayed_logs["loss"]) == pytest.approx(
        float(logs["loss"]) + added, rel=1e-6
    )
    np.testing.assert_allclose(
        kernel_of(plain) - kernel_of(decayed), RATE * 2 * FACTOR * before, atol=1e-6
    )
    assert "regularization" not in logs


def test_losses_that_a_layer_adds_itself_are_trained():
    trainer = make_trainer(None, SquaredMean())
    images, _ = make_batch()
    features = trainer.student(images, training=True)["features"].numpy()
    logs = trainer.train_step(make_batch())
    assert float(logs["regularization"]) == pytest.approx(
        features.mean() ** 2, rel=1e-5
    )


def test_two_replicas_regularize_as_one_device_does(two_devices):
    """A sum over replicas would count the regularizer twice."""
    images, labels = make_batch()
    one = make_trainer(keras.regularizers.L2(FACTOR))
    expected = one.train_step((images, labels))
    with two_devices.scope():
        two = make_trainer(keras.regularizers.L2(FACTOR))
    # Shares of unequal size.
    parts = [slice(0, 4), slice(4, 6)]
    batch = two_devices.experimental_distribute_values_from_function(
        lambda replica: tuple(
            tf.constant(values[parts[replica.replica_id_in_sync_group]])
            for values in (images, labels)
        )
    )
    logs = tf.function(
        lambda: two_devices.run(two.train_step, (batch,)), autograph=False
    )()
    for value in two_devices.experimental_local_results(logs["regularization"]):
        assert float(value) == pytest.approx(float(expected["regularization"]))
    np.testing.assert_allclose(kernel_of(two), kernel_of(one), atol=1e-6)


def test_both_forms_of_the_alpha_gradient_regularize_the_virtual_update():
    slopes = {}
    for form in ("closed_form", "nested_tapes"):
        for regularizer in (None, keras.regularizers.L2(FACTOR)):
            trainer = make_trainer(regularizer, alpha=LearnedAlpha(None, "held"))
            trainer.meta_gradient = form
            logs = trainer.train_step((*make_batch(), *make_batch(seed=1)))
            slopes[form, regularizer is None] = float(logs["alpha_gradient"])
    for is_plain in (True, False):
        assert slopes["closed_form", is_plain] == pytest.approx(
            slopes["nested_tapes", is_plain], rel=1e-4
        )
    assert slopes["closed_form", True] != pytest.approx(
        slopes["closed_form", False], rel=1e-3
    )


def test_a_weight_that_no_loss_depends_on_stays_and_is_named(caplog):
    """Nor does it decay: PyTorch's SGD skips weights without a gradient."""
    plain, spare = make_trainer(), make_trainer(None, Spare())
    for trainer in (plain, spare):
        trainer.optimizer.coupled_weight_decay = 0.1
        trainer.train_step(make_batch())
    others = {weight.path: weight.numpy() for weight in spare.student.weights}
    assert others.pop("spare/mask_token").tolist() == [1.0] * 3
    expected = plain.student.get_weights()
    for value, wanted in zip(others.values(), expected, strict=True):
        np.testing.assert_array_equal(value, wanted)
    [line] = caplog.messages
    assert "No loss depends on spare/mask_token" in line


def test_losses_that_depend_on_no_weight_are_refused():
    trainer = make_trainer()
    trainer.terms = (LossTerm("constant", 1.0, lambda labels, *_: labels),)
    trainer._weights["constant"] = 1.0
    with pytest.raises(RunError, match="No loss term depends on a trained weight"):
        trainer.train_step(make_batch())


def test_a_term_called_regularization_is_refused():
    term = LossTerm("regularization", 1.0, lambda labels, student, teacher: labels)
    with pytest.raises(RunError, match="Rename regularization"):
        IncrementalTrainer(None, None, [term], CONTEXT)
