"""Published hyper-parameters of every method, per kind of data set.

Imports no TensorFlow, so that requests are checked before it loads. A new method needs
an entry here only if the recipe of IL-Baseline does not suit it.
"""

import dataclasses

from bsce_keras.config.choices import CIFAR, IMAGENET, KINDS, SMALL, SUBIMAGENET
from bsce_keras.config.memory import MemoryUse
from bsce_keras.config.training import FinetuningConfig, scaled_schedule
from bsce_keras.methods.own_methods import (
    is_own,
    keeps_phases,
    own_parameters,
    published_relative,
)
from bsce_keras.methods.parameters import (
    AcilParameters,
    BicParameters,
    DistillationParameters,
    DsalParameters,
    IcarlParameters,
    ImprintParameters,
    LucirParameters,
    MnemonicsParameters,
    NoParameters,
    PodnetParameters,
    TpcilParameters,
    WaParameters,
)

# Reasons why a method cannot forget classes.
_TRAINED = (
    "all its weights depend on every image that it was trained on, and none of them "
    "can be subtracted. Train without these classes"
)
_RESIDUALS = (
    "its second stream was fitted to residuals of heads that knew these classes. Use "
    "--method=acil, or train without these classes"
)
_THRESHOLDS = (
    "the threshold of each class depends on the classes before it. Train without these "
    "classes"
)

