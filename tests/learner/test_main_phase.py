"""MainPhase: schedule of a step, and facts that it records."""

import types

import pytest

from bsce_keras.learner import main_phase
from bsce_keras.learner.learner import Learner
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.devices import Runtime


@pytest.fixture
def begun(monkeypatch):
    """`PhasePlan` of every step; `train_phase` does not train here."""
    plans = []

    def train_phase(run, phase, *_):
        plans.append(phase)
        return types.SimpleNamespace(seconds=1.0, alphas=[], history=[{"loss": 1.0}])

    monkeypatch.setattr(main_phase, "train_phase", train_phase)
    return plans


def test_the_least_number_of_updates_counts_those_on_exemplars(
    tiny_config, two_steps, begun
):
    """160 images are 10 batches; 130 with 5 * 20 exemplars are 15."""
    config = tiny_config(
        method="finetune", min_updates=36, epochs=2, exemplars_per_class=20
    )
    learner = Learner(config, Runtime(), Checkpoints(config.run_dir))
    memory = ReplayMemory(config.memory, config.training.seed)
    stats = [learner.learn(step, memory) for step in two_steps]
    assert [plan.schedule.epochs for plan in begun] == [4, 3]
    assert [one.epochs for one in stats] == [4, 3]
    assert [one.images_per_second for one in stats] == [4 * 160, 3 * 230]
