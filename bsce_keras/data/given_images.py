"""Images that Python code hands over: arrays, or a `tf.data.Dataset`."""

import dataclasses
import hashlib

import numpy as np

from bsce_keras.config import ImageSpec
from bsce_keras.data.named_dataset import DatasetInfo
from bsce_keras.runtime.errors import RequestError, refuse
from bsce_keras.runtime.text import listed

# Value of `StreamConfig.dataset` for such images.
ARRAYS = "arrays"
_FORM = (
    "a pair (images, labels), or a finite tf.data.Dataset of such pairs: images are "
    "uint8, shape (num_images, height, width, channels), labels are integers from 0, "
    "shape (num_images,)"
)
# Pixels of photos do not end below this value. Images scaled to [0, 1] do, also where
# resizing or a change of contrast exceeded 1.
_DARK = 8


class GivenImages:
    """Training and test images of a Python caller, with class names.

    A configuration refers to it. It is no part of config.json: data.json has the
    digests of the images, by which a run recognises them.

    Args:
        train, test: pairs `(images, labels)`, uint8 and int64; `test` may be None.
        class_names: names indexed by label.
    """

    def __init__(self, train, test, class_names):
        self.train = train
        self.test = test
        self.class_names = tuple(class_names)

    def images_per_class(self, class_ids):
        """Returns the number of training images of each of some classes, as a list."""
        counts = np.bincount(self.train[1], minlength=len(self.class_names))
        return counts[list(class_ids)].tolist()

    def __deepcopy__(self, memo):
        return self  # Configurations are copied; images are not.


def given_images(data, test_data=None, class_names=None):
    """Reads the images of a Python caller.

    Images of a class are sorted by their pixels, so that a shuffled data set is the
    same data.

    Args:
        data: training images, `(images, labels)` or a `tf.data.Dataset` of such pairs,
            batched or not.
        test_data: test images in the same form, or None.
        class_names: names indexed by label; the labels as text by default.

    Returns:
        `GivenImages`.

    Raises:
        RequestError: images or labels have another form.
    """
    train = _pair("dataset", data)
    test = None if test_data is None else _pair("test_data", test_data)
    if test is not None and test[0].shape[1:] != train[0].shape[1:]:
        raise RequestError(
            f"Images of test_data must have the shape {train[0].shape[1:]} of the "
            f"training images. Received: {test[0].shape[1:]}"
        )
    largest = max(int(labels.max()) for _, labels in filter(None, (train, test)))
    if class_names is None:
        class_names = [str(label) for label in range(largest + 1)]
    if largest >= len(class_names) or len({*class_names}) < len(class_names):
        raise RequestError(
            f"class_names must be at least {largest + 1} different names, one for each "
            f"label. Received: {len(class_names)} names, {len({*class_names})} "
            "different"
        )
    return GivenImages(train, test, class_names)


