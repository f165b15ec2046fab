"""Images of a data set prepared by TensorFlow Datasets, decoded."""

import contextlib
import os

import numpy as np
import tensorflow as tf

from bsce_keras.data import imagenet, tfds_copy
from bsce_keras.data.decoded_splits import decoded_splits
from bsce_keras.data.examples import numbered
from bsce_keras.data.no_autotuner import without_autotuner
from bsce_keras.data.splits import BATCH, ImageDataset, Split, form, square
from bsce_keras.runtime.errors import RequestError, RunError


def load_tfds(stream_config, training_images, test_images):
    """Returns the `ImageDataset` of a copy prepared by TFDS; see `load_dataset`."""
    import tensorflow_datasets as tfds

    name = tfds_copy.tfds_name(stream_config.dataset)
    prepared = tfds_copy.find_prepared(name, stream_config.data_dir)
    if prepared is None:
        raise RequestError(
            f"The prepared copy of {name} is missing in "
            f"{tfds_copy.tfds_dir(stream_config.data_dir)}. Restore it, or pass "
            "--data_dir=DIR, a TFDS directory that holds another."
        )
    tfds_copy.refuse_foreign_classes(prepared)
    with _damage_named(prepared):
        # Built from the files only: without builder code, registration or network.
        builder = tfds.builder_from_directory(prepared)
        candidates = tfds_copy.evaluation_splits(stream_config.dataset, prepared)
        wanted = {
            "train": training_images,
            _labelled_split(builder, candidates): test_images,
        }
        splits = [
            _tfds_split(builder, split, is_wanted, stream_config)
            for split, is_wanted in wanted.items()
        ]
    decoded = decoded_splits(splits, stream_config)
    return ImageDataset(
        *(
            _in_order(one, builder, split, stream_config)
            for one, split in zip(decoded, wanted, strict=True)
        )
    )


@contextlib.contextmanager
def _damage_named(prepared):
    """Turns an exception of TFDS about a prepared copy into a `RunError`."""
    try:
        yield
    except (RequestError, RunError):
        raise
    except Exception as error:  # TFDS does not document its exceptions.
        reason = getattr(error, "message", None) or repr(error)
        raise RunError(
            f"The prepared copy {prepared} is damaged: {reason}. Delete it and prepare "
            "it again, or pass --data_dir=DIR, a TFDS directory that holds another."
        ) from error


def _labelled_split(builder, candidates):
    """Returns the first labelled split; TFDS writes -1 for images without labels."""
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
    """Upper bound of the number of images of a split."""
    num_images = builder.info.splits[split].num_examples
    if dataset == imagenet.SUBSET:
        return min(num_images, imagenet.MOST_SUBSET_IMAGES[split])
    return num_images


def _tfds_split(builder, split, is_wanted, stream_config):
    """Returns the `Split` in file order; keys are its `id` feature, if it has one."""
    image, num_classes = stream_config.image, len(stream_config.class_names)
    is_subset = stream_config.dataset == imagenet.SUBSET

    # The functions use only TensorFlow operations, so conversion only costs time.
    @tf.autograph.experimental.do_not_convert
    def read(record):
        key = record.get("id", tf.constant(0))
        return key, record["label"], square(record["image"], image)

    def batches(keys):
        with _damage_named(builder.data_path):
            records = _records(builder, split).take(-1 if is_wanted else 0)
            if is_subset:
                # Filter first, because decoding takes most of the time.
                records = records.filter(lambda record: record["label"] < num_classes)
            squares = records.skip(len(keys)).map(read, tf.data.AUTOTUNE)
            yield from without_autotuner(squares.batch(BATCH)).as_numpy_iterator()

    def of():
        with _damage_named(builder.data_path):
            paths = builder.info.splits[split].filepaths
            return {
                "dataset": builder.info.full_name,
                "split": split,
                "first_classes": num_classes if is_subset else None,
                "files": [[os.path.basename(p), os.path.getsize(p)] for p in paths],
                **form(image),
            }

    num_images = _num_images(builder, split, stream_config.dataset) if is_wanted else 0
    title = f"{stream_config.dataset.removeprefix('tfds:')}_{split}"
    return Split(title, of, image, num_images, batches, lambda keys: [])


def _in_order(decoded, builder, split, stream_config):
    """Returns the `Examples` of a split in the order of its keys."""
    num_classes = len(stream_config.class_names)
    unknown = np.setdiff1d(decoded.labels, np.arange(num_classes))
    if len(unknown):
        raise RequestError(
            f"Every image of the split `{split}` of {builder.name} needs a label in "
            f"[0, {num_classes}). Received: "
            f"{', '.join(map(str, unknown))}. Write only the labelled images into "
            "folders, and use --dataset=folder."
        )
    order = np.argsort(decoded.keys, kind="stable")
    return numbered(decoded.images[order], decoded.labels[order])


def _records(builder, split):
    """Returns the records of a split in a fixed order, with encoded images."""
    import tensorflow_datasets as tfds

    return builder.as_dataset(
        split=split,
        shuffle_files=False,
        # Read shards one after the other, in the order they were written.
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        decoders={"image": tfds.decode.SkipDecoding()},
    )
