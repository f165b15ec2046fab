"""Selection policies: which images of a class become its exemplars, best first."""

import importlib

from bsce_keras.memory.selection import herding, random_exemplars


class SelectionPolicy:
    """Ranks the images of new classes; may keep a state of its own.

    `ReplayMemory` calls `keep` when a step ends, `rank` for each new class, and then
    `connect`.

    Attributes:
        edges: int64 pairs of places among all exemplars that training may use, shape
            `(num_edges, 2)`; None for policies without a graph.
        description: how exemplars are chosen, for the protocol of a run.
    """

    edges = None
    description = ""

    def keep(self, places):
        """Keeps the state of these exemplars of old classes only.

        Args:
            places: int, places among the exemplars of all classes, in rising order.
        """

    def rank(self, images, quota, features_of, rng):
        """Returns indices of the exemplars of a class, best first. Every policy has it.

        Args:
            images: uint8 images of the class.
            quota: largest number of exemplars.
            features_of: images -> features `(n, d)`.
            rng: `np.random.Generator` of the class.
        """

    def connect(self, rng):
        """Completes the state, once all classes of a step are ranked."""

    def to_arrays(self):
        """Returns the state as named arrays, for checkpoints."""
        return {}

    def restore(self, arrays):
        """Takes over the arrays that `to_arrays` returned."""


class HerdingPolicy(SelectionPolicy):
    """Chooses images whose mean feature follows that of the class, see `herding`."""

    description = "herding"

    def rank(self, images, quota, features_of, rng):
        return herding(features_of(images), quota)


class RandomPolicy(SelectionPolicy):
    """Chooses images uniformly at random."""

    description = "random"

    def rank(self, images, quota, features_of, rng):
        return random_exemplars(len(images), quota, rng)


_BY_NAME = {"herding": HerdingPolicy, "random": RandomPolicy}


def selection_policy(config):
    """Returns a new `SelectionPolicy`: that of the method, or the one asked for."""
    if not config.use.policy:
        return _BY_NAME[config.selection]()
    module, name = config.use.policy.split(":")
    return getattr(importlib.import_module(module), name)()