# Name of the phase of step 0 whose checkpoint is the network of another run.
SHARED_NETWORK = "shared"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Schedule and optimizer of one step."""

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
class Published:
    """Published facts about one method.

    Args:
        recipes, parameters, finetuning: `Recipe`, parameters and `FinetuningConfig` by
            kind of data set.
        own_loss: classification loss that the method was published with.
        finetunes: kinds of data sets on which balanced fine-tuning follows a step, if
            the method is trained with its own loss.
        memory: `MemoryUse` of the method.
        predicts_by: description of its predictions, for the protocol in config.json.
        trains_backbone: reason why its terms need a backbone that is trained; empty if
            it can train a head on a frozen one.
        uses_stages: its terms need maps of the stages that only backbones of this
            package name.
        has_linear_head: a dense layer of a saved classifier can become its head.
        solves_head: increments train nothing; the head is the solution of an equation.
        solves_base_head: the head of the base step is one too, so that with a frozen
            backbone nothing is trained at all.
        forgetting_problem: reason why it cannot forget classes; empty if it can. Such a
            method has `forget`, see `ACIL.forget`.
        corrects_head: a step ends with a correction of the trained head.
        base_network: methods with the same word train the same network at the base
            step, if data and schedule are equal. Empty if no other method does.
    """

    recipes: dict
    parameters: dict
    finetuning: dict
    own_loss: str = "softmax"
    finetunes: tuple[str, ...] = ()
    memory: MemoryUse = MemoryUse()
    predicts_by: str = (
        "argmax over the plain logits of all seen classes: no prior, no alpha and no "
        "knowledge of the step is used"
    )
    trains_backbone: str = ""
    uses_stages: bool = False
    has_linear_head: bool = True
    solves_head: bool = False
    solves_base_head: bool = False
    forgetting_problem: str = _TRAINED
    corrects_head: bool = False
    base_network: str = ""

    @property
    def own_sampling(self):
        """Replay sampling that the method was published with."""
        return self.recipes[CIFAR].replay_sampling

    @property
    def uses_alpha(self):
        """True if a loss with alpha weighs the old classes in its increments."""
        return self.solves_base_head or not self.solves_head

    def is_finetuned(self, kind, loss):
        """Returns True if the method was published with balanced fine-tuning.

        This holds only for the loss that it was published with.
        """
        return loss == self.own_loss and kind in self.finetunes


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


# All values for SMALL are chosen here, not published. 30 to 50 exemplars fill 1 or 2
# batches. 160 epochs then have as many updates (160 to 320) as 20 epochs on CIFAR-100
# in 5 increments.
_SMALL_FINETUNING = FinetuningConfig(160, 0.01, milestones=(80,))
_IMAGENET_100_EPOCHS = Recipe(100, 256, 0.1, 1e-4, milestones=(30, 60, 80, 90))
_IMAGENET_90_EPOCHS = Recipe(90, 128, 0.1, 1e-4, milestones=(30, 60))

# Jodelet et al. 4.1.3, the same for the base step and every increment. The fine-tuning
# is that of LUCIR, because the paper only says "similar to PODNet and LUCIR".
_IL_BASELINE = Published(
    recipes={
        SMALL: Recipe(16, 32, 0.1, 2e-4, milestones=(8, 12)),
        CIFAR: Recipe(250, 128, 0.1, 2e-4, milestones=(100, 150, 200)),
        SUBIMAGENET: _IMAGENET_100_EPOCHS,
        IMAGENET: _IMAGENET_100_EPOCHS,
    },
    parameters=_on_every_kind(DistillationParameters()),
    finetuning=_on_every_kind(FinetuningConfig(20, 0.01, milestones=(10,)))
    | {SMALL: _SMALL_FINETUNING},
    base_network="linear",
)

_WITHOUT_PARAMETERS = dataclasses.replace(
    _IL_BASELINE, parameters=_on_every_kind(NoParameters())
)

# The code of LUCIR trains iCaRL with the schedule of LUCIR.
_LUCIR_RECIPES = {
    SMALL: Recipe(16, 32, 0.1, 5e-4, milestones=(8, 12)),
    CIFAR: Recipe(160, 128, 0.1, 5e-4, milestones=(80, 120)),
    SUBIMAGENET: _IMAGENET_90_EPOCHS,
    IMAGENET: _IMAGENET_90_EPOCHS,
}
_LWF = dataclasses.replace(
    _IL_BASELINE, recipes=_LUCIR_RECIPES, memory=MemoryUse(has_exemplars=False)
)
# LUCIR's script for CIFAR adds a mirrored view of exemplars. Its script for ImageNet
# sets the second view equal to the first.
_ICARL = dataclasses.replace(
    _LWF,
    parameters=_on_every_kind(IcarlParameters())
    | {CIFAR: IcarlParameters(mirrors_exemplars=True)},
    memory=MemoryUse(needs_exemplars=True),
    predicts_by="nearest of the class means of exemplars by unit features",
)

# Only the script for ImageNet-1k starts the fine-tuning.
_LUCIR = Published(
    recipes=_LUCIR_RECIPES,
    parameters=_on_every_kind(LucirParameters(10.0))
    | {SMALL: LucirParameters(5.0), CIFAR: LucirParameters(5.0)},
    has_linear_head=False,
    finetuning=_IL_BASELINE.finetuning,
    finetunes=(IMAGENET,),
    base_network="cosine",
)

# The authors' expansion for ImageNet-1k; its matrix is four times as large.
_IMAGENET_EXPANSION = 16384

# The base step keeps IL-Baseline's schedule, which is that of the compared systems. The
# authors train it longer and with stronger augmentation.
_ACIL = dataclasses.replace(
    _IL_BASELINE,
    parameters=_on_every_kind(AcilParameters())
    | {IMAGENET: AcilParameters(_IMAGENET_EXPANSION)},
    memory=MemoryUse(has_exemplars=False, needs_every_class=True),
    predicts_by=(
        "argmax over the logits of all seen classes, a ridge regression from expanded "
        "features of the frozen backbone to one-hot labels"
    ),
    solves_head=True,
    solves_base_head=True,
    forgetting_problem="",
)
_IMPRINT = dataclasses.replace(
    _IL_BASELINE,
    parameters=_on_every_kind(ImprintParameters()),
    memory=MemoryUse(has_exemplars=False),
    predicts_by=(
        "argmax over the logits of all seen classes: those of the base head, and "
        "scaled cosines to the mean direction of each later class minus a threshold"
    ),
    solves_head=True,
    forgetting_problem=_THRESHOLDS,
)
# The authors chose it for ImageNet-1k. SubImageNet and larger data sets follow.
_SUBIMAGENET_DSAL = DsalParameters(compensation=1.5)

_PUBLISHED = {
    "finetune": _WITHOUT_PARAMETERS,
    "il_baseline": _IL_BASELINE,
    "icarl": _ICARL,
    "lwf": _LWF,
    # Stage 1 is IL-Baseline's. The paper takes its values for BiC from IL-Baseline.
    "bic": dataclasses.replace(
        _IL_BASELINE,
        parameters=_on_every_kind(BicParameters()),
        memory=MemoryUse(needs_exemplars=True, sets_aside=True),
        corrects_head=True,
        # Images set aside do not train it.
        base_network="",
        predicts_by=(
            "argmax over the logits of all seen classes, those of the last step's "
            "classes corrected by a scale and an offset that were fitted on held-out "
            "images"
        ),
    ),
    # The values were published for ImageNet only.
    "ss_il": dataclasses.replace(
        _IL_BASELINE,
        recipes=_on_every_kind(_ssil_recipe(100, 128, milestones=(40, 80)))
        | {SMALL: _ssil_recipe(16, 32, milestones=(6, 13))},
        own_loss="separated_softmax",
    ),
    "wa": dataclasses.replace(
        _IL_BASELINE,
        parameters=_on_every_kind(WaParameters()),
        corrects_head=True,
        # Its class weights are never below 0.
        base_network="",
        predicts_by=(
            "argmax over the logits of all seen classes, weights of each step's "
            "classes brought to the mean length of earlier ones when it ended"
        ),
    ),
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
    "acil": _ACIL,
    "ds_al": dataclasses.replace(
        _ACIL,
        parameters=_on_every_kind(DsalParameters())
        | {
            SUBIMAGENET: _SUBIMAGENET_DSAL,
            IMAGENET: dataclasses.replace(
                _SUBIMAGENET_DSAL, expansion_size=_IMAGENET_EXPANSION
            ),
        },
        forgetting_problem=_RESIDUALS,
    ),
    "imprint": _IMPRINT,
    # LUCIR's schedule, without its fine-tuning.
    "tpcil": Published(
        recipes=_LUCIR_RECIPES,
        parameters=_on_every_kind(TpcilParameters()),
        finetuning=_IL_BASELINE.finetuning,
        memory=MemoryUse(policy="bsce_keras.memory.graph:ExemplarGraph"),
        trains_backbone="its topology term moves the features of exemplars",
        has_linear_head=False,
        base_network=_LUCIR.base_network,
    ),
    # Batch and rate for ImageNet are those of the yaml. Its author trained with 256 and
    # 0.2, which have the same ratio.
    "podnet": Published(
        recipes={
            SMALL: Recipe(16, 32, 0.1, 5e-4, "cosine", gradient_clamp=5.0),
            CIFAR: Recipe(160, 128, 0.1, 5e-4, "cosine", gradient_clamp=5.0),
            SUBIMAGENET: Recipe(90, 64, 0.05, 5e-4, "cosine", gradient_clamp=5.0),
            IMAGENET: Recipe(90, 64, 0.05, 1e-4, "cosine", gradient_clamp=5.0),
        },
        parameters=_on_every_kind(PodnetParameters(8.0, 10.0))
        | {SMALL: PodnetParameters(3.0, 1.0), CIFAR: PodnetParameters(3.0, 1.0)},
        finetuning={
            SMALL: FinetuningConfig(160, 0.05),
            CIFAR: FinetuningConfig(20, 0.05),
            SUBIMAGENET: FinetuningConfig(20, 0.01),
            IMAGENET: FinetuningConfig(20, 0.01),
        },
        own_loss="nca",
        trains_backbone="its POD terms act on maps and features",
        uses_stages=True,
        has_linear_head=False,
        finetunes=KINDS,
    ),
}


def published(method):
    """Returns the `Published` of a method, or that of IL-Baseline if it is unknown.

    A method of the user's own has the values of the published one that it extends.
    """
    if is_own(method):
        method = published_relative(method)
    return _PUBLISHED.get(method, _IL_BASELINE)


def trained_steps(config):
    """Returns two booleans: updates train the base step, and the increments.

    Args:
        config: `ExperimentConfig`.
    """
    name, model = config.method.name, config.model
    facts = published(name)
    if not facts.solves_head or (is_own(name) and not keeps_phases(name)):
        return not model.is_adopted, True
    is_solved = model.freeze_backbone and facts.solves_base_head
    return not (model.is_adopted or is_solved), False


def parameters(method, kind, scale=1.0):
    """Returns a method's hyper-parameters, with passes scaled as epochs are."""
    own = own_parameters(method) if is_own(method) else None
    if own is not None:
        return own
    values = published(method).parameters[kind]
    if not isinstance(values, MnemonicsParameters):
        return values
    passes, _ = scaled_schedule(values.pixel_passes, (), scale)
    return dataclasses.replace(values, pixel_passes=passes)


def differ_in(method, other):
    """Returns the names of the `Recipe` fields in which two methods differ."""
    mine, others = published(method).recipes, published(other).recipes
    pairs = [(mine[kind], others[kind]) for kind in KINDS]
    return {
        field.name
        for field in dataclasses.fields(Recipe)
        if any(getattr(a, field.name) != getattr(b, field.name) for a, b in pairs)
    }


def scaled(recipe, scale):
    """Returns a `Recipe` or `FinetuningConfig` with its schedule scaled."""
    epochs, milestones = scaled_schedule(recipe.epochs, recipe.milestones, scale)
    return dataclasses.replace(recipe, epochs=epochs, milestones=milestones)
