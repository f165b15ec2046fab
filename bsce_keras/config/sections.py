"""Sections of an `ExperimentConfig`: frozen dataclasses, checked and JSON-able.

Every value is final: `make_config` fills in the defaults of data set and method and
scales the schedules. No other module fills in a value. `setting` names the
flag of a field if it differs, and marks fields that do not decide the outcome.
"""

import dataclasses
import functools

from bsce_keras.config.backbone_inputs import NORMALIZED
from bsce_keras.config.backbones import BACKBONES
from bsce_keras.config.checks import Checked, not_negative, one_of, positive
from bsce_keras.config.choices import (
    ADOPTED,
    ALPHA_OPTIMIZERS,
    ALPHA_RATES,
    ALPHA_STATISTICS,
    BAD_IMAGE_POLICIES,
    META_GRADIENTS,
    SELECTIONS,
)
from bsce_keras.config.classification_losses import CLASSIFICATION_LOSSES, loss_facts
from bsce_keras.config.fields import setting
from bsce_keras.config.image_spec import ImageSpec


@dataclasses.dataclass(frozen=True)
class StreamConfig(Checked):
    """Stream of classes: their order of arrival and the source of their images.

    Args:
        dataset: one of `data.catalog.NAMES`.
        data_dir: TFDS directory, or the parent of `train/` and `test/` for `folder`.
        class_names: every class of the data set, indexed by class id.
        order: class ids in the order of their arrival, a permutation.
        num_base_classes: number of classes of step 0.
        increments: numbers of new classes of steps 1..T.
        validation_share: share of the training images of every class that is held out
            and scored in place of the test images; 0 scores the test images.
        cache_dir: folder in which decoded images are kept; None holds them in memory.
        images: `GivenImages` of the data set `arrays`, else None; not in config.json.
        kind: one of `choices.KINDS`, which selects recipe and default backbone. A run
            that grows keeps it; empty where images are only scored.
    """

    dataset: str
    # Neither the location of the images nor a download decides the outcome.
    data_dir: str | None = setting(decides_outcome=False)
    class_names: tuple[str, ...] = setting(flag=None, decides_base_step=False)
    class_order: str = setting(decides_base_step=False)
    order: tuple[int, ...] = setting(flag="class_order", decides_base_step=False)
    num_base_classes: int
    increments: tuple[int, ...] = setting(
        flag="num_increments", decides_base_step=False
    )
    image: ImageSpec = setting(
        flag=None,
        part_flags={
            "size": "image_size",
            "max_pixels": "max_image_pixels",
            "augmentation": "augmentation",
        },
    )
    # data.json compares the images, and so the effect of this policy.
    on_bad_image: str = setting(
        "error",
        decides_outcome=False,
        decides_base_step=True,
        check=one_of(BAD_IMAGE_POLICIES),
    )
    download: bool = setting(False, decides_outcome=False)
    validation_share: float = 0.0
    cache_dir: str | None = setting(None, decides_outcome=False)
    images: object = setting(None, flag=None, decides_outcome=False)
    kind: str = setting("", flag=None, decides_outcome=False)

    @property
    def num_classes(self):
        """Number of classes of all steps; the data set may hold more."""
        return self.num_base_classes + sum(self.increments)

    @property
    def arriving_class_names(self):
        """Class names in arrival order, which are the labels."""
        return tuple(self.class_names[i] for i in self.order[: self.num_classes])

    def problems(self):
        found = []
        if self.num_base_classes < 1:
            found.append(
                "--num_base_classes must be at least 1. "
                f"Received: {self.num_base_classes}"
            )
        if any(size < 1 for size in self.increments):
            found.append(
                "Every increment needs at least 1 new class. "
                f"Received: increments={list(self.increments)}"
            )
        if self.num_classes > len(self.class_names):
            given, way_out = f"{self.num_base_classes} base classes", ""
            if self.increments:
                given += f" and increments of {list(self.increments)}"
                way_out = " or use fewer or smaller increments"
            found.append(
                f"{given} need {self.num_classes} classes, but {self.dataset} has "
                f"{len(self.class_names)}. Lower --num_base_classes{way_out}."
            )
        if sorted(self.order) != list(range(len(self.class_names))):
            found.append(
                "The class order must name every class exactly once. "
                f"Received: {list(self.order)}"
            )
        if not 0 <= self.validation_share < 1:
            found.append(
                "--validation_share must be at least 0 and below 1. "
                f"Received: {self.validation_share}"
            )
        return found


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


