"""Section of a configuration about exemplars, and the use that methods make of them."""

import dataclasses

from bsce_keras.config.checks import Checked, not_negative, one_of
from bsce_keras.config.choices import SELECTIONS
from bsce_keras.config.fields import setting


def num_set_aside(quota):
    """Number of images of every seen class in the alpha split, or set aside by BiC.

    Args:
        quota: number of exemplars that a class may have.

    Returns:
        A tenth of the quota, at least 1.
    """
    return max(1, quota // 10)


@dataclasses.dataclass(frozen=True)
class MemoryUse:
    """Use that a method makes of images of old classes.

    Args:
        has_exemplars: the method keeps exemplars by default.
        needs_exemplars: the method does not work without exemplars.
        needs_every_class: classes of an adopted classifier need images too.
        sets_aside: the method sets a tenth of every class's quota aside. No step
            trains on these images, by which the method corrects its head.
        replays_everything: every step trains on all images of all seen classes.
        policy: "module:SelectionPolicy" that chooses the exemplars; empty for the one
            that `--exemplar_selection` names.
        optimizes_pixels: the method changes the pixels of exemplars after every step.
    """

    has_exemplars: bool = True
    needs_exemplars: bool = False
    needs_every_class: bool = False
    sets_aside: bool = False
    replays_everything: bool = False
    policy: str = ""
    optimizes_pixels: bool = False


@dataclasses.dataclass(frozen=True)
class MemoryConfig(Checked):
    """Number and selection of the exemplars.

    Exactly one of `exemplars_per_class` (a memory that grows) and `memory_budget`
    (a fixed total, shared equally by the seen classes) is set. 0 keeps nothing.

    Args:
        use: `MemoryUse` of the method.
    """

    exemplars_per_class: int | None = setting(20, check=not_negative)
    memory_budget: int | None = setting(None, check=not_negative)
    selection: str = setting(
        "herding", flag="exemplar_selection", check=one_of(SELECTIONS)
    )
    use: MemoryUse = setting(MemoryUse(), flag=None)

    def quota(self, num_classes):
        """Number of exemplars a class may keep, set aside or not.

        Args:
            num_classes: number of seen classes.
        """
        if self.memory_budget is not None:
            return self.memory_budget // num_classes
        return self.exemplars_per_class

    def num_aside(self, num_classes):
        """Number of the exemplars of a class that are set aside."""
        return num_set_aside(self.quota(num_classes)) if self.use.sets_aside else 0

    def problems(self):
        given = [self.exemplars_per_class, self.memory_budget]
        if given.count(None) == 1:
            return []
        return [
            "Give either --exemplars_per_class (a growing memory) or "
            f"--memory_budget (a fixed total). Received: {given[0]} and {given[1]}"
        ]
