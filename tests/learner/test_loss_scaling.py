"""Training in mixed_float16, which scales the loss: updates, and resumed phases."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec, TrainingConfig
from bsce_keras.learner.phase_progress import PhaseProgress
from bsce_keras.learner.phases import PhasePlan, compile_trainer
from bsce_keras.learner.trainer import IncrementalTrainer
from bsce_keras.methods.base import LossTerm, StepContext
from bsce_keras.methods.finetune import Finetune
from bsce_keras.methods.parameters import NoParameters
from bsce_keras.models.classifier import build_classifier, head_of
from bsce_keras.models.heads import LinearHead
from bsce_keras.records.checkpoints import Checkpoints

IMAGE = ImageSpec(size=8, stored_size=8, channels=1, mean=(0.5,), std=(0.3,))


@pytest.fixture(autouse=True)
def float16():
    keras.config.set_dtype_policy("mixed_float16")


def softmax_slope(head, images, labels):
    """Returns the gradient by the kernel of a softmax regression from pixels."""
    kernel, bias = head.get_weights()
    features = (images.reshape(len(images), -1) / 255 - 0.5) / 0.3
    chances = keras.ops.softmax(features @ kernel + bias)
    return features.T @ (chances - np.eye(2)[labels]) / len(images)


def make_trainer(terms=None):
    """Returns a compiled trainer of a linear model from pixels, and its head."""
    inputs = keras.Input((8, 8, 1))
    backbone = keras.Model(inputs, keras.layers.Flatten()(inputs))
    student = build_classifier(backbone, LinearHead(2), IMAGE)
    context = StepContext(0, 2, (3, 3), "softmax")
    terms = terms or Finetune(NoParameters()).loss_terms(context)
    trainer = IncrementalTrainer(student, None, terms, context)
    training = TrainingConfig(
        epochs=1, batch_size=6, learning_rate=0.1, momentum=0.0, weight_decay=0.0
    )
    compile_trainer(trainer, training, training)
    return trainer, head_of(student)


def test_updates_do_not_depend_on_the_scale_of_the_loss():
    """The scale starts at 2**15. Keras halves it where gradients overflow."""
    trainer, head = make_trainer()
    images = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 1)).astype(np.uint8)
    labels = np.arange(6, dtype=np.int32) % 2
    batch = tf.constant(images), tf.constant(labels)
    update = tf.function(trainer.train_step, autograph=False)
    update = update.get_concrete_function(batch)
    for scale in (2.0**15, 2.0**14):
        trainer.optimizer.dynamic_scale.assign(scale)
        expected = head.kernel.numpy() - 0.1 * softmax_slope(head, images, labels)
        update(batch)
        np.testing.assert_allclose(head.kernel.numpy(), expected, atol=1e-4)


def root_of_zero(number):
    """Returns a term whose slope is infinite on one replica."""

    def root(labels, student, teacher):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        logits = student["logits"][:, 0]
        return tf.sqrt(tf.where(tf.equal(replica, number), 0 * logits, 1 + logits**2))

    return [LossTerm("root", 1.0, root)]


def test_an_overflow_on_one_replica_skips_the_update_on_all(two_devices):
    """The second replica overflows."""
    with two_devices.scope():
        trainer, head = make_trainer(root_of_zero(1))
    batch = tf.zeros((2, 8, 8, 1), tf.uint8), tf.constant([0, 1])
    before = head.kernel.numpy()
    update = tf.function(
        lambda: two_devices.run(trainer.train_step, (batch,)), autograph=False
    )
    update()
    for variable, expected in (
        (head.kernel, before),
        (trainer.optimizer.dynamic_scale, 2.0**14),
    ):
        for value in two_devices.experimental_local_results(variable.value):
            np.testing.assert_array_equal(value, expected)


def test_a_gradient_that_overflows_without_scale_ends_the_run():
    """Otherwise all updates of the run would be skipped without a word."""
    trainer, head = make_trainer(root_of_zero(0))
    batch = np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1])
    before = head.kernel.numpy()
    trainer.optimizer.dynamic_scale.assign(2.0)
    trainer.train_step(batch)
    assert float(trainer.optimizer.dynamic_scale) == 1.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="the gradient"):
        trainer.train_step(batch)
    np.testing.assert_array_equal(head.kernel.numpy(), before)


def test_a_resumed_phase_has_the_scale_of_the_loss(tmp_path):
    def begin():
        trainer, head = make_trainer()
        plan = PhasePlan("main", 0, schedule=None)
        return PhaseProgress(Checkpoints(tmp_path), plan, trainer, 2), trainer, head

    progress, trainer, head = begin()
    trainer.train_step((np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1])))
    trainer.optimizer.dynamic_scale.assign(2.0**14)
    progress.save()
    again, other, other_head = begin()
    assert again.restore()
    assert float(other.optimizer.dynamic_scale) == 2.0**14
    np.testing.assert_array_equal(other_head.kernel.numpy(), head.kernel.numpy())
