"""Frozen backbones: only heads are trained, on features computed once a step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras import make_config
from bsce_keras.config import ImageSpec
from bsce_keras.data.examples import Examples
from bsce_keras.data.pipeline import TrainingInput
from bsce_keras.learner.learner import Learner
from bsce_keras.learner.trained_part import HeadOnly
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.methods import METHODS
from bsce_keras.methods.recipes import published
from bsce_keras.models.classifier import backbone_of, head_of
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.devices import Runtime
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.signals import Stopped


@pytest.fixture
def network(tmp_path):
    """Path of a backbone whose batch normalisation would move if it were trained."""
    path = tmp_path / "net.keras"
    keras.utils.set_random_seed(3)
    keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(6, 3),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.5),
            keras.layers.GlobalAveragePooling2D(),
        ]
    ).save(path)
    return str(path)


def learned(config, steps, stop_requests=None):
    runtime = Runtime(tf.distribute.get_strategy(), stop_requests)
    learner = Learner(config, runtime, Checkpoints(config.run_dir))
    memory = ReplayMemory(config.memory, config.training.seed)
    for step in steps:
        learner.learn(step, memory)
    return learner


FREEZABLE = [name for name in METHODS if not published(name).trains_backbone]


def test_frozen_backbone_stays_as_it_came_through_all_phases(
    network, tiny_config, two_steps
):
    config = tiny_config(
        backbone=network,
        freeze_backbone=True,
        classification_loss="meta_balanced_softmax",
        exemplars_per_class=10,
        balanced_finetuning="true",
    )
    learner = learned(config, two_steps)
    saved = keras.saving.load_model(network).get_weights()
    for value, expected in zip(
        backbone_of(learner.classifier).get_weights(), saved, strict=True
    ):
        np.testing.assert_array_equal(value, expected)


def test_bytes_of_a_teacher_of_a_frozen_backbone_are_those_of_its_head(
    network, tiny_config, two_steps
):
    config = tiny_config(backbone=network, freeze_backbone=True)
    learner = learned(config, two_steps[:1])
    memory = ReplayMemory(config.memory, config.training.seed)
    # float32: 6 features and a bias for each of 5 classes.
    assert learner.memory_bytes(two_steps[0], memory)["teacher"] == 4 * 7 * 5


def test_head_on_computed_features_equals_a_head_behind_the_backbone(
    network, tiny_config, two_steps
):
    """The update is that of plain SGD on features in inference mode."""
    request = {"backbone": network, "freeze_backbone": True, "method": "finetune"}
    config = tiny_config(**request, batch_size=160, weight_decay=0.0)
    step = two_steps[0]
    start = learned(tiny_config(**request, learning_rate=1e-30), [step])
    learner = learned(config, [step])
    kernel, bias = (w.numpy() for w in head_of(start.classifier).class_weights)
    features = start.features(step.examples.images)
    logits = features @ kernel + bias
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    errors = chances - np.eye(5)[step.examples.labels]
    expected = kernel - 0.01 * features.T @ errors / len(features)
    np.testing.assert_allclose(
        head_of(learner.classifier).kernel.numpy(), expected, atol=1e-6
    )


@pytest.mark.parametrize("flips", [False, True])
def test_updates_draw_an_image_or_its_mirror_image(flips):
    """The classifier's features are the pixels of the centre."""
    image = ImageSpec(2, 2, channels=1, flip=flips, training_crop="centre")
    pixels = np.arange(40 * 4, dtype=np.uint8).reshape(40, 2, 2, 1)
    pool = Examples(pixels, np.arange(40), np.arange(40))
    inputs = keras.Input((2, 2, 1))
    features = keras.layers.Flatten()(inputs)
    classifier = keras.Model(inputs, {"features": features, "logits": features})
    part = HeadOnly(Runtime(tf.distribute.get_strategy()), image)
    seen = part.inputs(classifier, pool, "step 0/1")
    views = [pixels, pixels[:, :, ::-1]] if flips else [pixels]
    expected = np.stack([view.reshape(40, 4) for view in views], axis=1)
    np.testing.assert_array_equal(seen.images, expected)
    epoch = TrainingInput(seen, image, 40, seed=1, step=0).epoch(0)
    [(rows, labels)] = epoch.as_numpy_iterator()
    drawn = [
        next(i for i, view in enumerate(expected[label]) if np.array_equal(view, row))
        for row, label in zip(rows, labels, strict=True)
    ]
    assert sorted(labels) == [*range(40)]
    # Half of 40 views with a deviation of 3.
    assert sum(drawn) == (pytest.approx(20, abs=15) if flips else 0)


def test_stop_request_is_answered_while_features_are_computed(
    network, tiny_config, two_steps, stop_after
):
    config = tiny_config(backbone=network, freeze_backbone=True)
    with pytest.raises(Stopped, match="step 0/5, while its features were computed"):
        learned(config, two_steps, stop_after(1))


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, "those of this package are random"),
        ({"method": "tpcil"}, "its topology term moves the features of exemplars"),
    ],
)
def test_freezing_without_use_is_refused(request_, expected, network):
    backbone = {"backbone": network} if request_ else {}
    with pytest.raises(RequestError, match=expected):
        make_config("digits", freeze_backbone=True, **backbone, **request_)


@pytest.mark.slow
@pytest.mark.parametrize("method", FREEZABLE)
def test_every_other_method_trains_heads_on_a_frozen_backbone(
    method, network, tiny_config, two_steps
):
    config = tiny_config(
        backbone=network,
        freeze_backbone=True,
        method=method,
        classification_loss="softmax" if method == "ss_il" else "default",
    )
    learner = learned(config, two_steps)
    assert learner.logits(two_steps[1].examples.images).shape[1] == 6
