"""Descriptions of data sets before an image is read. Does not import TensorFlow."""

import dataclasses
from collections.abc import Mapping

from bsce_keras.config import ImageSpec
from bsce_keras.config.choices import CIFAR, SMALL, SUBIMAGENET

_SMALLEST_IMAGE, _LARGEST_IMAGE = 8, 4096
_DEFAULT_SIZE = 64
# Largest image side that suits the CIFAR network; larger images use the ImageNet one.
_LARGEST_CIFAR_LIKE = 40
# With fewer training images, a data set gets the small network and its recipe.
LEAST_TO_BE_LARGE = 5000
# Smallest number of updates of a step of such a data set; docs/folder.md has the runs.
SMALL_UPDATES = 1600


@dataclasses.dataclass(frozen=True)
class NamedDataset:
    """Facts about a data set that `--dataset` may name.

    Args:
        describe: "module:function" that maps a `DatasetRequest` to a `DatasetInfo`
            without importing TensorFlow.
        load: "module:function" that maps `(stream_config, training_images,
            test_images)` to an `ImageDataset`; see `load_dataset`.
        image: `ImageSpec` of all images; None if `--image_size` decides.
        kind: `SMALL`, `CIFAR`, `SUBIMAGENET` or `IMAGENET`, which selects the published
            schedule; None if the number of training images and the image size decide.
        exemplars_per_class: default number of exemplars per class.
        has_equal_classes: True if all classes have equally many training images.
        can_be_fetched: True if `--download` fetches a missing copy.
        without: options that do not apply to this data set, with the reason of each.
    """

    describe: str
    load: str
    image: ImageSpec | None = None
    kind: str | None = None
    exemplars_per_class: int = 20
    has_equal_classes: bool = False
    can_be_fetched: bool = False
    without: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class DatasetRequest:
    """Request for a data set; see `describe_dataset`.

    Args:
        name: value of `--dataset`.
        entry: its `NamedDataset`.
        data_dir: TFDS directory (default `$TFDS_DATA_DIR`, else
            `~/tensorflow_datasets`); for `folder` the parent of `train/` and `test/`,
            or of the class folders.
        image_size: side of the network's input in pixels, for `folder` and `tfds:NAME`
            (default 64).
        download: fetches and prepares a TFDS data set that is missing.
        validation_share: a `folder` may lack test images if this is above 0.
        learned: names of the classes that a run of a `folder` has learned. Their images
            may be missing.
        images: `GivenImages` of the data set `arrays`.
        begun_kind: kind of the data set when the run began, which it keeps; None for a
            new run.
        test_only: True if only test images will be read. A `folder` may then lack
            training images of any class; its classes are those of both folders.
    """

    name: str
    entry: NamedDataset
    data_dir: str | None = None
    image_size: int | None = None
    download: bool = False
    validation_share: float = 0.0
    learned: tuple[str, ...] = ()
    images: object = None
    begun_kind: str | None = None
    test_only: bool = False

    def size_problems(self):
        """Returns the problems of the image size as a list of sentences."""
        size, image = self.image_size, self.entry.image
        if size is None:
            return []
        if image is not None:
            return [
                f"--image_size is for `folder` and `tfds:NAME`; {self.name} is always "
                f"{image.size}x{image.size}. Received: {size}. Leave it out."
            ]
        if _SMALLEST_IMAGE <= size <= _LARGEST_IMAGE:
            return []
        return [
            f"--image_size must be from {_SMALLEST_IMAGE} to {_LARGEST_IMAGE}. "
            f"Received: {size}"
        ]

    def info(self, class_names, num_images=None):
        """Returns the `DatasetInfo` of this data set.

        Args:
            class_names: names of its classes.
            num_images: number of its training images, counted as far as
                `LEAST_TO_BE_LARGE`; None if it is not known.
        """
        size = self.image_size or _DEFAULT_SIZE
        kind = CIFAR if size <= _LARGEST_CIFAR_LIKE else SUBIMAGENET
        if num_images is not None and num_images < LEAST_TO_BE_LARGE:
            kind = SMALL
        kind = self.entry.kind or self.begun_kind or kind
        is_small = self.entry.kind is None and kind == SMALL
        return DatasetInfo(
            name=self.name,
            class_names=tuple(class_names),
            kind=kind,
            min_updates=SMALL_UPDATES if is_small else 0,
            # 8/7 is the usual 256 / 224: room for the random crop of training.
            image=self.entry.image
            or ImageSpec(size=size, stored_size=round(size * 8 / 7)),
            exemplars_per_class=self.entry.exemplars_per_class,
        )


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """Facts about a data set that the rest of the package uses.

    Args:
        name: value of `--dataset`.
        class_names: names indexed by class id.
        kind: see `NamedDataset`.
        image: `ImageSpec` of its images.
        exemplars_per_class: default number of exemplars per class.
        min_updates: default number of updates that a step has at least.
    """

    name: str
    class_names: tuple[str, ...]
    kind: str
    image: ImageSpec
    exemplars_per_class: int = NamedDataset.exemplars_per_class
    min_updates: int = 0
