"""ReplayMemory: stored images of old classes for later steps."""

import dataclasses
import math

import numpy as np

from bsce_keras.data.examples import Examples
from bsce_keras.memory.selection import random_exemplars
from bsce_keras.memory.selection_policies import selection_policy
from bsce_keras.runtime.randomness import Purpose, generator


class ReplayMemory:
    """Ranked exemplars of every seen class, within the budget.

    A class is ranked once, when it arrives. A fixed budget later keeps a prefix of each
    list; ranks do not change. If the configuration sets images aside, a tenth of every
    class's quota is drawn at random, and training never uses these images.

    Args:
        config: `MemoryConfig`.
        seed: seed of the experiment, for random choices.
    """

    def __init__(self, config, seed):
        self.config = config
        self.seed = seed
        self._trained_on = []
        self._set_aside = []
        self._policy = selection_policy(config)

    @property
    def counts(self):
        """Exemplars per seen class in order of arrival, including those set aside."""
        return [
            len(trained_on) + len(set_aside)
            for trained_on, set_aside in zip(
                self._trained_on, self._set_aside, strict=True
            )
        ]

    @property
    def num_bytes(self):
        """Bytes of the pixels of all exemplars, including those set aside."""
        held = [*self._trained_on, *self._set_aside]
        return sum(math.prod(of_class.images.shape) for of_class in held)

    @property
    def state_bytes(self):
        """Bytes of the state of the selection policy, such as a graph."""
        return sum(values.nbytes for values in self._policy.to_arrays().values())

    def examples(self):
        """Returns all exemplars to train on, by class and rank; None if empty."""
        return _joined(self._trained_on)

    def replay(self, earlier):
        """Returns the `Examples` of old classes to train on, or None.

        Args:
            earlier: all training images of earlier classes. They are returned instead
                of exemplars if the configuration replays everything.
        """
        return earlier if self.config.use.replays_everything else self.examples()

    @property
    def edges(self):
        """Edges of the policy's graph over `examples()`, or None.

        Pairs of indices, shape `(num_edges, 2)`.
        """
        return self._policy.edges

    def split(self, step):
        """Sets images of a step's classes aside, if that is configured.

        Args:
            step: the `Step` to be learned.

        Returns:
            The `Step` with the images to train on, and the `Examples` set aside of all
            seen classes, or None.
        """
        training, set_aside = self._divide(step)
        old = self._shortened(self._set_aside, step, self.config.num_aside)
        return training, _joined([*old, *set_aside])

    def update(self, step, features_of):
        """Shortens old lists, then ranks and stores exemplars of the new classes.

        A second call for the same step replaces the exemplars of its classes.

        Args:
            step: the finished `Step` of the stream.
            features_of: function from images to features `(n, d)` of the trained model
                in inference mode.
        """
        quota = self._training_quota(step.num_classes)
        training, set_aside = self._divide(step)
        self._policy.keep(_places(self._trained_on, step.num_old_classes, quota))
        self._trained_on = self._shortened(self._trained_on, step, self._training_quota)
        self._set_aside = self._shortened(self._set_aside, step, self.config.num_aside)
        self._set_aside += set_aside
        for label in range(step.num_old_classes, step.num_classes):
            candidates = _of_class(training.examples, label)
            picked = self._rank(candidates, quota, label, features_of)
            self._trained_on.append(candidates.select(picked).in_memory())
        self._policy.connect(generator(self.seed, Purpose.GRAPH, step.index))

    def _training_quota(self, num_classes):
        return self.config.quota(num_classes) - self.config.num_aside(num_classes)

    @staticmethod
    def _shortened(per_class, step, quota):
        """Returns the old classes' lists, shortened to the quota of this step."""
        most = slice(quota(step.num_classes))
        return [held.select(most) for held in per_class[: step.num_old_classes]]

    def replace_images(self, images):
        """Replaces the pixels of the exemplars to train on.

        Labels, ids and ranks stay, and so do images set aside.

        Args:
            images: uint8, with the order and shape of the images of `examples()`.

        Raises:
            ValueError: images have another type or shape.
        """
        held = self.examples()
        if (images.dtype, images.shape) != (held.images.dtype, held.images.shape):
            raise ValueError(
                f"Expected {held.images.dtype} images of shape {held.images.shape}, "
                f"those of `examples`. Received: {images.dtype} of {images.shape}"
            )
        ends = np.cumsum([len(of_class) for of_class in self._trained_on])
        parts = np.split(images, ends[:-1])
        self._trained_on = [
            dataclasses.replace(of_class, images=part)
            for of_class, part in zip(self._trained_on, parts, strict=True)
        ]

    def _divide(self, step):
        """Returns the step without images set aside, and a list of these per class."""
        num_aside = self.config.num_aside(step.num_classes)
        if not num_aside:
            nothing = step.examples.select(slice(0))
            return step, [nothing] * step.num_new_classes
        examples, is_aside = step.examples, np.zeros(len(step.examples), bool)
        set_aside = []
        for label in range(step.num_old_classes, step.num_classes):
            places = np.flatnonzero(examples.labels == label)
            rng = generator(self.seed, Purpose.SET_ASIDE, label)
            drawn = places[random_exemplars(len(places), num_aside, rng)]
            is_aside[drawn] = True
            set_aside.append(examples.select(drawn).in_memory())
        step = dataclasses.replace(step, examples=examples.select(~is_aside))
        return step, set_aside

    def _rank(self, candidates, quota, label, features_of):
        if quota == 0:
            return np.zeros(0, np.int64)
        rng = generator(self.seed, Purpose.EXEMPLARS, label)
        return self._policy.rank(candidates.images, quota, features_of, rng)

    def to_arrays(self):
        """Returns the memory as named arrays for checkpoints."""
        arrays = _to_arrays(self._trained_on, "")
        if self.config.use.sets_aside:
            arrays |= _to_arrays(self._set_aside, _ASIDE_PREFIX)
        return arrays | self._policy.to_arrays()

    def restore(self, arrays):
        """Restores the memory from the arrays of `to_arrays`."""
        self._trained_on = _from_arrays(arrays, "")
        self._set_aside = [held.select(slice(0)) for held in self._trained_on]
        if self.config.use.sets_aside:
            self._set_aside = _from_arrays(arrays, _ASIDE_PREFIX)
        self._policy.restore(arrays)


