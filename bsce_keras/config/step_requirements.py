"""Whether every step has the images it needs, told before the first one is trained.

What a step trains on follows from the number of images of every class and from the
quotas of the memory. Imports no TensorFlow.
"""

import itertools

import numpy as np

from bsce_keras.config import num_set_aside
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import listed


def refuse_impossible_steps(config, stream, finished, num_replicas=1):
    """Refuses a stream of which some step could not be trained when its turn comes.

    Args:
        config: `ExperimentConfig`.
        stream: its `ClassIncrementalStream`.
        finished: states of the finished steps. Their images may be gone, for what
            later steps need of them are the exemplars.
        num_replicas: devices that share every batch.

    Raises:
        RequestError: with every problem found.
    """
    labels = np.concatenate([step.examples.labels for step in stream.steps])
    images = np.bincount(labels, minlength=config.stream.num_classes).tolist()
    if finished and not config.memory.use.replays_everything:
        held = finished[-1]["exemplars_per_class"]
        images[: len(held)] = held
    problems = image_problems(config, images, num_replicas, len(finished))
    if problems:
        raise RequestError(problems)


def image_problems(config, images_per_class, num_replicas=1, num_finished=0):
    """What the steps of a run lack, as sentences.

    Args:
        config: `ExperimentConfig`.
        images_per_class: training images of every class, in arrival order; of classes
            of finished steps the exemplars.
        num_replicas: devices that share every batch.
        num_finished: steps that are finished and lack nothing.
    """
    steps = list(enumerate(_ranges(config.stream)))[num_finished:]
    first = steps[0][1][0] if steps else len(images_per_class)
    if steps and config.memory.use.replays_everything:
        first = 0
    names = config.stream.arriving_class_names[first:]
    empty = [
        name
        for name, number in zip(names, images_per_class[first:], strict=True)
        if number == 0
    ]
    if empty:
        return [
            "Every class of a step that is yet to be trained needs a training image. "
            f"Received none of: {listed(empty)}. Add or restore images, or end the "
            "stream before these classes: --class_order, --num_base_classes and "
            "--num_increments."
        ]
    return [
        *_aside_problems(config, steps, images_per_class),
        *_meta_problems(config, steps, images_per_class),
        *_replica_problems(config, steps, images_per_class, num_replicas),
    ]


def _aside_problems(config, steps, images_per_class):
    for step, (num_old, num_classes) in steps:
        aside = config.memory.num_aside(num_classes)
        arriving = range(num_old, num_classes)
        small = [label for label in arriving if images_per_class[label] <= aside]
        if aside and small:
            yield (
                f"At step {step} {config.method.name} sets {aside} of the images of "
                "every new class aside to correct its head by (a tenth of the "
                "exemplars a class, at least 1), and needs one more to train on. "
                f"Received: {_numbers(config, images_per_class, small)}. Add images, "
                "or use another --method."
            )


def _numbers(config, images_per_class, labels):
    names = config.stream.arriving_class_names
    return ", ".join(f"{names[i]} with {images_per_class[i]}" for i in labels)


def _meta_problems(config, steps, images_per_class):
    """Each class is told of once: no later step sets more images of it aside."""
    first = 0
    for step, (num_old, num_classes) in steps:
        if not (num_old and config.method.learns_alpha):
            continue
        aside = num_set_aside(config.memory.quota(num_old))
        arriving = range(first, num_classes)
        first = num_classes
        small = [label for label in arriving if images_per_class[label] <= aside]
        if small:
            yield (
                f"At step {step} meta_balanced_softmax sets {aside} of the images of "
                "every class aside to validate alpha (a tenth of the exemplars a "
                "class, at least 1), and needs one more to train on. Received: "
                f"{_numbers(config, images_per_class, small)}. Add images, or use "
                "--classification_loss=balanced_softmax."
            )


def _replica_problems(config, steps, images_per_class, num_replicas):
    for step, (num_old, num_classes) in steps:
        fewest = min(_pool_sizes(config, images_per_class, num_old, num_classes))
        if fewest < num_replicas:
            yield (
                f"Step {step} has a pool of {fewest} images for {num_replicas} "
                "replicas, and each needs one. Train on fewer devices, or add images."
            )


def _pool_sizes(config, images_per_class, num_old, num_classes):
    """Images that each phase of a step draws its batches from."""
    memory = config.memory
    num_new = num_classes - num_old
    new = sum(images_per_class[num_old:num_classes])
    new -= num_new * memory.num_aside(num_classes)
    if not num_old:
        yield new
        return
    quota = memory.quota(num_old)
    if memory.use.replays_everything:
        yield new + sum(images_per_class[:num_old])
        return
    held = _num_held(images_per_class[:num_old], quota)
    pool = new + held - num_old * memory.num_aside(num_old)
    aside = 0
    if config.method.learns_alpha:
        aside = num_classes * num_set_aside(quota)
        yield aside
    yield pool - aside
    if config.training.finetuning:
        quota = config.memory.quota(num_classes)
        yield _num_held(images_per_class[:num_classes], quota)


def _num_held(images_per_class, quota):
    """Exemplars that the memory holds of these classes."""
    return sum(min(images, quota) for images in images_per_class)


def _ranges(stream):
    """Of every step the numbers of classes before and after it."""
    sizes = [stream.num_base_classes, *stream.increments]
    return itertools.pairwise(itertools.accumulate(sizes, initial=0))
