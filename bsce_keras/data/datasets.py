"""Named data sets as uint8 images, indexed by class id.

Every image is decoded and cut to a square of `stored_size ** 2 * channels` bytes, and
held in memory or, with a `cache_dir`, kept on the disk: CIFAR-100 takes 184 MB, a
thousand images of 256x256 197 MB. A data set too large for the machine's memory or disk
is refused before an image is decoded.
"""

import contextlib
import dataclasses
import functools
import hashlib
import logging
import math
import os
import pathlib
import stat

import numpy as np
import tensorflow as tf

from bsce_keras.data import catalog, imagenet, prepared_copy
from bsce_keras.data.decode import decode_image, fit_to_square
from bsce_keras.data.image_cache import (
    Decoded,
    Split,
    gigabytes,
    joined,
    load_or_decode,
)
from bsce_keras.data.image_files import evaluation_folder, image_files
from bsce_keras.errors import RequestError, RunError, listed
from bsce_keras.examples import Examples
from bsce_keras.resources import available_memory

_log = logging.getLogger(__name__)

_BATCH = 256
# Raised when `decode` makes other pixels of a file: what was kept is then of no use.
_DECODER = 1
_DIGITS_PER_CLASS = 130
_UNDECODABLE = (
    "cut off, altered, no JPEG, PNG, BMP or GIF, or a BMP with a palette or compression"
)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """Training and test images; their labels are the data set's class ids.

    `skipped_images` names the files that could not be decoded and were left out.
    """

    train: Examples
    test: Examples
    skipped_images: tuple[str, ...] = ()


def load_dataset(stream_config, training_images=True, test_images=True):
    """Every image of a data set, in memory or in the cache.

    Args:
        stream_config: a `config.StreamConfig`.
        training_images, test_images: whether those are wanted; otherwise they are
            neither read nor looked for, and `train` or `test` is empty.

    Returns:
        An `ImageDataset`.

    Raises:
        RequestError: images that cannot be decoded (all of them named) while
            `on_bad_image` is `error`, or that leave nothing; no prepared copy; images
            without a label; more images than memory, or than room in the cache.
        RunError: a prepared TFDS copy is damaged.
    """
    if stream_config.dataset == "digits":
        return _load_digits(training_images, test_images)
    if stream_config.dataset == "folder":
        return _load_folder(stream_config, training_images, test_images)
    return _load_tfds(stream_config, training_images, test_images)


def prepare_dataset(dataset, data_dir=None):
    """Downloads a TFDS data set and writes its prepared copy into `data_dir`.

    Args:
        dataset: `cifar10`, `cifar100` or `tfds:NAME[/CONFIG]`, with or without the
            prefix.
        data_dir: TFDS directory, or None for the default one.

    Raises:
        RequestError: TFDS knows no such data set.
        RunError: the download failed.
    """
    import tensorflow_datasets as tfds

    name = catalog.tfds_name(dataset)
    try:
        directory = catalog.tfds_dir(data_dir)
        builder = tfds.builder(name, data_dir=directory, try_gcs=False)
        print(
            f"Fetching {name} into {directory}. If the network fails, TFDS tries again "
            "for some minutes."
        )
        builder.download_and_prepare()
    except tfds.core.DatasetNotFoundError as error:
        raise RequestError(
            f"--dataset=tfds:NAME needs a data set that TFDS knows. Received: {name}. "
            "See https://www.tensorflow.org/datasets/catalog for the names."
        ) from error
    except Exception as error:  # TFDS documents no set of exceptions.
        raise RunError(
            f"Could not download and prepare {name}: {error}. Try again with network "
            "access, or pass --data_dir=DIR, a TFDS directory that holds a prepared "
            "copy."
        ) from error


