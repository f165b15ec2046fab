"""StepPhase: what a phase knows of its run, and the time that it adds."""

import dataclasses
import time
import types

import keras
import pytest
import tensorflow as tf

from bsce_keras.learner.analytic_phase import AnalyticPhase
from bsce_keras.learner.learner import Learner
from bsce_keras.learner.main_phase import MainPhase
from bsce_keras.learner.pixel_phase import PixelPhase
from bsce_keras.learner.training_stats import TrainingStats
from bsce_keras.runtime.devices import Runtime
from bsce_keras.runtime.signals import StopRequests


def phase_of(config):
    return MainPhase(types.SimpleNamespace(config=config, plans=config.plans))


def test_a_step_knows_the_classes_of_every_step_before_it(tiny_config, two_steps):
    """SS-IL distils them step by step."""
    step = dataclasses.replace(two_steps[1], index=2, num_old_classes=6)
    context = phase_of(tiny_config()).context(step, step.examples)
    assert context.step_sizes == (5, 1, 1)


def test_a_held_alpha_is_that_of_the_run(tiny_config, two_steps):
    config = tiny_config(
        classification_loss="meta_balanced_softmax", alpha_optimizer="held", alpha=0.5
    )
    assert float(phase_of(config).learned_alpha(two_steps[1]).value) == 0.5


def test_a_step_keeps_the_precision_of_the_run(tiny_config, two_steps):
    keras.config.set_dtype_policy("mixed_bfloat16")
    learner = Learner(tiny_config(), Runtime(tf.distribute.get_strategy()), None)
    learner._phases = []
    learner.learn(two_steps[0], None)
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


@pytest.mark.parametrize("kind", [AnalyticPhase, PixelPhase])
def test_a_later_phase_adds_its_time_to_the_step(kind, tiny_config, monkeypatch):
    """Ten seconds of the main phase, then three."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def takes_3_seconds(*_):
        now[0] += 3
        return {} if kind is PixelPhase else ({}, 0.5)

    runtime = Runtime(tf.distribute.get_strategy(), StopRequests())
    phase = kind(Learner(tiny_config(), runtime, None))
    phase._optimized = phase._solved = takes_3_seconds
    phase._grown = lambda step: keras.Sequential([keras.layers.Dense(1)])
    phase.learner.adopt = lambda classifier: None
    memory = types.SimpleNamespace(
        examples=lambda: [None], replace_images=lambda images: None
    )
    before = TrainingStats(160, [160], 1, 10.0, 16.0)
    after = phase.run(types.SimpleNamespace(index=0), memory, before)
    assert after.train_seconds == 13
    assert after.class_counts == before.class_counts
