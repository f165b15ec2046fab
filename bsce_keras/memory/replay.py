"""ReplayMemory: the few images of old classes that may be seen again."""

import numpy as np

from bsce_keras.examples import Examples
from bsce_keras.memory.selection import herding, random_exemplars
from bsce_keras.randomness import Purpose, generator


class ReplayMemory:
    """Ranked exemplars of every seen class, never more than the budget.

    A class is ranked once, when it arrives. A fixed budget later keeps a prefix of
    each list; ranks never change.

    Args:
        config: `MemoryConfig`.
        seed: of the experiment, for `random` selection.
    """

    def __init__(self, config, seed):
        self.config = config
        self.seed = seed
        self._per_class = []

    def __len__(self):
        return sum(len(exemplars) for exemplars in self._per_class)

    @property
    def counts(self):
        """Exemplars per seen class, in arrival order."""
        return [len(exemplars) for exemplars in self._per_class]

    def examples(self):
        """All exemplars as one `Examples`, ordered by class and rank; None if empty."""
        if len(self) == 0:
            return None
        return Examples.concatenate(self._per_class)

    def update(self, step, features_of):
        """Makes room, then ranks and stores exemplars of the step's new classes.

        Called again for the same step, it chooses these anew.

        Args:
            step: the finished `Step`.
            features_of: images -> features `(n, d)` of the model after training, in
                inference mode.
        """
        quota = self.config.quota(step.num_classes)
        self._per_class = [
            old.select(slice(quota)) for old in self._per_class[: step.num_old_classes]
        ]
        for label in range(step.num_old_classes, step.num_classes):
            candidates = step.examples.select(step.examples.labels == label)
            picked = self._rank(candidates, quota, label, features_of)
            self._per_class.append(candidates.select(picked).in_memory())

    def _rank(self, candidates, quota, label, features_of):
        if quota == 0:
            return np.zeros(0, np.int64)
        if self.config.selection == "random":
            rng = generator(self.seed, Purpose.EXEMPLARS, label)
            return random_exemplars(len(candidates), quota, rng)
        return herding(features_of(candidates.images), quota)

    def to_arrays(self):
        """The memory as named arrays, for checkpoints."""
        arrays = {"counts": np.array(self.counts, np.int64)}
        if self._per_class:  # also where all are empty: they are still seen classes
            held = Examples.concatenate(self._per_class)
            arrays |= {"images": held.images, "labels": held.labels, "ids": held.ids}
        return arrays

    def restore(self, arrays):
        """Takes over what `to_arrays` returned."""
        counts = arrays["counts"]
        self._per_class = []
        if "images" not in arrays:
            return
        held = Examples(arrays["images"], arrays["labels"], arrays["ids"])
        ends = np.cumsum(counts)
        self._per_class = [
            held.select(slice(end - count, end))
            for count, end in zip(counts, ends, strict=True)
        ]
