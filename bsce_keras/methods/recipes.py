"""Published hyper-parameters of every method, per kind of data set.

This module does not import TensorFlow, so that requests are checked before TensorFlow
loads. A new method adds its recipe here only if the default does not suit it.
"""

import dataclasses

from bsce_keras.config.choices import CIFAR, IMAGENET, KINDS, SMALL, SUBIMAGENET
from bsce_keras.config.sections import MemoryUse


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Schedule and optimizer settings of one step."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: str = "multistep"
    milestones: tuple[int, ...] = ()
    momentum: float = 0.9
    gradient_clamp: float | None = None
    replay_sampling: str = "uniform"
    rate_falls_with_steps: bool = False


@dataclasses.dataclass(frozen=True)
class FinetuningRecipe:
    """Schedule of balanced fine-tuning of the class weights after a step."""

    epochs: int
    learning_rate: float
    milestones: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class NoParameters:
    """Parameters of methods without own hyper-parameters."""


@dataclasses.dataclass(frozen=True)
class DistillationParameters:
    """Parameters of logit distillation (Jodelet et al., section 4.1.3)."""

    temperature: float = 2.0


@dataclasses.dataclass(frozen=True)
class IcarlParameters(DistillationParameters):
    """Parameters of iCaRL: distillation, and the views of exemplars in class means.

    `mirrors_exemplars` adds the mirror image of every exemplar to its class mean.
    """

    mirrors_exemplars: bool = False


@dataclasses.dataclass(frozen=True)
class LucirParameters:
    """Parameters of LUCIR (`run.sh` of the authors' code)."""

    less_forget_weight: float
    margin_ranking_weight: float = 1.0
    margin: float = 0.5
    top_k: int = 2


@dataclasses.dataclass(frozen=True)
class MnemonicsParameters(LucirParameters):
    """Parameters of LUCIR, and of the optimisation of exemplars (`methods.mnemonics`).

    `pixel_passes` is scaled with the schedule, as epochs are. Values that the paper
    does not give are ours, because the released code does not train what the paper
    describes.
    """

    inner_updates: int = 20
    inner_learning_rate: float = 0.01
    pixel_learning_rate: float = 0.01
    pixel_passes: int = 10
    old_share: float = 0.2
    classes_at_once: int = 10


@dataclasses.dataclass(frozen=True)
class PodnetParameters:
    """Parameters of PODNet (`options/podnet/*.yaml` of the authors' code).

    `nca` is `code`, the loss as released, or `paper`, as printed.
    """

    spatial_weight: float
    flat_weight: float
    margin: float = 0.6
    nca: str = "code"


@dataclasses.dataclass(frozen=True)
class BicParameters:
    """Parameters of BiC: distillation, and the penalty of the correction's offset."""

    temperature: float = 2.0
    offset_penalty: float = 0.05


@dataclasses.dataclass(frozen=True)
class TpcilParameters:
    """Parameters of TPCIL, recalled or ours, because its code was not released.

    Args:
        topology_weight: of the topology-preserving term; 0 leaves it out.
        pairs: `all_in_batch`, all pairs of the exemplars that an update draws, or
            `edges`, those that the graph joins.
        num_edges: number of edges that every update draws.
    """

    topology_weight: float = 10.0
    pairs: str = "all_in_batch"
    num_edges: int = 64


@dataclasses.dataclass(frozen=True)
class _Published:
    """Published settings of one method.

    Args:
        recipes, parameters, finetuning: dictionaries by kind of data set.
        own_loss: classification loss of the publication.
        finetunes: kinds of data set on which balanced fine-tuning follows the own loss.
        memory: use of images of old classes.
    """

    recipes: dict
    parameters: dict
    finetuning: dict
    own_loss: str = "softmax"
    finetunes: tuple[str, ...] = ()
    memory: MemoryUse = MemoryUse()


def _on_every_kind(value):
    return dict.fromkeys(KINDS, value)


def _ssil_recipe(epochs, batch_size, milestones):
    return Recipe(
        epochs,
        batch_size,
        0.1,
        1e-4,
        milestones=milestones,
        replay_sampling="four_to_one",
        rate_falls_with_steps=True,
    )


