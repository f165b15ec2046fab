"""Warnings about steps that will not learn, or have not."""

import pytest

from bsce_keras.learner.step_warnings import warn_of_chance


def line(num_classes, accuracy, new=0.5, old=0.5, num_old_classes=1):
    return {
        "step": 1,
        "num_classes": num_classes,
        "num_old_classes": num_old_classes,
        "accuracy": accuracy,
        "new_accuracy": new,
        "old_accuracy": old,
    }


@pytest.mark.parametrize(
    ("num_classes", "bad", "good"),
    [(2, 0.59, 0.61), (4, 0.39, 0.41), (6, 0.32, 0.34), (100, 0.019, 0.021)],
)
def test_accuracy_near_chance_is_told_in_one_line(num_classes, bad, good, caplog):
    warn_of_chance(line(num_classes, good))
    assert not caplog.messages
    warn_of_chance(line(num_classes, bad))
    (told,) = caplog.messages
    assert f"accuracy of {100 * bad:.2f} % is near the chance level of" in told
    assert "--min_updates" in told and "\n" not in told


def test_classes_of_which_no_image_is_recognised_are_told(caplog):
    warn_of_chance(line(6, 0.6, new=0.0, old=None))
    warn_of_chance(line(6, 0.6, new=None, old=0.0))
    new, old = caplog.messages
    assert "not an image of new classes is recognised" in new
    assert "not an image of old classes is recognised" in old


def test_the_base_step_is_not_told_to_keep_images_of_old_classes(caplog):
    warn_of_chance(line(6, 0.2, new=0.2, old=None, num_old_classes=0))
    assert "near the chance level" in caplog.text
    assert "old classes" not in caplog.text


def test_steps_without_scores_or_choice_are_not_judged(caplog):
    warn_of_chance(line(6, None, new=None, old=None))
    warn_of_chance(line(1, 1.0, new=1.0, old=None))
    assert not caplog.messages
