"""Backbones whose layers draw random numbers, such as dropout."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec
from bsce_keras.learner.learner import Learner
from bsce_keras.learner.trainer import IncrementalTrainer
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.methods.base import StepContext
from bsce_keras.methods.finetune import Finetune
from bsce_keras.methods.recipes import NoParameters
from bsce_keras.models.classifier import build_classifier
from bsce_keras.models.heads import LinearHead
from bsce_keras.optimizers import CoupledSGD
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.devices import Runtime
from bsce_keras.runtime.signals import Stopped

IMAGE = ImageSpec(size=8, stored_size=8, channels=1, mean=(0.5,), std=(0.3,))


def save_backbone(path, *layers):
    keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3),
            keras.layers.GlobalAveragePooling2D(),
            *layers,
        ]
    ).save(path)
    return str(path)


def trained(config, run_dir, step, stop_requests=None):
    strategy = tf.distribute.get_strategy()
    runtime = Runtime(strategy, stop_requests)
    learner = Learner(config, runtime, Checkpoints(run_dir))
    learner.learn(step, ReplayMemory(config.memory, 1))
    return learner


def test_stopped_training_with_dropout_ends_with_the_same_bits(
    tiny_config, two_steps, stop_after, tmp_path
):
    path = save_backbone(tmp_path / "net.keras", keras.layers.Dropout(0.5))
    config = tiny_config(backbone=path)
    expected = trained(config, tmp_path / "whole", two_steps[0]).to_arrays()
    with pytest.raises(Stopped, match="after update 4"):
        trained(config, tmp_path / "run", two_steps[0], stop_after(4))
    found = trained(config, tmp_path / "run", two_steps[0]).to_arrays()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def dropout_trainer(rate=0.0):
    inputs = keras.Input((8, 8, 1))
    pooled = keras.layers.Flatten()(inputs)
    backbone = keras.Model(inputs, keras.layers.Dropout(0.5)(pooled))
    context = StepContext(0, 2, (32, 32), "softmax")
    trainer = IncrementalTrainer(
        build_classifier(backbone, LinearHead(2), IMAGE),
        None,
        Finetune(NoParameters()).loss_terms(context),
        context,
    )
    trainer.compile(optimizer=CoupledSGD(rate))
    trainer.optimizer.build(trainer.student.trainable_variables)
    return trainer


def test_dropout_draws_anew_in_every_update():
    """At learning rate 0 and on the same images, losses differ only by the draws."""
    images = np.random.default_rng(1).integers(0, 256, (64, 8, 8, 1)).astype(np.uint8)
    labels = np.arange(64, dtype=np.int32) % 2
    trainer = dropout_trainer()
    first, second = (float(trainer.train_step((images, labels))["loss"]) for _ in "ab")
    assert first != second


def test_draws_of_replicas_and_updates_are_256_apart(two_devices):
    """A layer that draws up to 256 times in an update never repeats a draw."""
    with two_devices.scope():
        trainer = dropout_trainer()
    [state] = trainer.student.non_trainable_variables
    read = tf.function(lambda: trainer._state_of(state), autograph=False)
    draws = []
    for update in range(2):
        trainer.optimizer.iterations.assign(update)
        found = two_devices.run(read)
        draws += [
            x.numpy().tolist() for x in two_devices.experimental_local_results(found)
        ]
    seeds, counts = zip(*draws, strict=True)
    assert len(set(seeds)) == 1
    assert np.diff(counts).min() >= 256