# All numbers for SMALL are ours. 30 to 50 exemplars fill 1 or 2 batches. 160 epochs
# have 160 to 320 updates, as many as 20 epochs on CIFAR-100 in 5 increments.
_SMALL_FINETUNING = FinetuningRecipe(160, 0.01, milestones=(80,))
_IMAGENET_100_EPOCHS = Recipe(100, 256, 0.1, 1e-4, milestones=(30, 60, 80, 90))
_IMAGENET_90_EPOCHS = Recipe(90, 128, 0.1, 1e-4, milestones=(30, 60))

# Jodelet et al. 4.1.3, the same for the base step and every increment. The fine-tuning
# is LUCIR's: the paper only says "similar to PODNet and LUCIR".
_IL_BASELINE = _Published(
    recipes={
        SMALL: Recipe(16, 32, 0.1, 2e-4, milestones=(8, 12)),
        CIFAR: Recipe(250, 128, 0.1, 2e-4, milestones=(100, 150, 200)),
        SUBIMAGENET: _IMAGENET_100_EPOCHS,
        IMAGENET: _IMAGENET_100_EPOCHS,
    },
    parameters=_on_every_kind(DistillationParameters()),
    finetuning=_on_every_kind(FinetuningRecipe(20, 0.01, milestones=(10,)))
    | {SMALL: _SMALL_FINETUNING},
)

_WITHOUT_PARAMETERS = dataclasses.replace(
    _IL_BASELINE, parameters=_on_every_kind(NoParameters())
)

# LUCIR's code runs iCaRL on the schedule of its own method.
_LUCIR_RECIPES = {
    SMALL: Recipe(16, 32, 0.1, 5e-4, milestones=(8, 12)),
    CIFAR: Recipe(160, 128, 0.1, 5e-4, milestones=(80, 120)),
    SUBIMAGENET: _IMAGENET_90_EPOCHS,
    IMAGENET: _IMAGENET_90_EPOCHS,
}
_LWF = dataclasses.replace(
    _IL_BASELINE, recipes=_LUCIR_RECIPES, memory=MemoryUse(has_exemplars=False)
)
# LUCIR's script for CIFAR has a second view of exemplars. In the script for ImageNet,
# both views are equal.
_ICARL = dataclasses.replace(
    _LWF,
    parameters=_on_every_kind(IcarlParameters())
    | {CIFAR: IcarlParameters(mirrors_exemplars=True)},
    memory=MemoryUse(needs_exemplars=True),
)

# Only the script for ImageNet-1k runs the fine-tuning.
_LUCIR = _Published(
    recipes=_LUCIR_RECIPES,
    parameters=_on_every_kind(LucirParameters(10.0))
    | {SMALL: LucirParameters(5.0), CIFAR: LucirParameters(5.0)},
    finetuning=_IL_BASELINE.finetuning,
    finetunes=(IMAGENET,),
)

