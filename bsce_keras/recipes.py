"""Published hyper-parameters of every method, per kind of data set.

Free of TensorFlow, so that a request is checked before it loads. A new method adds
its recipe here only where the defaults of `recipe()` do not suit it.
"""

import dataclasses

# Data sets fall into three kinds; the catalog says which one a data set is of.
SMALL, CIFAR, IMAGENET = "small", "cifar", "imagenet"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one step is trained."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: str = "multistep"
    milestones: tuple[int, ...] = ()
    momentum: float = 0.9


@dataclasses.dataclass(frozen=True)
class NoParameters:
    """For methods without hyper-parameters of their own."""


@dataclasses.dataclass(frozen=True)
class DistillationParameters:
    """Logit distillation (Jodelet et al., section 4.1.3)."""

    temperature: float = 2.0


# Jodelet et al. 4.1.3, the same for the base step and every increment. `small` is
# ours: digits need no more.
_IL_BASELINE = {
    SMALL: Recipe(16, 32, 0.1, 2e-4, milestones=(8, 12)),
    CIFAR: Recipe(250, 128, 0.1, 2e-4, milestones=(100, 150, 200)),
    IMAGENET: Recipe(100, 256, 0.1, 1e-4, milestones=(30, 60, 80, 90)),
}

_RECIPES = {"il_baseline": _IL_BASELINE}
_PARAMETERS = {"il_baseline": DistillationParameters()}


def recipe(method, kind):
    """The published schedule of `method` on a data set of this kind."""
    return _RECIPES.get(method, _IL_BASELINE)[kind]


def parameters(method):
    """The method's own hyper-parameters."""
    return _PARAMETERS.get(method, NoParameters())


def scaled_schedule(epochs, milestones, scale):
    """Shrinks a schedule in proportion.

    Epochs become `max(1, round(scale * epochs))` and drops `round(scale * m)`, kept
    distinct by moving a drop that would coincide one epoch on, and left out at or
    past the end.

    Returns:
        `(epochs, milestones)`.

    >>> scaled_schedule(250, (100, 150, 200), 0.04)
    (10, (4, 6, 8))
    """
    scaled_epochs = max(1, round(scale * epochs))
    kept = []
    for milestone in milestones:
        drop = max(round(scale * milestone), kept[-1] + 1 if kept else 0)
        kept.append(drop)
    return scaled_epochs, tuple(drop for drop in kept if 0 < drop < scaled_epochs)
