"""StreamConfig: section of a configuration about the stream of classes."""

import dataclasses

from bsce_keras.config.checks import Checked, one_of
from bsce_keras.config.choices import BAD_IMAGE_POLICIES
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
