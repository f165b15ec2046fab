"""Optimising the memory: which exemplars are made better for which images."""

import contextlib
import dataclasses
import itertools
import math

import numpy as np

from bsce_keras.data.pipeline import TrainingInput
from bsce_keras.learner.pixels import PixelOptimizer
from bsce_keras.runtime.randomness import Purpose, generator, integer
from bsce_keras.runtime.signals import Stopped


def optimized_exemplars(run, step, exemplars, features_of, objective):
    """Images of the memory's exemplars, changed so that a head learns more from them.

    Those of the step's classes come first, with the step's images as queries. Old
    images are not at hand: the exemplars of every old class are cut into two halves at
    random, and the first halves are optimised with the second ones as queries, then the
    other way round. A class of one exemplar keeps it as it is.

    Classes are dealt out to groups at random. Each group is optimised by itself with
    its share of the updates, against queries of all classes that there are. Queries are
    drawn and cropped as in training. All draws are keyed by (seed, step): what was
    interrupted is repeated from the end of the main phase. One device does the work,
    with the first replica's weights, and holds the activations of a group's exemplars.

    Args:
        run: the `Run`.
        step: the `Step` whose main phase is finished.
        exemplars: the memory's `Examples`, those of the step chosen.
        features_of, objective: see `PixelOptimizer`.

    Returns:
        uint8 images in the order of the exemplars.

    Raises:
        DivergedError: see `PixelOptimizer.optimized`.
        Stopped: on request.
    """
    training = run.config.training
    labels, images = exemplars.labels, exemplars.images.copy()
    is_new = labels >= step.num_old_classes
    first, second = _halves(labels, ~is_new, training.seed, step.index)
    num_updates = objective.passes * -(-len(step.examples) // training.batch_size)
    num_old_updates = math.ceil(objective.old_share * num_updates)
    with contextlib.closing(
        PixelOptimizer(features_of, objective, run.config.stream.image)
    ) as optimizer:
        for part, (chosen, asked, updates) in enumerate(
            [
                (np.flatnonzero(is_new), None, num_updates),
                (first, second, num_old_updates),
                (second, first, num_old_updates),
            ]
        ):
            pool = step.examples
            if asked is not None:
                # By now the first halves are what they were optimised to.
                pool = dataclasses.replace(exemplars, images=images).select(asked)
            rng = generator(training.seed, Purpose.EXEMPLAR_GROUPS, step.index, part)
            groups = _groups(labels[chosen], objective.classes_at_once, rng)
            queries = _queries(run, step, part, pool) if groups else None
            for group in groups:
                rows = chosen[np.isin(labels[chosen], group)]
                images[rows] = optimizer.optimized(
                    images[rows],
                    labels[rows],
                    itertools.islice(queries, math.ceil(updates / len(groups))),
                )
    return images


def _halves(labels, is_old, seed, step):
    """Places of the first and of the second half of every old class's exemplars."""
    halves = [[], []]
    for label in np.unique(labels[is_old]):
        rng = generator(seed, Purpose.EXEMPLAR_HALVES, step, int(label))
        places = rng.permutation(np.flatnonzero(labels == label))
        if len(places) > 1:
            for half, part in zip(halves, np.array_split(places, 2), strict=True):
                half.extend(part)
    return [np.array(half, np.int64) for half in halves]


def _groups(labels, most, rng):
    """The classes in random order, in as few parts of nearly equal size as suffice."""
    classes = rng.permutation(np.unique(labels))
    num_groups = -(-len(classes) // most)
    return np.array_split(classes, num_groups) if num_groups else []


def _queries(run, step, part, pool):
    """Batches of a pool without end, until a stop is requested."""
    training = run.config.training
    batches = TrainingInput(
        pool,
        run.config.stream.image,
        training.batch_size,
        integer(training.seed, Purpose.EXEMPLAR_QUERIES, step.index, part),
        step.index,
    )
    for epoch in itertools.count():
        for batch in batches.epoch(epoch):
            signum = run.runtime.stop_requests.signum
            if signum is not None:
                raise Stopped(
                    f"stopped in step {step.index}, while exemplars were optimised. "
                    "The main phase is saved: give the same command to go on with it.",
                    signum,
                )
            yield batch
