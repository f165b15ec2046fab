"""Warnings about step settings that are valid but probably unintended."""

import logging

import numpy as np

from bsce_keras.config.classification_losses import loss_facts
from bsce_keras.methods.recipes import trained_steps
from bsce_keras.runtime.text import counted, did_you_mean, percent

_log = logging.getLogger(__name__)

# Fewer updates per step hardly change a network.
_FEW_UPDATES = 50
# Share of the way from the chance level to 1 below which an accuracy is near chance.
_NEAR_CHANCE = 0.2


def warn_of_few_updates(step, num_images, training):
    """Warns about a step with too few updates to learn from.

    Args:
        step: the `Step`.
        num_images: size of its pool.
        training: `TrainingConfig`.
    """
    num_updates = training.epochs * -(-num_images // training.batch_size)
    if num_updates < _FEW_UPDATES:
        _log.warning(
            "Step %d has only %s. Lower --batch_size, or raise --epochs or "
            "--min_updates.",
            step.index,
            counted(num_updates, "update"),
        )


def warn_of_misspelt_classes(step, class_counts, later_names):
    """Warns about classes of a classifier that its folder seems to name otherwise.

    Photos of these classes are optional. Those of a misspelt one would be learned as a
    new class.

    Args:
        step: the base `Step`.
        class_counts: its training images per class.
        later_names: names of the classes of later steps.
    """
    for name, count in zip(step.class_names, class_counts, strict=True):
        # Comparing all names of many classes would take long.
        question = "" if count else did_you_mean(name, later_names)
        if question:
            _log.warning(
                "--initial_classes: class %s has no training images.%s Images of a "
                "class that is not in the list are learned as a new class.",
                name,
                question,
            )


def warn_of_no_oversampling(step, sampling, probabilities):
    """Warns about a requested sampling that has no effect.

    Args:
        step: the `Step`.
        sampling: one of `REPLAY_SAMPLINGS`, or a method's own.
        probabilities: result of `draw_probabilities`.
    """
    if sampling != "uniform" and step.num_old_classes and probabilities is None:
        _log.warning(
            "Step %d: --replay_sampling=%s has no effect, because the memory is empty "
            "or exemplars are not fewer than new images.",
            step.index,
            sampling,
        )


def warn_of_one_class(step, context):
    """Warns about a classification loss that is always 0.

    Args:
        step: the `Step`.
        context: its `StepContext`.
    """
    num_choices = step.num_classes
    if loss_facts(context.classification_loss).drops_absent_classes:
        num_choices = np.count_nonzero(context.class_counts)
    if num_choices == 1:
        _log.warning(
            "Step %d: the classification loss has only one class to choose from. It is "
            "always 0 and trains nothing. Give the step more classes%s.",
            step.index,
            ", or keep exemplars of old classes" if step.num_old_classes else "",
        )


def warn_of_chance(line, config):
    """Warns about a step after which the classifier hardly knows its classes.

    Its accuracy counts as near the chance level c of equally likely classes below 2 c
    and below c + (1 - c) / 5. The second bound is the lower one for 2 to 5 classes.

    Args:
        line: the step as in steps.jsonl, a dictionary.
        config: `ExperimentConfig` of the run.
    """
    faults = []
    chance, accuracy = 1 / line["num_classes"], line["accuracy"]
    bound = min(2 * chance, chance + _NEAR_CHANCE * (1 - chance))
    if accuracy is not None and chance < 1 and accuracy < bound:
        faults.append(
            f"the accuracy of {percent(accuracy)} % is near the chance level of "
            f"{percent(chance)} %"
        )
    faults += [
        f"not an image of {group} classes is recognised"
        for group in ("new", "old")
        if line[f"{group}_accuracy"] == 0
    ]
    if faults:
        _log.warning(
            "Step %d: %s. To improve it, %s.",
            line["step"],
            ", and ".join(faults),
            _either(_improvements(config, is_base=not line["num_old_classes"])),
        )


def _improvements(config, is_base):
    """Returns the ways to a better accuracy that have an effect in a run."""
    trains_base, trains_increments = trained_steps(config)
    ways = []
    if trains_base if is_base else trains_increments:
        ways.append("train longer (--min_updates or --epochs)")
    if not is_base and config.memory.use.has_exemplars:
        ways.append("keep more images of old classes (--exemplars_per_class)")
    if is_base and config.model.is_adopted:
        ways.append("check the order of --initial_classes")
    if config.model.is_pretrained:
        ways.append(
            "check the pixel values that the network expects (--backbone_input)"
        )
    else:
        ways.append("start from a pretrained --backbone")
    return ways


def _either(ways):
    start = f"{', '.join(ways[:-1])}, or " if len(ways) > 1 else ""
    return start + ways[-1]
