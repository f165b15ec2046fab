"""Analytic steps: state, restoring, replicas, stops and a shared base step."""

import dataclasses
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.learner.analytic_phase import AnalyticPhase
from bsce_keras.learner.feature_pass import FeaturePass
from bsce_keras.learner.learner import Learner
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.methods.recipes import SHARED_NETWORK
from bsce_keras.models.classifier import backbone_of, head_of
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.devices import Runtime
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.signals import Stopped, StopRequests


def new_learner(config, strategy=None, stop_requests=None):
    runtime = Runtime(strategy or tf.distribute.get_strategy(), stop_requests)
    return Learner(config, runtime, Checkpoints(config.run_dir))


def memory_of(config):
    return ReplayMemory(config.memory, config.training.seed)


def weights_of(learner):
    return [np.asarray(weight) for weight in learner.classifier.get_weights()]


@pytest.fixture
def base(tiny_config, two_steps):
    """Learner with a finished base step, its memory and the stats."""
    config = tiny_config(method="acil", expansion_size=160)
    learner, memory = new_learner(config), memory_of(config)
    return learner, memory, learner.learn(two_steps[0], memory)


def test_increment_changes_the_head_only(base, two_steps):
    learner, memory, first = base
    before = backbone_of(learner.classifier).get_weights()
    stats = learner.learn(two_steps[1], memory)
    after = backbone_of(learner.classifier).get_weights()
    for ours, theirs in zip(after, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    head = head_of(learner.classifier)
    assert (head.num_classes, head.expansion_size) == (6, 160)
    assert (stats.epochs, stats.class_counts) == (1, [0] * 5 + [130])
    state = learner.run.checkpoints.load_state(0)
    assert first.ridge == stats.ridge == state["ridge"] > 0
    assert memory.counts == [0] * 6


def test_restored_learner_solves_the_same_head(base, two_steps):
    learner, memory, _ = base
    saved = learner.to_arrays()
    learner.learn(two_steps[1], memory)
    again = new_learner(learner.config)
    again.restore(two_steps[0], saved)
    again.learn(two_steps[1], memory)
    for ours, theirs in zip(weights_of(again), weights_of(learner), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_state_of_step_1_follows_from_the_images_of_a_shared_base_step(
    base, two_steps, tiny_config, tmp_path
):
    learner, memory, _ = base
    other = new_learner(
        tiny_config(method="acil", expansion_size=160, run_dir=str(tmp_path / "other"))
    )
    other.restore(two_steps[0], learner.to_arrays())
    learner.learn(two_steps[1], memory)
    step, earlier = two_steps[1], two_steps[0].examples
    other.learn(dataclasses.replace(step, earlier=earlier), memory)
    for ours, theirs in zip(weights_of(other), weights_of(learner), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_base_step_with_another_head_gives_its_backbone(
    base, two_steps, tiny_config, tmp_path
):
    """The head has other columns than the one that was solved there."""
    learner, _, stats = base
    config = tiny_config(
        method="acil",
        expansion_size=80,
        parameters={"mirrored": True},
        run_dir=str(tmp_path / "other"),
    )
    other, memory = new_learner(config), memory_of(config)
    statistics = dataclasses.asdict(stats) | {"ridge": None}
    other.run.checkpoints.save_progress(
        0, SHARED_NETWORK, 1, learner.to_arrays(), statistics
    )
    taken = other.learn(two_steps[0], memory)
    backbones = (backbone_of(one.classifier).get_weights() for one in (other, learner))
    for ours, theirs in zip(*backbones, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert head_of(other.classifier).expansion_size == 80
    assert taken.train_seconds > stats.train_seconds


def test_rows_of_the_expansion_bring_features_to_one_deviation(
    base, two_steps, tiny_config
):
    parameters = {"depths": 2, "mirrored": True}
    config = tiny_config(
        method="acil",
        expansion_size=160,
        parameters=parameters,
        backbone="resnet8",
        run_dir="runs/wide",
    )
    learner, memory = new_learner(config), memory_of(config)
    for step in two_steps:
        learner.learn(step, memory)
    deviations = learner.own_features(two_steps[0].examples.images).std(axis=0)
    expansion = np.asarray(head_of(learner.classifier).expansion)
    drawn = expansion * (deviations + 1e-6)[:, None]
    assert np.abs(drawn).max() <= 1.001 * len(deviations) ** -0.5
    plain = np.asarray(head_of(base[0].classifier).expansion)
    assert np.abs(plain).max() <= len(plain) ** -0.5


@pytest.mark.slow
@pytest.mark.parametrize("method", ["acil", "ds_al"])
def test_two_replicas_equal_one_device(method, tiny_config, two_steps, two_devices):
    request = {
        "method": method,
        "expansion_size": 160,
        "synchronized_batch_norm": True,
        "batch_size": 14,
    }
    heads = []
    for name, strategy in (("one", None), ("two", two_devices)):
        config = tiny_config(**request, run_dir=f"runs/{name}")
        learner, memory = new_learner(config, strategy), memory_of(config)
        for step in two_steps:
            learner.learn(step, memory)
        heads.append(learner.logits(two_steps[0].examples.images))
    np.testing.assert_allclose(*heads, atol=1e-3)


def test_stop_request_ends_the_phase_and_keeps_the_state(base, two_steps, stop_after):
    learner, memory, _ = base
    stopping = new_learner(learner.config, stop_requests=stop_after(2))
    stopping.restore(two_steps[0], learner.to_arrays())
    with pytest.raises(Stopped, match="while its head was solved"):
        stopping.learn(two_steps[1], memory)
    checkpoints = Checkpoints(learner.config.run_dir)
    assert checkpoints.load_state(0) is not None
    assert checkpoints.load_state(1) is None


def test_missing_state_is_refused_with_the_way_out(base, two_steps):
    learner, memory, _ = base
    later = dataclasses.replace(two_steps[1], index=2)
    with pytest.raises(RequestError, match="state after step 1 is missing or damaged"):
        learner.learn(later, memory)


def test_bytes_of_memory_are_those_of_the_saved_state(base, two_steps):
    learner, memory, _ = base
    kept = learner.memory_bytes(two_steps[0], memory)
    # Packed Gram matrix and moments of 160 columns and 5 classes, counts, and ridge.
    assert kept["state"] == 8 * (160 * 161 // 2 + 160 * 5 + 5 + 1)
    assert (kept["exemplars"], kept["teacher"]) == (0, 0)


def test_frozen_backbone_trains_nothing_at_the_base_step(
    tiny_config, two_steps, tmp_path
):
    image = tiny_config().stream.image
    inputs = keras.Input((image.size, image.size, image.channels))
    features = keras.layers.Dense(8)(keras.layers.Flatten()(inputs))
    backbone = keras.Model(inputs, features)
    path = str(tmp_path / "backbone.keras")
    backbone.save(path)
    config = tiny_config(
        method="acil",
        classification_loss="balanced_softmax",
        expansion_size=160,
        backbone=path,
        freeze_backbone=True,
    )
    learner = new_learner(config)
    stats = learner.learn(two_steps[0], memory_of(config))
    assert stats.alpha is None  # There are no old classes.
    learned = backbone_of(learner.classifier).get_weights()
    for ours, theirs in zip(learned, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (stats.epochs, stats.train_images) == (1, 160)


def test_weights_of_images_are_those_of_the_configuration(tiny_config, two_steps):
    config = tiny_config(
        method="acil",
        classification_loss="balanced_softmax",
        alpha=0.5,
        parameters={"base_weight": 0.25},
    )
    head = types.SimpleNamespace(expansion=np.ones((4, 8)), depths=0)
    learner = types.SimpleNamespace(
        config=config,
        classifier=types.SimpleNamespace(layers=[head]),
        own_features=lambda images: images.reshape(len(images), -1)[:, :4],
    )
    told = FeaturePass(StopRequests(), "step 1/5", "while its head was solved")
    step = two_steps[1]
    found = AnalyticPhase(learner)._analytic_step(step, step.examples, told)
    assert (found.num_old_classes, found.num_classes) == (5, 6)
    assert (found.is_balanced, found.alpha) == (True, 0.5)
    assert (found.num_base_classes, found.base_weight) == (5, 0.25)
    np.testing.assert_array_equal(found.labels, step.examples.labels)
