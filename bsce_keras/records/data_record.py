"""data.json: which images a run learned from and is scored on, class by class.

A run that goes on must do so with the images it began with: the exemplars it kept and
the accuracies it recorded are of those.
"""

import pathlib

import numpy as np

from bsce_keras.data.pixel_digests import pixel_sha256
from bsce_keras.records.run_records import read_record
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.files import write_json

_NAME = "data.json"
_KINDS = {"train": "training", "test": "test"}


def class_facts(step, test=None):
    """What tells the images of a step's new classes apart from others.

    Args:
        step: the `Step`.
        test: test images of its classes, `Examples` sorted by label; none by default.

    Returns:
        A JSON-able dictionary for each class in arrival order: its name, and of
        training and test images the number and the SHA-256 of the decoded pixels.
    """
    kinds = {"train": step.examples} | ({} if test is None else {"test": test})
    return [
        {
            "name": name,
            **{
                f"{kind}_{fact}": value
                for kind, examples in kinds.items()
                for fact, value in _facts(examples, label).items()
            },
        }
        for label, name in enumerate(step.class_names, start=step.num_old_classes)
    ]


def data_differences(run_dir, classes):
    """Lines that say which classes have other images than a run had.

    Args:
        run_dir: the run.
        classes: `class_facts` of now, from the base step on; only the kinds of images
            in there are compared.

    Raises:
        RequestError: data.json is damaged or missing.
    """
    recorded = _recorded_classes(run_dir)
    if not recorded:
        raise RequestError(
            f"{run_dir} has no data.json, the record of the images that it learned "
            "from. Repeat the training command of that run, which writes it anew."
        )
    return image_differences(recorded, classes)


def stream_facts(stream):
    """`class_facts` of every step of a `ClassIncrementalStream`, with test images."""
    return [class_facts(step, stream.seen_test(step)) for step in stream.steps]


def keep_data_record(run_dir, stream, num_begun_steps, num_finished_steps):
    """Writes data.json, unless steps were begun with other images.

    Classes of later steps may still change. Images of finished steps may be gone, class
    by class; what they were stays on record.

    Args:
        run_dir: the run folder.
        stream: its `ClassIncrementalStream`.
        num_begun_steps: steps that are finished or have progress.
        num_finished_steps: steps that are finished.

    Raises:
        RequestError: with a line for each class whose images are others; data.json is
            damaged.
    """
    recorded = _recorded_classes(run_dir)
    facts = stream_facts(stream)
    finished = [one for step in facts[:num_finished_steps] for one in step]
    for then, now in zip(recorded, finished, strict=False):
        _keep_what_is_gone(then, now)
    begun = [one for step in facts[:num_begun_steps] for one in step]
    differences = image_differences(recorded, begun)
    if differences:
        raise RequestError(
            [
                f"{run_dir} was begun with other images. Restore them to go on with "
                "it, or give another --run_dir. What differs:",
                *differences,
            ]
        )
    classes = [one for step in facts for one in step]
    write_json(pathlib.Path(run_dir, _NAME), {"classes": classes})


def _recorded_classes(run_dir):
    """The classes of data.json, none without it."""
    record = read_record(pathlib.Path(run_dir, _NAME), {"classes": [{"name": str}]})
    return record["classes"] if record else []


def _keep_what_is_gone(then, now):
    """Puts what a class had before into its facts of now, where nothing is left."""
    for kind in _KINDS:
        fields = (f"{kind}_images", f"{kind}_sha256")
        same_class = then["name"] == now["name"]
        if same_class and now[fields[0]] == 0 and {*fields} <= set(then):
            now |= {field: then[field] for field in fields}


def _facts(examples, label):
    first, end = np.searchsorted(examples.labels, [label, label + 1])
    images = examples.images[first:end]
    return {"images": len(images), "sha256": pixel_sha256(images)}


def image_differences(recorded, classes):
    """Lines that say which of `classes` have other images than they were recorded with.

    Args:
        recorded, classes: lists as `class_facts` returns them, compared place by place.
    """
    return [
        f"class {now['name']}: {difference}"
        for then, now in zip(recorded, classes, strict=False)
        for difference in _class_differences(then, now)
    ]


def _class_differences(then, now):
    if then["name"] != now["name"]:
        yield f"its place in the order was that of {then['name']}"
        return
    for kind, word in _KINDS.items():
        if f"{kind}_sha256" not in now:
            continue
        before, after = then.get(f"{kind}_images"), now[f"{kind}_images"]
        if before != after:
            yield f"{before} {word} images then, {after} now"
        elif then.get(f"{kind}_sha256") != now[f"{kind}_sha256"]:
            yield f"{after} {word} images as before, but others or in another order"