_PUBLISHED = {
    "finetune": _WITHOUT_PARAMETERS,
    "il_baseline": _IL_BASELINE,
    "icarl": _ICARL,
    "lwf": _LWF,
    # Stage 1 is that of IL-Baseline, and so are the paper's settings of BiC.
    "bic": dataclasses.replace(
        _IL_BASELINE,
        parameters=_on_every_kind(BicParameters()),
        memory=MemoryUse(needs_exemplars=True, sets_aside=True),
    ),
    # Published on ImageNet only.
    "ss_il": dataclasses.replace(
        _IL_BASELINE,
        recipes=_on_every_kind(_ssil_recipe(100, 128, milestones=(40, 80)))
        | {SMALL: _ssil_recipe(16, 32, milestones=(6, 13))},
        own_loss="separated_softmax",
    ),
    "wa": _IL_BASELINE,
    "joint": dataclasses.replace(
        _WITHOUT_PARAMETERS,
        memory=MemoryUse(has_exemplars=False, replays_everything=True),
    ),
    "lucir": _LUCIR,
    "mnemonics": dataclasses.replace(
        _LUCIR,
        parameters=_on_every_kind(MnemonicsParameters(10.0))
        | {SMALL: MnemonicsParameters(5.0), CIFAR: MnemonicsParameters(5.0)},
        finetunes=KINDS,
        memory=MemoryUse(optimizes_pixels=True),
    ),
    # LUCIR's schedule, without its fine-tuning.
    "tpcil": _Published(
        recipes=_LUCIR_RECIPES,
        parameters=_on_every_kind(TpcilParameters()),
        finetuning=_IL_BASELINE.finetuning,
        memory=MemoryUse(policy="bsce_keras.memory.graph:ExemplarGraph"),
    ),
    # Batch and rate on ImageNet are those of the yaml. Its author ran 256 and 0.2, the
    # same ratio.
    "podnet": _Published(
        recipes={
            SMALL: Recipe(16, 32, 0.1, 5e-4, "cosine", gradient_clamp=5.0),
            CIFAR: Recipe(160, 128, 0.1, 5e-4, "cosine", gradient_clamp=5.0),
            SUBIMAGENET: Recipe(90, 64, 0.05, 5e-4, "cosine", gradient_clamp=5.0),
            IMAGENET: Recipe(90, 64, 0.05, 1e-4, "cosine", gradient_clamp=5.0),
        },
        parameters=_on_every_kind(PodnetParameters(8.0, 10.0))
        | {SMALL: PodnetParameters(3.0, 1.0), CIFAR: PodnetParameters(3.0, 1.0)},
        finetuning={
            SMALL: FinetuningRecipe(160, 0.05),
            CIFAR: FinetuningRecipe(20, 0.05),
            SUBIMAGENET: FinetuningRecipe(20, 0.01),
            IMAGENET: FinetuningRecipe(20, 0.01),
        },
        own_loss="nca",
        finetunes=KINDS,
    ),
}


def recipe(method, kind):
    """Returns the published `Recipe` of `method` on a kind of data set."""
    return _published(method).recipes[kind]


def parameters(method, kind, scale=1.0):
    """Returns the method's own hyper-parameters; passes are scaled as epochs are."""
    published = _published(method).parameters[kind]
    if not isinstance(published, MnemonicsParameters):
        return published
    passes, _ = scaled_schedule(published.pixel_passes, (), scale)
    return dataclasses.replace(published, pixel_passes=passes)


def own_loss(method):
    """Returns the classification loss of the method's publication."""
    return _published(method).own_loss


def own_sampling(method):
    """Returns the replay sampling of the method's publication."""
    return recipe(method, CIFAR).replay_sampling


def memory_use(method):
    """Returns the `MemoryUse` of a method."""
    return _published(method).memory


def finetuning(method, kind):
    """Returns the `FinetuningRecipe` of balanced fine-tuning after this method."""
    return _published(method).finetuning[kind]


def finetunes(method, kind, loss):
    """Returns True if the publication fine-tunes, only with the method's own loss."""
    published = _published(method)
    return loss == published.own_loss and kind in published.finetunes


def differ_in(method, other):
    """Returns names of the `Recipe` fields in which two methods differ."""
    pairs = [(recipe(method, kind), recipe(other, kind)) for kind in KINDS]
    return {
        field.name
        for field in dataclasses.fields(Recipe)
        if any(getattr(a, field.name) != getattr(b, field.name) for a, b in pairs)
    }


def _published(method):
    """Returns IL-Baseline's settings for unknown methods, refused elsewhere."""
    return _PUBLISHED.get(method, _IL_BASELINE)


def scaled(recipe, scale):
    """Returns a `Recipe` or `FinetuningRecipe` with a scaled schedule."""
    epochs, milestones = scaled_schedule(recipe.epochs, recipe.milestones, scale)
    return dataclasses.replace(recipe, epochs=epochs, milestones=milestones)


def scaled_schedule(epochs, milestones, scale):
    """Scales a schedule.

    Epochs become `max(1, round(scale * epochs))`, and drops `round(scale * m)`. A drop
    that would coincide with the previous one moves to the next epoch. Drops at or after
    the end are left out.

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
