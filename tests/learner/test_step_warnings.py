"""Warnings about steps that will not learn, or have not."""

import dataclasses
import types

import pytest

from bsce_keras import make_config
from bsce_keras.config.choices import ADOPTED
from bsce_keras.learner.step_warnings import (
    warn_of_chance,
    warn_of_few_updates,
    warn_of_no_oversampling,
    warn_of_one_class,
)


def line(num_classes, accuracy, new=0.5, old=0.5, num_old_classes=1):
    return {
        "step": 1,
        "num_classes": num_classes,
        "num_old_classes": num_old_classes,
        "accuracy": accuracy,
        "new_accuracy": new,
        "old_accuracy": old,
    }


CONFIG = make_config("digits")


@pytest.mark.parametrize(
    ("num_classes", "bad", "good"),
    [(2, 0.59, 0.61), (4, 0.39, 0.41), (6, 0.32, 0.34), (100, 0.019, 0.021)],
)
def test_accuracy_near_chance_is_told_in_one_line(num_classes, bad, good, caplog):
    warn_of_chance(line(num_classes, good), CONFIG)
    assert not caplog.messages
    warn_of_chance(line(num_classes, bad), CONFIG)
    (told,) = caplog.messages
    assert f"accuracy of {100 * bad:.2f} % is near the chance level of" in told
    assert "--min_updates" in told and "\n" not in told
    assert "--exemplars_per_class" in told


def test_classes_of_which_no_image_is_recognised_are_told(caplog):
    warn_of_chance(line(6, 0.6, new=0.0, old=None), CONFIG)
    warn_of_chance(line(6, 0.6, new=None, old=0.0), CONFIG)
    new, old = caplog.messages
    assert "not an image of new classes is recognised" in new
    assert "not an image of old classes is recognised" in old


def test_the_base_step_is_not_told_to_keep_images_of_old_classes(caplog):
    warn_of_chance(line(6, 0.2, new=0.2, old=None, num_old_classes=0), CONFIG)
    assert "near the chance level" in caplog.text
    assert "old classes" not in caplog.text


@pytest.mark.parametrize(
    ("method", "num_old_classes", "advice"),
    [
        (
            "il_baseline",
            0,
            "check the order of --initial_classes, or check the pixel values that the "
            "network expects (--backbone_input).",
        ),
        (
            "il_baseline",
            2,
            "train longer (--min_updates or --epochs), keep more images of old classes "
            "(--exemplars_per_class), or check the pixel values",
        ),
        ("imprint", 2, "To improve it, check the pixel values"),
    ],
)
def test_advice_on_a_classifier_of_the_user_names_only_what_has_an_effect(
    method, num_old_classes, advice, caplog
):
    """Its base step is not trained, `imprint` trains nothing and keeps no image."""
    config = make_config("digits", method=method)
    adopted = dataclasses.replace(config.model, backbone=ADOPTED)
    config = dataclasses.replace(config, model=adopted)
    warn_of_chance(line(6, 0.1, num_old_classes=num_old_classes), config)
    assert advice in caplog.text
    assert "pretrained" not in caplog.text


def test_steps_without_scores_or_choice_are_not_judged(caplog):
    warn_of_chance(line(6, None, new=None, old=None), CONFIG)
    warn_of_chance(line(1, 1.0, new=1.0, old=None), CONFIG)
    assert not caplog.messages


def step(num_old_classes, num_new_classes=1):
    return types.SimpleNamespace(
        index=1,
        num_old_classes=num_old_classes,
        num_classes=num_old_classes + num_new_classes,
    )


@pytest.mark.parametrize(
    ("epochs", "num_images", "updates"),
    [(1, 490, 49), (7, 61, 49), (1, 491, None), (10, 41, None)],
)
def test_fewer_than_50_updates_are_told(epochs, num_images, updates, caplog):
    """Batches have 10 images. The last one of an epoch may be smaller."""
    training = types.SimpleNamespace(epochs=epochs, batch_size=10)
    warn_of_few_updates(step(5), num_images, training)
    told = [line.split(" updates")[0] for line in caplog.messages]
    assert told == ([f"Step 1 has only {updates}"] if updates else [])


@pytest.mark.parametrize(
    ("sampling", "num_old_classes", "probabilities", "is_told"),
    [
        ("memory_oversampling", 5, None, True),
        ("memory_oversampling", 5, [0.5, 0.5], False),
        ("memory_oversampling", 0, None, False),
        ("uniform", 5, None, False),
    ],
)
def test_oversampling_that_changes_nothing_is_told(
    sampling, num_old_classes, probabilities, is_told, caplog
):
    warn_of_no_oversampling(step(num_old_classes), sampling, probabilities)
    assert bool(caplog.messages) == is_told


@pytest.mark.parametrize(
    ("loss", "counts", "is_told"),
    [
        ("softmax", (9,), True),
        ("softmax", (0, 9), False),
        ("balanced_softmax", (0, 9), True),
        ("balanced_softmax", (1, 9), False),
    ],
)
def test_a_loss_that_is_always_0_is_told(loss, counts, is_told, caplog):
    """A balanced softmax leaves out classes without images."""
    context = types.SimpleNamespace(classification_loss=loss, class_counts=counts)
    warn_of_one_class(step(len(counts) - 1), context)
    assert bool(caplog.messages) == is_told
    if is_told:
        advice = "keep exemplars of old classes"
        assert (advice in caplog.text) == (len(counts) > 1)
