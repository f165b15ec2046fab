"""Requirements of steps: refuses streams that lack images, before any training.

The number of training images of a step follows from the images of every class and the
`StepPlan`. Imports no TensorFlow.
"""

import numpy as np

from bsce_keras.runtime.errors import refuse
from bsce_keras.runtime.text import listed

# Smallest number of images from which a class can be learned usefully.
FEWEST_IMAGES_TO_LEARN = 5


def refuse_impossible_steps(config, stream, finished, num_replicas=1):
    """Refuses a stream if one of its steps cannot be trained.

    Args:
        config: `ExperimentConfig`.
        stream: its `ClassIncrementalStream`.
        finished: states of the finished steps. Their images may be missing, because
            later steps need only their exemplars.
        num_replicas: number of devices that share every batch.

    Raises:
        RequestError: with every problem found.
    """
    images = count_images(stream)
    if finished and not config.memory.use.replays_everything:
        held = finished[-1]["exemplars_per_class"]
        images[: len(held)] = held
    refuse(stream_problems(config, images, num_replicas, len(finished)))


def stream_problems(config, images_per_class, num_replicas=1, num_finished=0):
    """Returns `image_problems`, and those of an adopted base step."""
    problems = []
    if config.model.is_adopted and not num_finished:
        problems = _adoption_problems(config, images_per_class)
        num_finished = 1
    return problems + image_problems(
        config, images_per_class, num_replicas, num_finished
    )


def _adoption_problems(config, images_per_class):
    """Returns a sentence if needed images of adopted classes are missing."""
    base = config.plans[0]
    names = config.stream.arriving_class_names[: base.num_classes]
    without = [
        name
        for name, number in zip(names, images_per_class, strict=False)
        if number == 0
    ]
    if without and config.memory.use.needs_every_class:
        return [
            f"--method={config.method.name} solves its head from images of every "
            f"class, but classes of --initial_model have none: {listed(without)}. Add "
            "images of them, or use --method=imprint, which needs none."
        ]
    if not without or base.quota == 0:
        return []
    return [
        f"--method={config.method.name} keeps {base.quota} exemplars of every class, "
        f"but classes of --initial_model have no training images: {listed(without)}. "
        "Add images of them, or set --exemplars_per_class=0 with --method=imprint or "
        "lwf, which need none."
    ]


def small_class_warnings(config, images_per_class, num_finished=0):
    """Yields warnings about classes that have few images or exemplars.

    Args:
        config: `ExperimentConfig`.
        images_per_class: number of training images of every class, in arrival order.
        num_finished: number of finished steps, whose classes are not named again.
    """
    names = config.stream.arriving_class_names
    images = dict(zip(names, images_per_class, strict=True))
    few, below_quota = [], []
    for plan in config.plans[num_finished:]:
        is_adopted = config.model.is_adopted and plan.index == 0
        for name in names[plan.num_old_classes : plan.num_classes]:
            # An adopted classifier knows its classes and may lack their images.
            if images[name] < FEWEST_IMAGES_TO_LEARN and not is_adopted:
                few.append(name)
            if images[name] < plan.quota and not (is_adopted and images[name] == 0):
                below_quota.append(name)
    if few:
        yield (
            f"Fewer than {FEWEST_IMAGES_TO_LEARN} training images are too few to learn "
            f"a class from: {_numbers(images, few)}. Add images."
        )
    if below_quota:
        yield (
            "Classes with fewer training images than their quota of exemplars keep all "
            f"of them: {_numbers(images, below_quota)}."
        )
    budget = config.memory.memory_budget
    emptied = [plan for plan in config.plans[num_finished:] if plan.quota == 0]
    if budget and emptied:
        yield (
            f"--memory_budget={budget} has less than one exemplar for each of the "
            f"{emptied[0].num_classes} classes of step {emptied[0].index}. From then "
            "on, no exemplar is kept of any class. Raise it."
        )


def count_images(stream):
    """Returns the number of training images of every class, in arrival order."""
    labels = np.concatenate([step.examples.labels for step in stream.steps])
    return np.bincount(labels, minlength=stream.config.num_classes).tolist()


def image_problems(config, images_per_class, num_replicas=1, num_finished=0):
    """Returns a sentence for every requirement that a step does not meet.

    Args:
        config: `ExperimentConfig`.
        images_per_class: number of training images of every class, in arrival order.
            For classes of finished steps, the number of exemplars.
        num_replicas: number of devices that share every batch.
        num_finished: number of finished steps, which are not checked.
    """
    plans = config.plans[num_finished:]
    names = config.stream.arriving_class_names
    first = plans[0].num_old_classes if plans else len(images_per_class)
    if plans and plans[0].replays_everything:
        first = 0
    empty = [
        name
        for name, number in zip(names[first:], images_per_class[first:], strict=True)
        if number == 0
    ]
    if empty:
        return [
            "Every class of an unfinished step needs a training image. Classes "
            f"without one: {listed(empty)}. Add or restore images, or end the stream "
            "before these classes by --class_order, --num_base_classes and "
            "--num_increments."
        ]
    images = dict(zip(names, images_per_class, strict=True))
    return [
        *_aside_problems(config.method.name, plans, images),
        *_alpha_problems(plans, images),
        *_replica_problems(plans, images, num_replicas),
    ]


def _aside_problems(method, plans, images):
    names = list(images)
    for plan in plans:
        arriving = names[plan.num_old_classes : plan.num_classes]
        small = [name for name in arriving if images[name] <= plan.num_set_aside]
        if plan.num_set_aside and small:
            yield (
                f"At step {plan.index} {method} sets {plan.num_set_aside} images of "
                "every new class aside, by which it corrects its head. That is a tenth "
                "of the exemplars of a class, at least 1. It needs one more to train "
                f"on. Received: {_numbers(images, small)}. Add images, or use another "
                "--method."
            )


def _alpha_problems(plans, images):
    """Names each class once, because no later step takes more of its images."""
    names, first = list(images), 0
    for plan in plans:
        if not plan.num_alpha_split:
            continue
        arriving = names[first : plan.num_classes]
        first = plan.num_classes
        small = [name for name in arriving if images[name] <= plan.num_alpha_split]
        if small:
            yield (
                f"At step {plan.index} the alpha split of meta_balanced_softmax takes "
                f"{plan.num_alpha_split} images of every class. That is a tenth of the "
                "exemplars of a class, at least 1. Every class needs one more to train "
                f"on. Received: {_numbers(images, small)}. Add images, or use "
                "--classification_loss=balanced_softmax."
            )


def _replica_problems(plans, images, num_replicas):
    images_per_class = np.array(list(images.values()))
    for plan in plans:
        fewest = min(plan.pool_sizes(images_per_class).values())
        if fewest < num_replicas:
            yield (
                f"Step {plan.index} has a pool of {fewest} images for {num_replicas} "
                "replicas, but each needs one. Train on fewer devices, or add images."
            )


def _numbers(images, names):
    return listed(f"{name} with {images[name]}" for name in names)