def describe_arrays(asked):
    """Returns the `DatasetInfo` of the images of a `DatasetRequest`."""
    given = asked.images
    if given is None:
        raise RequestError(
            f"--dataset={ARRAYS} is for images in memory, which only Python can pass: "
            "make_config((images, labels), ...)."
        )
    problems = asked.size_problems()
    if given.test is None and not asked.validation_share:
        problems.append(
            "Arrays of training images need test_data=(images, labels), or a "
            "validation_share that is held out and scored."
        )
    refuse(problems)
    _, height, width, channels = given.train[0].shape
    info = asked.info(given.class_names, len(given.train[1]))
    if height == width and asked.image_size in (None, height):
        sized = dataclasses.replace(asked, image_size=height)
        refuse(sized.size_problems())
        info = sized.info(given.class_names, len(given.train[1]))
        # The images are used as they are, with crops as for CIFAR.
        image = ImageSpec(size=height, stored_size=height, pad=height // 8)
        info = dataclasses.replace(info, image=image)
    return dataclasses.replace(info, image=_for_channels(info, channels))


def _for_channels(info: DatasetInfo, channels):
    if channels == info.image.channels:
        return info.image
    middle = (0.5,) * channels
    return dataclasses.replace(info.image, channels=channels, mean=middle, std=middle)


def load_arrays(stream_config, training_images, test_images):
    """Returns the `ImageDataset` of given images; see `load_dataset`."""
    from bsce_keras.data.splits import ImageDataset

    given = stream_config.images
    if given is None:
        raise RequestError(
            "The images of this run were arrays in memory. Call run_experiment with "
            "make_config((images, labels), ...) to go on, or score an export by "
            "--model and --dataset."
        )
    nothing = (given.train[0][:0], given.train[1][:0])
    return ImageDataset(
        train=_examples(given.train if training_images else nothing, stream_config),
        test=_examples(
            given.test if test_images and given.test else nothing, stream_config
        ),
    )


def _examples(pair, stream_config):
    from bsce_keras.data.decode import fit_to_square
    from bsce_keras.data.examples import numbered
    from bsce_keras.data.stored_images import blocks

    images, labels = pair
    side = stream_config.image.stored_size
    if images.shape[1:3] != (side, side):
        squares = np.empty((len(images), side, side, images.shape[3]), np.uint8)
        filled = 0
        for block in blocks(images):
            squares[filled : filled + len(block)] = fit_to_square(block, side)
            filled += len(block)
        images = squares
    return numbered(images, labels)


def _pair(name, data):
    """Returns images and labels, sorted by label and pixels."""
    images, labels = _arrays(name, data)
    images, labels = _joined(name, np.asarray, images), np.asarray(labels)
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if images.ndim != 4 or labels.shape != images.shape[:1] or not len(labels):
        raise RequestError(
            f"{name} must be {_FORM}. Received: images of shape {images.shape}, labels "
            f"of shape {labels.shape}"
        )
    if images.shape[-1] not in (1, 3):
        raise RequestError(
            f"{name} must hold images of 1 or 3 channels, the last axis. Received: "
            f"shape {images.shape}. Drop alpha by images[..., :3], or move channels to "
            "the end by images.transpose(0, 2, 3, 1)."
        )
    labels = _as_integers(name, labels)
    images = _as_uint8(name, images)
    digests = [hashlib.blake2b(image.tobytes()).digest() for image in images]
    order = sorted(range(len(labels)), key=lambda i: (labels[i], digests[i]))
    return images[order], labels[order]


def _as_integers(name, labels):
    """Returns labels as int64; accepts floats and objects that are whole numbers."""
    if labels.dtype == object:
        labels = np.asarray(labels.tolist())
    if np.issubdtype(labels.dtype, np.number):
        with np.errstate(invalid="ignore"):
            integers = labels.real.astype(np.int64)
        odd = labels[(integers != labels) | (integers < 0)]
    else:
        integers, odd = labels, labels
    if len(odd):
        raise RequestError(
            f"Labels of {name} must be integers from 0. Received: {labels.dtype} with "
            f"{odd[0]}. Number the classes from 0, and pass their names as "
            "class_names."
        )
    return integers


def _arrays(name, data):
    if isinstance(data, (tuple, list)) and len(data) == 2:
        return data
    # Only a caller who has TensorFlow can pass a data set of it.
    if not hasattr(data, "element_spec") or not hasattr(data, "as_numpy_iterator"):
        raise RequestError(f"{name} must be {_FORM}. Received: {type(data).__name__}")
    if int(data.cardinality()) == -1:
        raise RequestError(f"{name} must be finite. Received: a repeated tf.data set")
    elements = list(data.as_numpy_iterator())
    if not elements or not isinstance(elements[0], tuple) or len(elements[0]) != 2:
        raise RequestError(f"{name} must be {_FORM}. Received: {data.element_spec}")
    images, labels = zip(*elements, strict=True)
    is_batched = _is_batch(images[0], labels[0])
    join = np.concatenate if is_batched else np.stack
    images = _joined(name, join, images)
    return images, join(labels) if is_batched else np.asarray(labels)


def _is_batch(images, labels):
    """Returns True for a batch. That of grey images may lack the axis of channels."""
    shape = np.shape(images)
    lacks_channels = len(shape) == 3 and shape[-1] not in (1, 3)
    return len(shape) == 4 or (lacks_channels and np.ndim(labels) > 0)


def _joined(name, join, images):
    """Returns `join(images)`; refuses images of several sizes."""
    try:
        return join(images)
    except ValueError as error:
        shapes = {x.shape[-3:] for x in images if hasattr(x, "shape")}
        raise RequestError(
            f"{name} must hold images of one size. Received: "
            f"{listed(map(str, sorted(shapes)))}. Resize them, for instance by "
            "keras.ops.image.resize. Image files of any size can be read by "
            "dataset='folder'."
        ) from error


def _as_uint8(name, images):
    if images.dtype.kind not in "biuf":
        raise RequestError(
            f"Images of {name} must hold numbers. Received: {images.dtype}. Convert "
            "them, for instance by images.astype('uint8')."
        )
    smallest, largest = images.min(), images.max()
    is_in_range = smallest >= 0 and 1 < largest <= 255
    if not is_in_range or (largest < _DARK and np.any(np.round(images) != images)):
        raise RequestError(
            f"{name} must hold images with values from 0 to 255. Received: "
            f"{images.dtype} from {smallest} to {largest}. Undo the scaling, for "
            "instance by (255 * images).round().astype('uint8')."
        )
    if images.dtype == np.uint8:
        return images
    return np.round(images).astype(np.uint8)