def _load_digits(training_images, test_images):
    """scikit-learn's digits: 130 images of each class train, the rest test.

    Equal counts make the base step the same under softmax and balanced softmax. The
    legacy generator with seed 0 draws them, so that the split never changes.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int64)
    generator = np.random.RandomState(0)
    is_train = np.zeros(len(labels), bool)
    for label in range(10):
        shuffled = generator.permutation(np.flatnonzero(labels == label))
        is_train[shuffled[:_DIGITS_PER_CLASS]] = True
    train, test = is_train & training_images, ~is_train & test_images
    return ImageDataset(
        train=_numbered(images[train], labels[train]),
        test=_numbered(images[test], labels[test]),
    )


def _load_folder(stream_config, training_images, test_images):
    root = pathlib.Path(stream_config.data_dir).expanduser()
    names = stream_config.class_names
    listed_files = {
        "train": _list_files(root / "train", names if training_images else ()),
        "test": _list_files(evaluation_folder(root), names if test_images else ()),
    }
    splits = [
        _folder_split(
            f"{root.absolute().name}_{split}", paths, labels, stream_config.image
        )
        for split, (paths, labels) in listed_files.items()
    ]
    (train, bad_train), (test, bad_test) = (
        _of_files(decoded, *files)
        for decoded, files in zip(
            _decoded(splits, stream_config), listed_files.values(), strict=True
        )
    )
    bad = bad_train | bad_test
    if bad and stream_config.on_bad_image == "error":
        raise RequestError(
            [
                f"{len(bad)} image files cannot be used. Replace or remove them, or "
                "leave them out with --on_bad_image=skip:",
                *(f"{path}: {reason}" for path, reason in bad.items()),
            ]
        )
    _refuse_lost_classes(bad_train, train, names)
    if test_images and not len(test):
        raise RequestError(_no_test_images(root, bad_test, names))
    if bad:
        _log.warning(
            "Left out %d images that cannot be decoded: %s.", len(bad), listed(bad)
        )
    return ImageDataset(train, test, tuple(bad))


def _no_test_images(root, bad_paths, class_names):
    folder = evaluation_folder(root)
    if bad_paths:
        return (
            f"{folder} must hold a test image that can be decoded. Received none: all "
            f"{len(bad_paths)} are damaged or unreadable. Replace some of them."
        )
    return (
        f"{folder} must hold test images in folders named after the classes, "
        f"{listed(class_names)}. It holds none. Add some, or check --data_dir."
    )


def _refuse_lost_classes(bad_paths, examples, class_names):
    kept = {class_names[label] for label in np.unique(examples.labels)}
    lost = {pathlib.Path(path).parent.name for path in bad_paths} - kept
    if lost:
        raise RequestError(
            "Every class needs a training image that can be decoded. Received none "
            f"for: {', '.join(sorted(lost))}. Add images or remove these folders."
        )


def _list_files(folder, class_names):
    """Paths of the images below a folder, class by class, and their labels."""
    by_class = [image_files(folder / name) for name in class_names]
    labels = np.repeat(
        np.arange(len(by_class), dtype=np.int64), [len(part) for part in by_class]
    )
    return [path for class_paths in by_class for path in class_paths], labels


def _folder_split(title, paths, labels, image):
    """The images of some files; their keys are positions in the list of paths."""
    # Not looked at where all of it was decoded before.
    reasons = functools.cache(lambda: [_what_is_wrong(path) for path in paths])

    def read(index, path):
        return index, _square(tf.io.read_file(path), image)

    def batches(keys):
        readable = np.flatnonzero([reason is None for reason in reasons()])
        rest = readable[readable > keys.max(initial=-1)]
        # File names are bytes: not all of them are text.
        names = tf.constant([os.fsencode(paths[index]) for index in rest], tf.string)
        indexed = tf.data.Dataset.from_tensor_slices((rest, names))
        # What cannot be decoded drops out of the stream: its index is then missing.
        decoded = indexed.map(read, tf.data.AUTOTUNE).ignore_errors()
        for indices, squares in decoded.batch(_BATCH).as_numpy_iterator():
            yield indices, labels[indices], squares

    def bad(keys):
        missing = np.setdiff1d(np.arange(len(paths)), keys).tolist()
        return [[index, reasons()[index] or _UNDECODABLE] for index in missing]

    def of():
        return {"files": listing_sha256(paths), **_form(image)}

    return Split(title, of, image, len(paths), batches, bad)


def listing_sha256(paths):
    """Of the paths, sizes and times of files, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = os.stat(path)
            facts = (status.st_mode, status.st_size, status.st_mtime_ns)
        except OSError as error:
            facts = (error.errno,)
        digest.update(os.fsencode(f"{os.path.abspath(path)}\0{facts}\0"))
    return digest.hexdigest()


