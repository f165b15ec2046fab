"""Data set on which exported models are scored: that of their run, or a named one.

Imports no TensorFlow.
"""

import dataclasses

from bsce_keras.config import StreamConfig
from bsce_keras.config.recorded import from_record
from bsce_keras.data.catalog import NAMES_TEXT, describe_dataset
from bsce_keras.data.folder_listing import evaluation_folder, training_folder
from bsce_keras.data.given_images import ARRAYS
from bsce_keras.options.conflicts import without_effect
from bsce_keras.records.run_records import read_run
from bsce_keras.runtime.errors import RequestError, refuse
from bsce_keras.runtime.text import listed


def run_stream(run_dir, values, fetch=False):
    """Returns the `StreamConfig` of a run with the current location of its images.

    Args:
        run_dir: the run folder.
        values: flags of the data set: `data_dir`, `cache_dir`, `on_bad_image` and
            `download`.
        fetch: True fetches a missing data set if `--download` was given.

    Raises:
        RequestError: the run is damaged or of another version, its images are gone, or
            a flag has no effect on its data set.
    """
    stream = recorded_stream(run_dir)
    refuse(without_effect(stream.dataset, values).values())
    names = ("data_dir", "cache_dir", "on_bad_image")
    given = {name: value for name in names if (value := getattr(values, name))}
    stream = dataclasses.replace(stream, **given)
    # Images may be missing while a request with --download is only checked.
    if fetch or not values.download:
        _check_images(stream, values.download)
    return stream


def recorded_stream(run_dir):
    """Returns the `StreamConfig` of a run, from its config.json."""
    fields = read_run(run_dir).config["stream"]
    try:
        return from_record(StreamConfig, fields)
    except (AttributeError, KeyError, TypeError) as error:
        raise RequestError(
            f"{run_dir}/config.json is from another version of bsce_keras ({error}). "
            "Install the version that its versions.json names, or score each export "
            "with --model and --dataset."
        ) from error


def _check_images(stream, download):
    """Refuses a data set that is missing or has other classes than the run."""
    if stream.dataset == ARRAYS:
        raise RequestError(
            "The images of this run were arrays in memory, which no command can read. "
            "Name other images by --dataset, for evaluate with --model=EXPORT."
        )
    if stream.dataset == "folder":
        # Scoring needs neither training images nor classes that arrived later.
        _check_folder(stream)
        return
    info = describe_dataset(stream.dataset, stream.data_dir, download=download)
    if info.class_names != stream.class_names:
        raise RequestError(
            f"The classes of {stream.dataset} are no longer those of the run. Then: "
            f"{listed(stream.class_names)}. Now: {listed(info.class_names)}. Use "
            "--data_dir=DIR with the copy that the run was trained on."
        )


def _check_folder(stream):
    folder = evaluation_folder(stream.data_dir)
    if stream.validation_share:
        folder = training_folder(stream.data_dir)
        gone = [n for n in stream.arriving_class_names if not (folder / n).is_dir()]
        if gone:
            raise RequestError(
                f"The run is scored on held-out training images, but {folder} lacks "
                f"those of {listed(gone)}. Use --data_dir=DIR with the folder that "
                "holds them now."
            )
    elif not folder.is_dir():
        raise RequestError(
            f"The test images of the run are gone from {folder}. Use --data_dir=DIR "
            "with the folder that holds test/CLASS/* now."
        )


def dataset_stream(values, fetch=False):
    """Returns a `StreamConfig` with all classes of a data set as one step, by id."""
    if not values.dataset:
        raise RequestError(f"--model needs --dataset: {NAMES_TEXT}")
    refuse(without_effect(values.dataset, values).values())
    if values.download and not fetch:
        return None
    info = describe_dataset(
        values.dataset, values.data_dir, download=values.download, test_only=True
    )
    return StreamConfig(
        dataset=values.dataset,
        data_dir=values.data_dir,
        class_names=info.class_names,
        class_order="sorted",
        order=tuple(range(len(info.class_names))),
        num_base_classes=len(info.class_names),
        increments=(),
        image=info.image,
        on_bad_image=values.on_bad_image or StreamConfig.on_bad_image,
        cache_dir=values.cache_dir,
    )
