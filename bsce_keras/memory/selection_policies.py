"""Selection policies: rankings of the images of a class, best exemplars first."""

import pkgutil

from bsce_keras.memory.selection import herding, random_exemplars


class SelectionPolicy:
    """Ranks the images of new classes; may keep a state.

    When a step ends, `ReplayMemory` calls `keep`, then `rank` for each new class, then
    `connect`.

    Attributes:
        edges: int64 pairs of indices into the exemplars to train on, shape
            `(num_edges, 2)`; None for policies without a graph.
        description: selection of exemplars in words, for the protocol of a run.
    """

    edges = None
    description = ""

    def keep(self, places):
        """Drops the state of exemplars of old classes that leave the memory.

        Args:
            places: int, indices of the exemplars that stay, in rising order.
        """

    def rank(self, images, quota, features_of, rng):
        """Returns indices of the exemplars of a class, best first.

        Every policy overrides it.

        Args:
            images: uint8 images of the class.
            quota: largest number of exemplars.
            features_of: function from images to features `(n, d)`.
            rng: `np.random.Generator` of the class.
        """

    def connect(self, rng):
        """Completes the state after all classes of a step are ranked.

        A graph adds its edges here, for example.
        """

    def to_arrays(self):
        """Returns the state as named arrays, for checkpoints."""
        return {}

    def restore(self, arrays):
        """Restores the state from the arrays of `to_arrays`."""


class HerdingPolicy(SelectionPolicy):
    """Selects images whose mean feature follows that of the class, see `herding`."""

    description = "herding"

    def rank(self, images, quota, features_of, rng):
        return herding(features_of(images), quota)


class RandomPolicy(SelectionPolicy):
    """Selects images uniformly at random."""

    description = "random"

    def rank(self, images, quota, features_of, rng):
        return random_exemplars(len(images), quota, rng)


_BY_NAME = {"herding": HerdingPolicy, "random": RandomPolicy}


def selection_policy(config):
    """Returns a new `SelectionPolicy`: that of the method, else the configured one."""
    if not config.use.policy:
        return _BY_NAME[config.selection]()
    return pkgutil.resolve_name(config.use.policy)()