def _of_files(decoded, paths, labels):
    """The `Examples` of some files, and what is wrong with the others by path."""
    # Positions in the list of the class stay when other classes come and go.
    positions = np.arange(len(paths)) - np.searchsorted(labels, labels)
    keys = decoded.keys
    examples = Examples(decoded.images, labels[keys], positions[keys])
    return examples, {paths[index]: reason for index, reason in decoded.bad}


def _what_is_wrong(path):
    """Why there is nothing to decode in a file, or None."""
    try:
        # Not opened unless it is a file: a pipe would wait for ever.
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        with open(path, "rb"):
            return None if status.st_size else "empty"
    except OSError as error:
        return error.strerror


def _load_tfds(stream_config, training_images, test_images):
    import tensorflow_datasets as tfds

    name = catalog.tfds_name(stream_config.dataset)
    prepared = catalog.find_prepared(name, stream_config.data_dir)
    if prepared is None:
        raise RequestError(
            f"The prepared copy of {name} is gone from "
            f"{catalog.tfds_dir(stream_config.data_dir)}. Restore it, or pass "
            "--data_dir=DIR, a TFDS directory that holds another."
        )
    prepared_copy.refuse_foreign_classes(prepared)
    with _damage_named(prepared):
        # From the files alone: needs no builder code, no registration and no network.
        builder = tfds.builder_from_directory(prepared)
        candidates = catalog.evaluation_splits(stream_config.dataset, prepared)
        wanted = {
            "train": training_images,
            _labelled_split(builder, candidates): test_images,
        }
        splits = [
            _tfds_split(builder, split, is_wanted, stream_config)
            for split, is_wanted in wanted.items()
        ]
    decoded = _decoded(splits, stream_config)
    return ImageDataset(
        *(
            _in_order(one, builder, split, stream_config)
            for one, split in zip(decoded, wanted, strict=True)
        )
    )


@contextlib.contextmanager
def _damage_named(prepared):
    """Turns whatever TFDS raises over a prepared copy into a `RunError`."""
    try:
        yield
    except (RequestError, RunError):
        raise
    except Exception as error:  # TFDS documents no set of exceptions.
        reason = getattr(error, "message", None) or repr(error)
        raise RunError(
            f"The prepared copy {prepared} is damaged: {reason}. Delete it and prepare "
            "it again, or pass --data_dir=DIR, a TFDS directory that holds another."
        ) from error


def _labelled_split(builder, candidates):
    """The first split whose images are labelled; TFDS writes -1 where they are not."""
    for split in candidates:
        first = next(iter(_records(builder, split).take(1)))
        if first["label"] >= 0:
            return split
    raise RequestError(
        f"{builder.name} must have labelled images in `test` or `validation`. Received "
        f"labels of -1 in {', '.join(candidates)}. Write its images into folders and "
        "use --dataset=folder."
    )


def _num_images(builder, split, dataset):
    """Images of a split, or a few more."""
    num_images = builder.info.splits[split].num_examples
    if dataset == imagenet.SUBSET:
        return min(num_images, imagenet.MOST_SUBSET_IMAGES[split])
    return num_images