@dataclasses.dataclass(frozen=True)
class ModelConfig(Checked):
    """Backbone of the network. The method decides the variant of a named backbone.

    Args:
        backbone: key of `BACKBONES`, `SAVED`, `ADOPTED`, `applications:NAME` or
            `keras_hub:PRESET`.
        backbone_path, backbone_sha256: path and digest of the file of a saved
            backbone or classifier, of the weights of `applications:NAME`, or of the
            folder of a preset; else None.
        input: values that the backbone expects, one of `backbone_inputs.INPUT_CHOICES`
            or `AS_PRESET`.
        input_size: side to which images are resized for the backbone; None keeps them.
        freeze_backbone: only heads are trained; the backbone stays as it came.
    """

    backbone: str
    synchronized_batch_norm: bool = False
    backbone_path: str | None = setting(None, flag="backbone", decides_outcome=False)
    backbone_sha256: str | None = setting(None, flag="backbone")
    input: str = setting(NORMALIZED, flag="backbone_input")
    input_size: int | None = setting(None, flag="backbone_input_size", check=positive)
    freeze_backbone: bool = False

    @property
    def is_pretrained(self):
        """True if the backbone comes with weights."""
        return self.backbone not in BACKBONES

    @property
    def is_adopted(self):
        """True if a saved classifier is the base step."""
        return self.backbone == ADOPTED

    def backbone_image(self, image):
        """Returns the `ImageSpec` of the images as the backbone sees them."""
        return dataclasses.replace(image, size=self.input_size or image.size)


_of_learned_alpha = functools.partial(
    setting, needs_loss="meta_balanced_softmax", decides_base_step=False
)


@dataclasses.dataclass(frozen=True)
class MethodConfig(Checked):
    """The method and its classification loss: two independent choices.

    Args:
        name: key of `bsce_keras.methods.METHODS`.
        classification_loss: name of the loss, with `default` resolved.
        parameters: the method's own hyper-parameters, a frozen dataclass such as those
            of `bsce_keras.methods.parameters`.
        alpha: weight of the old classes in the balanced softmax. A learned alpha
            starts at this value in every increment.
        alpha_learning_rate: learning rate of alpha, None if alpha is held.
        alpha_optimizer: key of `ALPHA_RATES`. `held` keeps alpha constant and records
            its gradient.
        alpha_statistics: statistics that batch normalisation uses on the alpha split:
            those of the `batch`, or the `running` ones as at test time.
        alpha_visits: `(epoch, value)` pairs of a held alpha, which takes `value` after
            this number of epochs of an increment. Empty keeps `alpha` throughout.
    """

    name: str = setting(flag="method")
    # `records.base_step` compares losses, because some are equal without old classes.
    classification_loss: str = setting(
        decides_base_step=False, check=one_of(CLASSIFICATION_LOSSES)
    )
    parameters: object = setting(flag="method_parameters")
    alpha: float = setting(1.0, decides_base_step=False, check=positive)
    alpha_learning_rate: float | None = _of_learned_alpha(
        ALPHA_RATES["adam"], check=positive
    )
    alpha_optimizer: str = _of_learned_alpha("adam", check=one_of(ALPHA_OPTIMIZERS))
    alpha_every: int = _of_learned_alpha(10, check=positive)
    alpha_statistics: str = _of_learned_alpha("batch", check=one_of(ALPHA_STATISTICS))
    alpha_visits: tuple[tuple[int, float], ...] = _of_learned_alpha((), flag=None)
    meta_gradient: str = _of_learned_alpha("closed_form", check=one_of(META_GRADIENTS))

    @property
    def learns_alpha(self):
        return loss_facts(self.classification_loss).learns_alpha

    def held_alpha(self, epoch):
        """Value of a held alpha in a 0-based epoch; None if alpha is learned."""
        if not (self.learns_alpha and self.alpha_optimizer == "held"):
            return None
        visited = [value for first, value in self.alpha_visits if first <= epoch]
        return visited[-1] if visited else self.alpha

    def problems(self):
        epochs = [epoch for epoch, _ in self.alpha_visits]
        found = []
        if epochs and self.alpha_optimizer != "held":
            found.append("alpha_visits needs --alpha_optimizer=held.")
        if epochs != sorted(set(epochs)) or any(epoch < 0 for epoch in epochs):
            found.append(
                "alpha_visits needs distinct epochs from 0 on in rising order. "
                f"Received: {epochs}"
            )
        for _, value in self.alpha_visits:
            found += positive("alpha_visits", value)
        return found
