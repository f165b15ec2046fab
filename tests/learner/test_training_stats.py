"""TrainingStats: numbers of a step as its record has them."""

import types

import numpy as np
import pytest

from bsce_keras.config import MethodConfig
from bsce_keras.learner.learned_alpha import LearnedAlpha
from bsce_keras.learner.training_stats import one_pass, training_stats
from bsce_keras.methods.base import StepContext
from bsce_keras.methods.parameters import NoParameters

LOSSES = {"loss": 1.23456789, "classification": 0.5}
HISTORY = [
    {
        **LOSSES,
        "train_accuracy": 0.75,
        "alpha": 0.9,
        "alpha_updates": 2,
        "alpha_gradient_mean": 0.25,
        "alpha_gradient_std": 0.125,
        "learning_rate": 0.1,
    },
    {**LOSSES, "train_accuracy": 1.0, "learning_rate": 0.01},
]


def stats_of(loss, num_old=2, learned=None):
    """Returns the stats of 2 epochs of 30 images in 4 seconds."""
    progress = types.SimpleNamespace(seconds=4.0, alphas=[1.1, 0.9], history=HISTORY)
    context = StepContext(num_old, 3 - num_old, (5, 5, 20), loss, alpha=0.5)
    training = types.SimpleNamespace(epochs=2)
    return training_stats(training, context, learned, 30, progress)


def test_losses_and_learned_alpha_are_listed_by_epoch():
    learned = LearnedAlpha(1.0, start=0.9)
    learned.num_clips.assign(3)
    stats = stats_of("meta_balanced_softmax", learned=learned)
    assert stats.loss_by_epoch == {
        "loss": [1.23457, 1.23457],
        "classification": [0.5, 0.5],
    }
    assert stats.alpha_by_epoch == {
        "alpha_updates": [2, 0],
        "alpha": [0.9, None],
        "alpha_gradient_mean": [0.25, None],
        "alpha_gradient_std": [0.125, None],
    }
    assert stats.alpha == pytest.approx(0.9)
    assert (stats.alphas, stats.alpha_clips) == ([1.1, 0.9], 3)
    assert (stats.train_images, stats.class_counts) == (30, [5, 5, 20])
    assert (stats.epochs, stats.train_seconds) == (2, 4.0)
    assert stats.images_per_second == 15


@pytest.mark.parametrize(
    ("loss", "num_old", "alpha"),
    [("balanced_softmax", 2, 0.5), ("balanced_softmax", 0, None), ("softmax", 2, None)],
)
def test_only_increments_of_losses_with_alpha_have_one(loss, num_old, alpha):
    stats = stats_of(loss, num_old)
    assert stats.alpha == alpha
    assert stats.alpha_by_epoch is None
    step = types.SimpleNamespace(
        num_old_classes=num_old,
        num_classes=4,
        examples=types.SimpleNamespace(labels=np.array([2, 2, 1])),
    )
    solved = one_pass(step, MethodConfig("acil", loss, NoParameters(), alpha=0.5), 2.0)
    assert solved.alpha == alpha
    assert solved.class_counts == [0, 1, 2, 0]
    assert (solved.train_images, solved.images_per_second) == (3, 1.5)


def test_imprinted_classes_have_no_alpha():
    step = types.SimpleNamespace(
        num_old_classes=1,
        num_classes=2,
        examples=types.SimpleNamespace(labels=np.array([1])),
    )
    method = MethodConfig("imprint", "balanced_softmax", NoParameters())
    assert one_pass(step, method, 1.0).alpha is None