def _tfds_split(builder, split, is_wanted, stream_config):
    """A split in the order of its files; keys are its `id` feature, if it has one."""
    image, num_classes = stream_config.image, len(stream_config.class_names)
    is_subset = stream_config.dataset == imagenet.SUBSET

    def read(record):
        key = record.get("id", tf.constant(0))
        return key, record["label"], _square(record["image"], image)

    def batches(keys):
        with _damage_named(builder.data_path):
            records = _records(builder, split).take(-1 if is_wanted else 0)
            if is_subset:
                # Before they are decoded, which is what takes the time.
                records = records.filter(lambda record: record["label"] < num_classes)
            squares = records.skip(len(keys)).map(read, tf.data.AUTOTUNE)
            yield from squares.batch(_BATCH).as_numpy_iterator()

    def of():
        with _damage_named(builder.data_path):
            paths = builder.info.splits[split].filepaths
            return {
                "dataset": builder.info.full_name,
                "split": split,
                "first_classes": num_classes if is_subset else None,
                "files": [[os.path.basename(p), os.path.getsize(p)] for p in paths],
                **_form(image),
            }

    num_images = _num_images(builder, split, stream_config.dataset) if is_wanted else 0
    title = f"{stream_config.dataset.removeprefix('tfds:')}_{split}"
    return Split(title, of, image, num_images, batches, lambda keys: [])


def _in_order(decoded, builder, split, stream_config):
    """The `Examples` of a split in the order of its keys."""
    num_classes = len(stream_config.class_names)
    unknown = np.setdiff1d(decoded.labels, np.arange(num_classes))
    if len(unknown):
        raise RequestError(
            f"Every image of the split `{split}` of {builder.name} needs a label in "
            f"[0, {num_classes}). Received: "
            f"{', '.join(map(str, unknown))}. Write the images into folders, without "
            "those that have no label, and use --dataset=folder."
        )
    order = np.argsort(decoded.keys, kind="stable")
    return _numbered(decoded.images[order], decoded.labels[order])


def _records(builder, split):
    """The records of a split in a fixed order, their images still encoded."""
    import tensorflow_datasets as tfds

    return builder.as_dataset(
        split=split,
        shuffle_files=False,
        # Shards one after the other, in the order they were written.
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        decoders={"image": tfds.decode.SkipDecoding()},
    )


def _square(encoded, image):
    return fit_to_square(decode_image(encoded, image.channels), image.stored_size)


def _form(image):
    """What decoded images depend on beside the files."""
    return {
        "stored_size": image.stored_size,
        "channels": image.channels,
        "decoder": _DECODER,
    }


def _decoded(splits, stream_config):
    """The `Decoded` of every split, in memory or in the cache."""
    if stream_config.cache_dir is None:
        num_images = sum(split.num_images for split in splits)
        _refuse_more_than_memory(num_images, stream_config.image)
        return [_in_memory(split) for split in splits]
    # Of nothing there is nothing to keep.
    kept = [split for split in splits if split.num_images]
    found = iter(load_or_decode(stream_config.cache_dir, kept))
    return [next(found) if split in kept else _in_memory(split) for split in splits]


def _in_memory(split):
    """A `Decoded` split as arrays, shorter than `num_images` if it was."""
    images = np.empty((split.num_images, *split.image_shape), np.uint8)
    all_keys, all_labels, filled = [], [], 0
    for keys, labels, batch in split.batches(joined([])):
        images[filled : filled + len(batch)] = batch
        filled += len(batch)
        all_keys.append(keys)
        all_labels.append(labels)
    keys = joined(all_keys)
    return Decoded(images[:filled], keys, joined(all_labels), split.bad(keys))


def _refuse_more_than_memory(num_images, image):
    shape = (num_images, image.stored_size, image.stored_size, image.channels)
    num_bytes, available = math.prod(shape), available_memory()
    _log.info("Reading %d images into %d bytes of memory.", num_images, num_bytes)
    # While they are sorted, the images are there twice.
    if 2 * num_bytes > available:
        raise RequestError(
            f"All images are held in memory: {num_images} of {image.stored_size}x"
            f"{image.stored_size}x{image.channels} take {gigabytes(num_bytes)}, and "
            f"{gigabytes(2 * num_bytes)} while they are sorted. This machine has "
            f"{gigabytes(available)} available. Keep them on the disk, where they take "
            f"{gigabytes(num_bytes)}, with --cache_dir=DIR; or use a machine with more "
            "memory, or fewer or smaller images (--image_size with folder and "
            "tfds:NAME)."
        )


def _numbered(images, labels):
    return Examples(images, labels, np.arange(len(labels), dtype=np.int64))
