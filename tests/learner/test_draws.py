"""Random draws differ between seeds and between steps."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.learner import growth
from bsce_keras.learner.analytic_phase import AnalyticPhase
from bsce_keras.learner.exemplar_pixels import _halves, _queries
from bsce_keras.learner.growth import grown_student
from bsce_keras.learner.learner import Learner
from bsce_keras.learner.main_phase import MainPhase
from bsce_keras.learner.phases import Run
from bsce_keras.models.classifier import head_of
from bsce_keras.runtime.devices import Runtime


def start_of_weights(config, step):
    """Returns the first random number of a step."""
    learner = Learner(config, Runtime(tf.distribute.get_strategy()), None)
    learner._phases = []
    learner.learn(step, None)
    return np.random.random()


def alpha_split(config, step):
    learner = types.SimpleNamespace(config=config, plans=config.plans)
    return MainPhase(learner)._pools(step, None)[1].ids.tolist()


def anchors(config, step):
    learner = types.SimpleNamespace(
        config=config,
        method=types.SimpleNamespace(num_anchor_edges=4),
        features=lambda images: np.arange(len(images), dtype=np.float32)[:, None],
    )
    edges = [(place, place + 1) for place in range(50)]
    drawn = MainPhase(learner)._anchors(step, step.examples, edges).draw(0)
    return drawn.features.numpy().tolist()


def seed_of_imprinting(config, step):
    """PODNet clusters the features of new classes by this seed."""
    seeds = []
    method = types.SimpleNamespace(
        variant="",
        starts_afresh=False,
        training_head=lambda old, new: None,
        imprint=lambda head, features, seed: seeds.append(seed),
    )
    learner = types.SimpleNamespace(config=config, method=method, classifier="old")
    grown_student(learner, step, step.examples)
    return seeds


def halves_of_exemplars(config, step):
    labels = np.repeat(np.arange(5), 8)
    first, _ = _halves(labels, labels < 5, config.training.seed, step.index)
    return first.tolist()


def queries_of_exemplars(config, step):
    run = Run(config, Runtime(tf.distribute.get_strategy()), None)
    images, _ = next(_queries(run, step, 0, step.examples))
    return images.numpy().tolist()


@pytest.mark.parametrize(
    "draw",
    [
        start_of_weights,
        alpha_split,
        anchors,
        seed_of_imprinting,
        halves_of_exemplars,
        queries_of_exemplars,
    ],
)
def test_other_seeds_and_steps_have_other_draws(
    draw, tiny_config, two_steps, monkeypatch
):
    for name in ("new_classifier", "grow_classifier", "head_of"):
        monkeypatch.setattr(growth, name, lambda *_: None)
    first, second = (
        tiny_config(classification_loss="meta_balanced_softmax", seed=seed)
        for seed in (1, 2)
    )
    step = two_steps[1]
    later = dataclasses.replace(step, index=2)
    assert draw(first, step) == draw(first, step)
    assert draw(first, step) != draw(second, step)
    assert draw(first, step) != draw(first, later)


def test_an_expansion_is_uniform_around_0_and_follows_the_seed(tiny_config, two_steps):
    drawn = []
    for seed in (1, 1, 2):
        config = tiny_config(method="acil", expansion_size=160, seed=seed)
        learner = Learner(config, Runtime(tf.distribute.get_strategy()), None)
        classifier = AnalyticPhase(learner)._grown(two_steps[0])
        drawn.append(np.asarray(head_of(classifier).expansion))
    bound = len(drawn[0]) ** -0.5
    assert -bound <= drawn[0].min() < -0.99 * bound
    assert 0.99 * bound < drawn[0].max() <= bound
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.all(drawn[0] != drawn[2])
