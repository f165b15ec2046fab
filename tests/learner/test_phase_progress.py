"""PhaseProgress: what a save holds, and when the next one is due."""

import os
import types

import keras
import numpy as np
import pytest

from bsce_keras.learner import phase_progress
from bsce_keras.learner.learned_alpha import LearnedAlpha
from bsce_keras.learner.phase_progress import EpochSums, PhaseProgress
from bsce_keras.learner.phases import PhasePlan
from bsce_keras.optimizers import CoupledSGD
from bsce_keras.records.checkpoints import Checkpoints


@pytest.fixture
def clock(monkeypatch):
    """Seconds that have passed, to be set by the test."""
    now = [1000.0]
    monkeypatch.setattr(phase_progress.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def begin(tmp_path):
    """Function to the progress of a process whose variables have a value."""

    def begin(value=0.0):
        student = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        optimizer = CoupledSGD(0.1, momentum=0.9)
        optimizer.build(student.trainable_variables)
        alpha = LearnedAlpha(1.0)
        trainer = types.SimpleNamespace(
            student=student, optimizer=optimizer, learned_alpha=alpha
        )
        for variable in variables_of(trainer):
            variable.assign(np.full(variable.shape, value))
        plan = PhasePlan("main", 1, schedule=None)
        return PhaseProgress(Checkpoints(tmp_path), plan, trainer, 2), trainer

    return begin


def variables_of(trainer):
    learned = trainer.learned_alpha.variables
    return [*trainer.student.variables, *trainer.optimizer.variables, *learned]


def test_a_new_process_goes_on_from_all_that_was_saved(begin, clock, tmp_path):
    progress, _ = begin(3.0)
    assert not progress.restore()
    for logs in ({"loss": 1.0}, {"loss": 2.0, "alpha": 0.5, "alpha_gradient": 0.25}):
        progress.sums.add(logs)
    progress.finish_epoch(progress.sums.means())
    progress.sums.add({"loss": 3.0, "alpha": 0.25, "alpha_gradient": 0.5})
    progress.finish_epoch(progress.sums.means())
    progress.sums.add({"loss": 8.0})
    clock[0] += 70
    progress.save()
    names = os.listdir(tmp_path / "checkpoints")
    assert "step_01_main_epoch_0002_update_000001.npz" in names

    clock[0] += 1000
    again, trainer = begin()
    assert again.restore()
    clock[0] += 30
    assert again.seconds == 100
    assert (again.epoch, again.alphas) == (2, [0.5, 0.25])
    assert again.history == [{"loss": 1.5}, {"loss": 3.0}]
    again.sums.add({"loss": 4.0})
    assert again.sums.means() == {"loss": 6.0}
    assert all(np.all(value.numpy() == 3) for value in variables_of(trainer))


def test_a_save_is_due_when_its_minutes_have_passed_since_the_last(begin, clock):
    progress, _ = begin()
    due = []
    for seconds in (119, 1):
        clock[0] += seconds
        due.append(progress.is_due)
    progress.save()
    due.append(progress.is_due)
    clock[0] += 119
    due.append(progress.is_due)
    assert due == [False, True, False, False]


def test_gradients_of_alpha_have_mean_and_population_deviation():
    sums = EpochSums()
    for slope in (1.0, 3.0):
        sums.add({"loss": 0.0, "alpha": slope / 4, "alpha_gradient": slope})
    sums.add({"loss": 3.0})
    assert sums.alpha_means() == {
        "alpha": 0.75,
        "alpha_updates": 2,
        "alpha_gradient_mean": 2.0,
        "alpha_gradient_std": 1.0,
    }
    assert sums.means() == {"loss": 1.0}
