"""ImprintPhase: earlier logits stay, and a restored learner goes on alike."""

import numpy as np
import tensorflow as tf

from bsce_keras.learner.learner import Learner
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.devices import Runtime


def learned(config, steps, memory, stop=None):
    learner = Learner(
        config, Runtime(tf.distribute.get_strategy()), Checkpoints(config.run_dir)
    )
    if stop is not None:
        learner.restore(*stop)
    for step in steps:
        learner.learn(step, memory)
    return learner


def test_an_increment_keeps_all_earlier_logits(tiny_config, two_steps):
    config = tiny_config(method="imprint")
    memory = ReplayMemory(config.memory, config.training.seed)
    learner = learned(config, two_steps[:1], memory)
    images = two_steps[0].examples.images[:50]
    before, saved = learner.logits(images), learner.to_arrays()
    stats = learner.learn(two_steps[1], memory)
    np.testing.assert_allclose(learner.logits(images)[:, :5], before, atol=1e-5)
    new = two_steps[1].examples.images
    assert (learner.logits(new).argmax(axis=1) == 5).mean() > 0.8
    assert stats.train_images == len(new) and memory.counts == [0] * 6
    again = learned(config, two_steps[1:], memory, stop=(two_steps[0], saved))
    for ours, theirs in zip(
        again.classifier.get_weights(), learner.classifier.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    third = learned(config, [], memory, stop=(two_steps[1], learner.to_arrays()))
    np.testing.assert_array_equal(third.logits(new), learner.logits(new))
