"""What a `Learner` tells of a step: bytes of memory, and images still to come."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.learner.growth import new_classifier
from bsce_keras.learner.learner import Learner
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.devices import Runtime
from bsce_keras.runtime.errors import RunError


def test_bytes_of_memory_count_exemplars_and_teacher(tiny_config, two_steps):
    config = tiny_config(method="lucir", exemplars_per_class=4)
    learner = Learner(config, Runtime(tf.distribute.get_strategy()), Checkpoints("c"))
    memory = ReplayMemory(config.memory, config.training.seed)
    memory.update(two_steps[0], lambda images: images.reshape(len(images), -1))
    with learner.runtime.strategy.scope():
        head = learner.method.make_head(0, 5)
        classifier = new_classifier(config, learner.method.variant, head)
    learner.adopt(classifier)
    side = config.stream.image.stored_size
    assert learner.memory_bytes(two_steps[0], memory) == {
        "exemplars": 20 * side * side,
        "state": 0,
        "teacher": 4 * classifier.count_params(),
    }


def test_bytes_of_memory_of_joint_training_are_those_of_all_images(
    tiny_config, two_steps
):
    config = tiny_config(method="joint")
    learner = Learner(config, Runtime(), None)
    memory = ReplayMemory(config.memory, config.training.seed)
    base, increment = two_steps
    increment = dataclasses.replace(increment, earlier=base.examples)
    kept = [learner.memory_bytes(step, memory) for step in (base, increment)]
    sizes = [base.examples.images.size, increment.examples.images.size]
    assert [each["exemplars"] for each in kept] == [sizes[0], sum(sizes)]


def test_bytes_of_memory_count_the_graph_of_its_exemplars(tiny_config, two_steps):
    config = tiny_config(method="tpcil", exemplars_per_class=4)
    learner = Learner(config, Runtime(tf.distribute.get_strategy()), Checkpoints("c"))
    memory = ReplayMemory(config.memory, config.training.seed)
    memory.update(two_steps[0], lambda images: images.reshape(len(images), -1))
    kept = learner.memory_bytes(two_steps[0], memory)
    side = config.stream.image.stored_size
    # A vertex has a float64 for each of the pixels, and an edge two vertices.
    assert kept["state"] == 20 * side * side * 8 + memory.edges.nbytes
    assert (kept["exemplars"], kept["teacher"]) == (20 * side * side, 0)


def test_time_left_counts_the_epochs_of_the_least_number_of_updates(
    tiny_config, two_steps
):
    config = tiny_config(min_updates=30)
    learner = Learner(config, Runtime(tf.distribute.get_strategy()), None)
    # 32 new images and 5 exemplars of each old class, in batches of 16.
    pools, epochs = (57, 62, 67, 72, 77), (8, 8, 6, 6, 6)
    images = sum(pool * number for pool, number in zip(pools, epochs, strict=True))
    assert learner.images_after(two_steps[0]) == images


def test_features_that_are_not_finite_end_the_run_with_the_way_out(
    tiny_config, monkeypatch
):
    learner = Learner(tiny_config(), Runtime(tf.distribute.get_strategy()), None)
    overflown = np.full((3, 64), np.inf, np.float32)
    monkeypatch.setattr(learner, "own_features", lambda images: overflown)
    with pytest.raises(RunError, match="not finite. Start another .*precision=float32"):
        learner.features(np.zeros((3, 8, 8, 1), np.uint8))