_ASIDE_PREFIX = "set_aside_"


def _joined(per_class):
    """Returns one `Examples` of all classes; None if it would be empty."""
    if not any(len(held) for held in per_class):
        return None
    return Examples.concatenate(per_class)


def _places(per_class, num_classes, quota):
    """Returns indices into `_joined` of the first `quota` of each of the classes."""
    sizes = [len(held) for held in per_class]
    starts = np.cumsum([0, *sizes])[:num_classes]
    kept = [
        start + np.arange(min(size, quota))
        for start, size in zip(starts, sizes, strict=False)
    ]
    return np.concatenate([np.zeros(0, np.int64), *kept])


def _of_class(examples, label):
    return examples.select(examples.labels == label)


def _to_arrays(per_class, prefix):
    counts = np.array([len(held) for held in per_class], np.int64)
    arrays = {"counts": counts}
    if per_class:  # even if all are empty, because the classes were seen
        held = Examples.concatenate(per_class)
        arrays |= {"images": held.images, "labels": held.labels, "ids": held.ids}
    return {f"{prefix}{name}": values for name, values in arrays.items()}


def _from_arrays(arrays, prefix):
    if f"{prefix}images" not in arrays:
        return []
    held = Examples(*(arrays[f"{prefix}{n}"] for n in ("images", "labels", "ids")))
    counts = arrays[f"{prefix}counts"]
    return [
        held.select(slice(end - count, end))
        for count, end in zip(counts, np.cumsum(counts), strict=True)
    ]
