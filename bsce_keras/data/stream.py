"""The stream of steps: which images arrive when, under which labels."""

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
        index: 0 is the base step.
        num_old_classes: classes of all steps before.
        num_new_classes: classes that arrive now.
        class_names: their names, in the order of their labels.
        examples: their training images; labels are positions in arrival order, so
            they lie in `[num_old_classes, num_classes)`.
        earlier: training images of all earlier classes, for methods that train on them
            again; None at the base step.
    """

    index: int
    num_old_classes: int
    num_new_classes: int
    class_names: tuple[str, ...]
    examples: Examples
    earlier: Examples | None = None

    @property
    def num_classes(self):
        """Classes seen up to and with this step."""
        return self.num_old_classes + self.num_new_classes


class ClassIncrementalStream:
    """A data set cut into a base step and increments of new classes.

    All images are read once and sorted by arrival, so that steps and test sets are
    views of the same arrays and cost no further memory. With a `validation_share` its
    test images are training images that no step has, and those of the data set are not
    looked at.

    Args:
        config: a `config.StreamConfig`; increments may differ in size.
        training_images: whether the steps have theirs; without, nothing can be learned
            but what was learned can be scored.

    Attributes:
        config: as given.
        dataset: the `ImageDataset` in arrival order; labels are class ids.
        steps: list of the `Step`s, base step first.

    Raises:
        RequestError, RunError: as `load_dataset`.
    """

    def __init__(self, config, training_images=True):
        self.config = config
        # The inverse permutation of the order: label by class id.
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
        """Test images of all classes up to a step, sorted by label, then by id.

        Args:
            step: a `Step` of this stream.

        Returns:
            `Examples` with labels in `[0, step.num_classes)`.
        """
        return _label_range(self._test, 0, step.num_classes)

    def classes_without_test_images(self):
        """Returns the names of arriving classes that have no test image, in order."""
        names = self.config.arriving_class_names
        scored = set(np.unique(self._test.labels).tolist())
        return [name for label, name in enumerate(names) if label not in scored]

    def _make_steps(self):
        sizes = (self.config.num_base_classes, *self.config.increments)
        ends = np.cumsum(sizes).tolist()
        names = self.config.arriving_class_names
        # The training images are sorted by label: a step's are one range of them.
        places = np.searchsorted(self._train.labels, [0, *ends])
        arriving = self._train.ranges(places[:-1], places[1:])
        earlier = self._train.ranges([0] * len(sizes), places[:-1])
        return [
            Step(
                index=index,
                num_old_classes=end - size,
                num_new_classes=size,
                class_names=names[end - size : end],
                examples=arriving[index],
                earlier=earlier[index] if index else None,
            )
            for index, (size, end) in enumerate(zip(sizes, ends, strict=True))
        ]


def _load_held_out(config, training_images):
    """As `load_dataset`, with some of the training images for test images."""
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
    """The examples with labels in `[first, end)`, out of examples sorted by label."""
    return examples.select(slice(*np.searchsorted(examples.labels, [first, end])))
