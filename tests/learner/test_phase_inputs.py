"""Batches of a phase: their size, and random draws that no other phase repeats."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import FinetuningConfig, ImageSpec, TrainingConfig
from bsce_keras.data.examples import Examples
from bsce_keras.learner import phases
from bsce_keras.learner.phase_progress import PhaseProgress
from bsce_keras.learner.phases import PhasePlan
from bsce_keras.runtime.devices import Runtime

IMAGE = ImageSpec(size=2, stored_size=2, channels=1)
POOL = Examples(np.zeros((20, 2, 2, 1), np.uint8), np.arange(20), np.arange(20))
TRAINING = TrainingConfig(2, batch_size=4, learning_rate=0.1, weight_decay=0.0)


def labels_of(name="main", step=1, first_draw=0, seed=1, epoch=0):
    """Returns the labels of every batch of an epoch."""
    training = dataclasses.replace(TRAINING, seed=seed)
    schedule = dataclasses.replace(training, batch_size=5)
    if name == "finetuning":
        schedule = FinetuningConfig(2, 0.1, ())
    stream = types.SimpleNamespace(image=IMAGE)
    run = types.SimpleNamespace(
        config=types.SimpleNamespace(training=training, stream=stream),
        runtime=Runtime(tf.distribute.get_strategy()),
    )
    plan = PhasePlan(name, step, schedule, first_draw=first_draw)
    batches = phases._batches(run, plan, POOL).epoch(epoch)
    return [labels.numpy().tolist() for _, labels in batches]


def test_main_phase_has_the_batch_size_of_its_step():
    assert [len(batch) for batch in labels_of()] == [5] * 4
    assert [len(batch) for batch in labels_of("finetuning")] == [4] * 5


@pytest.mark.parametrize("other", [{"step": 2}, {"seed": 2}, {"first_draw": 1}])
def test_other_steps_seeds_and_phases_have_another_order(other):
    assert labels_of() == labels_of()
    assert labels_of(**other) != labels_of()


def train_epochs(run_epoch, plan, held_alpha=lambda epoch: None, alpha=None, logs=()):
    """Runs the epochs of a phase through `run_epoch(epoch, rate, sums)`."""
    progress = PhaseProgress(None, plan, None, save_minutes=1)
    method = types.SimpleNamespace(held_alpha=held_alpha)
    config = types.SimpleNamespace(method=method, training=TRAINING)
    loop = types.SimpleNamespace(
        run_epoch=lambda epoch, rate, sums, after_update: run_epoch(epoch, rate, sums)
    )
    phases._train_epochs(
        types.SimpleNamespace(config=config),
        plan,
        loop,
        progress,
        types.SimpleNamespace(learned_alpha=alpha),
        logs,
    )


def test_alphas_of_all_epochs_are_numbered_on():
    """Each epoch moves alpha twice."""
    logged = []
    scalars = types.SimpleNamespace(log_alphas=lambda *args: logged.append(args))

    def run_epoch(epoch, rate, sums):
        sums.alphas += [epoch + 0.25, epoch + 0.5]
        return {}

    train_epochs(run_epoch, PhasePlan("main", 1, TRAINING), logs=[scalars])
    assert logged == [([0.25, 0.5], 0), ([1.25, 1.5], 2)]


def test_a_phase_has_the_rates_of_its_own_schedule():
    rates = []
    schedule = FinetuningConfig(3, 0.05, milestones=(1,))
    plan = PhasePlan("finetuning", 1, schedule)
    train_epochs(lambda epoch, rate, sums: rates.append(rate), plan)
    assert rates == pytest.approx([0.05, 0.005, 0.005])


def test_a_held_alpha_has_its_value_from_the_start_of_the_epoch():
    alpha, seen = types.SimpleNamespace(value=tf.Variable(1.0)), []
    train_epochs(
        lambda epoch, rate, sums: seen.append(float(alpha.value)),
        PhasePlan("main", 1, TRAINING),
        held_alpha=(0.5, 0.25).__getitem__,
        alpha=alpha,
    )
    assert seen == [0.5, 0.25]


def test_the_draws_of_a_phase_follow_those_of_the_one_before():
    assert labels_of(first_draw=3) == labels_of(epoch=3)
