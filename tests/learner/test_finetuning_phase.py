"""FinetuningPhase trains on its own terms, schedule and images."""

import dataclasses
import types

import numpy as np
import pytest

from bsce_keras.learner import finetuning_phase
from bsce_keras.learner.finetuning_phase import FinetuningPhase
from bsce_keras.learner.growth import new_classifier
from bsce_keras.learner.learner import Learner
from bsce_keras.learner.training_stats import TrainingStats
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.runtime.devices import Runtime

STATS = TrainingStats(160, [32] * 5, 1, 1.0, 160.0)


def test_finetuning_has_its_own_schedule_and_the_momentum_of_the_run(
    tiny_config, two_steps, monkeypatch
):
    """Its weight of classification is 1; in the main phase it is 1 / 6."""
    begun = []

    def train_phase(run, plan, trainer, pool):
        begun.append((plan.schedule, trainer, pool))
        return types.SimpleNamespace(seconds=1.0)

    monkeypatch.setattr(finetuning_phase, "train_phase", train_phase)
    config = tiny_config(
        method="il_baseline", balanced_finetuning="true", exemplars_per_class=3
    )
    training = dataclasses.replace(config.training, momentum=0.8)
    config = dataclasses.replace(config, training=training)
    learner = Learner(config, Runtime(), None)
    memory = ReplayMemory(config.memory, config.training.seed)
    for step in two_steps:
        learner.teacher = learner.classifier
        head = learner.method.training_head(step.num_old_classes, step.num_new_classes)
        learner.adopt(new_classifier(config, learner.method.variant, head))
        memory.update(step, learner.features)
    FinetuningPhase(learner).run(two_steps[1], memory, STATS)

    [(schedule, trainer, pool)] = begun
    assert schedule == training.finetuning
    assert trainer.optimizer.momentum == 0.8
    weights = {term.name: term.weight for term in trainer.terms}
    assert weights == {"classification": 1.0, "distillation": pytest.approx(5 / 6)}
    assert np.bincount(pool.labels).tolist() == [3] * 6
