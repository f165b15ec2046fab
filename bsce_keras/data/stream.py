"""Stream of steps: the order in which images arrive, and their labels."""

import dataclasses

import numpy as np

from bsce_keras.data.datasets import load_dataset
from bsce_keras.data.examples import Examples
from bsce_keras.data.splits import ImageDataset
from bsce_keras.data.validation import held_out


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One arrival of new classes.

    Args:
        index: number of the step; 0 is the base step.
        num_old_classes: number of classes of all earlier steps.
        num_new_classes: number of classes that arrive at this step.
        class_names: names of the new classes, in the order of their labels.
        examples: training images of the new classes. Labels are positions in arrival
            order, in `[num_old_classes, num_classes)`.
        earlier: training images of all earlier classes, used by methods that train on
            them again; None at the base step.
    """

    index: int
    num_old_classes: int
    num_new_classes: int
    class_names: tuple[str, ...]
    examples: Examples
    earlier: Examples | None = None

    @property
    def num_classes(self):
        """Number of classes seen up to and including this step."""
        return self.num_old_classes + self.num_new_classes


class ClassIncrementalStream:
    """Data set divided into a base step and increments of new classes.

    All images are read once and sorted by arrival. Steps and test sets are views of the
    same arrays and take no further memory. With a `validation_share`, the test images
    are held-out training images that steps do not have. The test images of the data set
    are then not read.

    Args:
        config: a `config.StreamConfig`; increments may differ in size.
        training_images: False leaves the steps without images. Trained classes can be
            scored, but not trained.

    Attributes:
        config: the `config.StreamConfig`.
        dataset: the `ImageDataset` in arrival order; labels are class ids.
        steps: list of the `Step`s, base step first.

    Raises:
        RequestError, RunError: raised by `load_dataset`.
    """

    def __init__(self, config, training_images=True):
        self.config = config
        # Label by class id: the inverse permutation of the order.
        label_of = np.argsort(np.array(config.order, dtype=np.int64))
        load = _load_held_out if config.validation_share else load_dataset
        loaded = load(config, training_images)
        self.dataset = ImageDataset(
            train=_by_arrival(loaded.train, label_of),
            test=_by_arrival(loaded.test, label_of),
            skipped_images=loaded.skipped_images,
        )
        self._train = _relabelled(self.dataset.train, label_of)
        self._test = _relabelled(self.dataset.test, label_of)
        self.steps = self._make_steps()

    def seen_test(self, step):
        """Returns the test images of all classes up to a step, sorted by label and id.

        Args:
            step: a `Step` of this stream.

        Returns:
            `Examples` with labels in `[0, step.num_classes)`.
        """
        return _label_range(self._test, 0, step.num_classes)

    def classes_without_test_images(self):
        """Returns the names of arriving classes without test images, in order."""
        names = self.config.arriving_class_names
        scored = set(np.unique(self._test.labels).tolist())
        return [name for label, name in enumerate(names) if label not in scored]

    def _make_steps(self):
        sizes = (self.config.num_base_classes, *self.config.increments)
        ends = np.cumsum(sizes).tolist()
        names = self.config.arriving_class_names
        return [
            Step(
                index=index,
                num_old_classes=end - size,
                num_new_classes=size,
                class_names=names[end - size : end],
                examples=_label_range(self._train, end - size, end),
                earlier=_label_range(self._train, 0, end - size) if index else None,
            )
            for index, (size, end) in enumerate(zip(sizes, ends, strict=True))
        ]


def _load_held_out(config, training_images):
    """Loads a data set with held-out training images as its test images."""
    loaded = load_dataset(config, test_images=False)
    train = loaded.train
    is_test = held_out(train.labels, config.validation_share, config.class_names)
    return ImageDataset(
        train=train.select(~is_test & training_images),
        test=train.select(is_test),
        skipped_images=loaded.skipped_images,
    )


def _by_arrival(examples, label_of):
    return examples.select(np.argsort(label_of[examples.labels], kind="stable"))


def _relabelled(examples, label_of):
    return dataclasses.replace(examples, labels=label_of[examples.labels])


def _label_range(examples, first, end):
    """Selects labels in `[first, end)` from examples sorted by label."""
    return examples.select(slice(*np.searchsorted(examples.labels, [first, end])))
