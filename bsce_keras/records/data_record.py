"""data.json: digests of the training and test images of every class.

A run may continue only with the images it began with, because its exemplars and
accuracies depend on them.
"""

import logging
import pathlib

import numpy as np

from bsce_keras.data.pixel_digests import range_digests
from bsce_keras.records.run_records import read_record
from bsce_keras.runtime.errors import RequestError, refuse
from bsce_keras.runtime.files import write_json
from bsce_keras.runtime.text import listed

_NAME = "data.json"
_log = logging.getLogger(__name__)
_KINDS = {"train": "training", "test": "test"}


def image_digests(step, test=None):
    """Returns the image digests of a step's new classes.

    Args:
        step: the `Step`.
        test: `Examples` sorted by label that hold the test images of its classes; None
            leaves test images out.

    Returns:
        List of JSON-able dictionaries, one for each class in arrival order. Each has
        the name of the class, and the number of its training and test images and the
        SHA-256 of their decoded pixels.
    """
    classes = [{"name": name} for name in step.class_names]
    kinds = {"train": step.examples} | ({} if test is None else {"test": test})
    for kind, examples in kinds.items():
        labels = np.arange(step.num_old_classes, step.num_classes + 1)
        ends = np.searchsorted(examples.labels, labels).tolist()
        digests = range_digests(examples.images, ends)
        for one, images, digest in zip(classes, np.diff(ends), digests, strict=True):
            one |= {f"{kind}_images": int(images), f"{kind}_sha256": digest}
    return classes


def data_differences(run_dir, classes):
    """Returns a line for every class whose images differ from those of a run.

    Args:
        run_dir: folder of the run.
        classes: current `image_digests`, from the base step on. Only the kinds of
            images that they describe are compared.

    Raises:
        RequestError: data.json is damaged or missing.
    """
    recorded = recorded_classes(run_dir)
    if not recorded:
        raise RequestError(
            f"{run_dir} has no data.json, the record of its training images. Repeat "
            "the training command of that run, which writes the file."
        )
    return image_differences(recorded, classes)


def warn_of_other_images(run_dir, stream):
    """Warns if the test images of a run are no longer those that it was scored on.

    Args:
        run_dir: the run folder. Without a data.json, there is no warning.
        stream: its `ClassIncrementalStream`, which may lack training images.

    Raises:
        RequestError: data.json is damaged.
    """
    now = [
        {key: value for key, value in one.items() if not key.startswith("train_")}
        for step in stream_digests(stream)
        for one in step
    ]
    differences = image_differences(recorded_classes(run_dir), now)
    if not differences:
        return
    learned = ""
    if stream.config.validation_share:
        learned = (
            " They are held-out training images, chosen by the number of images of "
            "their class, so the run may have trained on some of these."
        )
    _log.warning(
        "The images are not those that %s was scored on: %s.%s",
        run_dir,
        listed(differences, 3),
        learned,
    )


def stream_digests(stream):
    """Returns the `image_digests` of every step of a `ClassIncrementalStream`."""
    test = stream.seen_test(stream.steps[-1])
    return [image_digests(step, test) for step in stream.steps]


def keep_data_record(run_dir, stream, num_begun_steps, num_finished_steps):
    """Writes data.json, unless a begun step used other images.

    Classes of steps that are not begun may change. Classes of finished steps may have
    lost all their images; their recorded digests stay.

    Args:
        run_dir: the run folder.
        stream: its `ClassIncrementalStream`.
        num_begun_steps: number of steps that are finished or have progress.
        num_finished_steps: number of finished steps.

    Raises:
        RequestError: images differ, with a line for each class, a learned class has
            another name now, or data.json is damaged.
    """
    recorded = recorded_classes(run_dir)
    digests = stream_digests(stream)
    finished = [one for step in digests[:num_finished_steps] for one in step]
    new = [one for step in digests[num_finished_steps:] for one in step]
    refuse(_renamed(recorded, finished, new))
    for then, now in zip(recorded, finished, strict=False):
        _keep_lost_images(then, now)
    begun = [one for step in digests[:num_begun_steps] for one in step]
    differences = image_differences(recorded, begun)
    if differences:
        raise RequestError(
            [
                f"{run_dir} was begun with other images. Restore them to continue the "
                "run, or use another --run_dir. Differences:",
                *differences,
            ]
        )
    classes = [one for step in digests for one in step]
    write_json(pathlib.Path(run_dir, _NAME), {"classes": classes})


def recorded_classes(run_dir):
    """Returns the `image_digests` of data.json; an empty list without the file."""
    record = read_record(pathlib.Path(run_dir, _NAME), {"classes": [{"name": str}]})
    return record["classes"] if record else []


def _renamed(recorded, finished, new):
    """Returns a sentence for every new class that is a learned class renamed."""
    lost = {
        then.get("train_sha256"): then["name"]
        for then, now in zip(recorded, finished, strict=False)
        if then["name"] == now["name"] and now["train_images"] == 0
    }
    return [
        f"The new class {one['name']} has the training images of "
        f"{lost[one['train_sha256']]}, a learned class that has none now. Classes of a "
        f"run keep their names: rename {one['name']} to {lost[one['train_sha256']]} "
        "among training and test images."
        for one in new
        if one["train_images"] and one["train_sha256"] in lost
    ]


def _keep_lost_images(then, now):
    """Copies recorded digests to a class that has no images left."""
    for kind in _KINDS:
        fields = (f"{kind}_images", f"{kind}_sha256")
        same_class = then["name"] == now["name"]
        if same_class and now[fields[0]] == 0 and {*fields} <= set(then):
            now |= {field: then[field] for field in fields}


def image_differences(recorded, classes):
    """Returns a line for every class whose images differ from the recorded ones.

    Args:
        recorded, classes: lists of `image_digests`, compared position by position.
    """
    return [
        f"class {now['name']}: {difference}"
        for then, now in zip(recorded, classes, strict=False)
        for difference in _class_differences(then, now)
    ]


def _class_differences(then, now):
    if then["name"] != now["name"]:
        yield f"its place in the class order was that of {then['name']}"
        return
    for kind, word in _KINDS.items():
        if f"{kind}_sha256" not in now:
            continue
        before, after = then.get(f"{kind}_images"), now[f"{kind}_images"]
        if before != after:
            yield f"{before} {word} images recorded, {after} now"
        elif then.get(f"{kind}_sha256") != now[f"{kind}_sha256"]:
            yield f"{after} {word} images as before, but different or reordered"
