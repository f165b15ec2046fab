"""Order and number of the classes of every step, for new runs and runs that grow.

A run that grows keeps its classes and their order. New classes are appended. Imports no
TensorFlow.
"""

import dataclasses
import os
import pathlib

import numpy as np

from bsce_keras import config as configs
from bsce_keras.config.choices import KINDS
from bsce_keras.data.catalog import find_dataset
from bsce_keras.data.class_orders import class_order, listed_order
from bsce_keras.data.folder_listing import training_folder
from bsce_keras.data.given_images import ARRAYS
from bsce_keras.records.protocol import names_by_arrival
from bsce_keras.records.run_records import read_record
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import listed

MOST_INCREMENTS_BY_DEFAULT = 5
# Name of a class order that Python code listed.
LISTED = "listed"
# Data sets to which classes may be added, by default in the order of arrival.
_GROWING = ("folder", ARRAYS)

_FORM = {
    "stream": {
        "dataset": str,
        "class_names": [str],
        "order": [int],
        "num_base_classes": int,
        "increments": [int],
        "kind": str,
    }
}


@dataclasses.dataclass(frozen=True)
class BegunStream:
    """The stream that a run folder was begun with.

    Args:
        run_dir: the folder.
        class_names: names of all classes that its data set had, in arrival order.
        num_base_classes: number of classes of step 0.
        increments: numbers of new classes of steps 1..T.
        kind: kind of the data set when the run began, one of `KINDS`.
    """

    run_dir: str
    class_names: tuple[str, ...]
    num_base_classes: int
    increments: tuple[int, ...]
    kind: str

    @property
    def arriving(self):
        """Names of the classes of its steps."""
        return self.class_names[: self.num_base_classes + sum(self.increments)]


def begun_stream(asked):
    """Returns the `BegunStream` of the run folder of a `Request`, or None.

    It is None too if the folder belongs to another data set. `check_same_run` refuses
    that later and names all differences.

    Raises:
        RequestError: config.json is damaged.
    """
    path = pathlib.Path(asked.resolved_run_dir) / "config.json"
    # `isfile` is False for impossible paths, which `folder_problems` reports.
    record = read_record(path, _FORM) if os.path.isfile(path) else None
    if record is None or record["stream"]["dataset"] != asked.dataset:
        return None
    stream = record["stream"]
    if stream["kind"] not in KINDS:
        raise RequestError(
            f"{path} is damaged (stream.kind must be one of {', '.join(KINDS)}). "
            "Restore it from a copy, or use another folder."
        )
    try:
        names = tuple(names_by_arrival(stream))
    except IndexError as error:
        raise RequestError(
            f"{path} is damaged (stream.order names a class that does not exist). "
            "Restore it from a copy, or use another folder."
        ) from error
    return BegunStream(
        str(asked.resolved_run_dir),
        names,
        stream["num_base_classes"],
        tuple(stream["increments"]),
        stream["kind"],
    )


def stream_config(asked, info, begun, initial, problems):
    """Returns the `StreamConfig` of a request, or None after noting its problems.

    Args:
        asked: the `Request`.
        info: the `DatasetInfo` of its data set, with the classes of `begun`.
        begun: the `BegunStream` of its run folder, or None.
        initial: names of the classes of `--initial_model`, which come first.
        problems: list with a method `attempt`, see `make_config`.
    """
    is_folder = asked.dataset == "folder"
    grows = asked.dataset in _GROWING
    num_classes = len(info.class_names)
    order_name = asked.class_order or ("arrival" if grows else "lucir")
    first = begun.class_names if grows and begun else initial
    order = problems.attempt(_order, order_name, info, first)
    if not isinstance(order_name, str):
        order_name = LISTED
    num_base = asked.num_base_classes
    if num_base is None and initial:
        num_base = len(initial)
    elif num_base is None and grows and begun:
        # Keep the base step; half of all classes may be more now.
        num_base = begun.num_base_classes
    elif num_base is None:
        num_base = (num_classes + 1) // 2
    increments = problems.attempt(_increments, asked, begun, num_base, num_classes)
    if is_folder and begun and increments == begun.increments:
        problems.attempt(_refuse_other_folder, asked, info, begun)
    settings = {"data_dir": None} | asked.fields("stream")
    if settings["data_dir"] is not None:
        # Later commands may run in another folder.
        settings["data_dir"] = os.path.abspath(settings["data_dir"])
    settings |= {"class_order": order_name, "num_base_classes": num_base}
    settings |= {"images": asked.images, "kind": info.kind}
    return problems.attempt(
        configs.StreamConfig,
        **settings,
        class_names=tuple(info.class_names),
        # Placeholders for refused values, so that the other checks run.
        order=tuple(range(num_classes) if order is None else order.tolist()),
        increments=increments or (),
        image=problems.attempt(_image, asked, info) or info.image,
    )


def _image(asked, info):
    """Returns the `ImageSpec` of a data set, changed as options ask.

    An adopted classifier goes on with whole squares, as it was trained, so training
    crops move within a border. With a frozen backbone, training sees a fixed number of
    views of an image.
    """
    changes = {}
    if asked.initial_model is not None and find_dataset(asked.dataset).image is None:
        size = info.image.size
        changes = {"stored_size": size, "pad": size // 8}
    if asked.max_image_pixels is not None:
        changes["max_pixels"] = asked.max_image_pixels
    if asked.augmentation is not None:
        changes["augmentation"] = asked.augmentation
    if asked.freeze_backbone:
        changes |= {"training_crop": "centre", "pad": 0}
    return dataclasses.replace(info.image, **changes)


def _order(name, info, first):
    """Returns class ids by arrival: those of the names `first`, then new ones."""
    names = info.class_names
    if not isinstance(name, str):
        return listed_order(name, names)
    if not first or os.path.isfile(name):
        return class_order(name, len(names), names)
    ids = {class_name: class_id for class_id, class_name in enumerate(names)}
    came = [ids[class_name] for class_name in first if class_name in ids]
    new = np.setdiff1d(np.arange(len(names)), came)
    if len(new):
        new = new[class_order(name, len(new))]
    return np.concatenate([came, new]).astype(np.int64)


def _increments(asked, begun, num_base, num_classes):
    """Returns the sizes of steps 1..T, as requested or in equal parts."""
    if asked.increments is not None:
        return tuple(asked.increments)
    if not 1 <= num_base <= num_classes:
        return ()  # StreamConfig reports the number of base classes.
    if begun and _goes_on(asked, begun, num_base, num_classes):
        return _further_increments(asked, begun, num_classes)
    rest = num_classes - num_base
    fitting = _divisors(rest)
    count = asked.num_increments
    if count is None:
        count = max((n for n in fitting if n <= MOST_INCREMENTS_BY_DEFAULT), default=0)
    if count == 0:
        return ()
    if count not in fitting:
        raise RequestError(
            f"--num_increments={count} does not divide the {rest} classes left after "
            f"{num_base} base classes. Numbers of increments that divide them: "
            f"{', '.join(map(str, fitting or [0]))}. (Uneven increments: "
            "make_config(..., increments=[...]) in Python.)"
        )
    return (rest // count,) * count


def _goes_on(asked, begun, num_base, num_classes):
    """Returns True if the requested steps begin with the steps of the run."""
    if num_base != begun.num_base_classes:
        return False
    if asked.dataset in _GROWING:
        return True
    # Without --num_increments, other data sets are split by the default rule.
    count, had = asked.num_increments or 0, len(begun.increments)
    is_whole = len(begun.arriving) == num_classes
    return count == had if is_whole else count > had


def _further_increments(asked, begun, num_classes):
    """Returns the increments of the run, then the remaining classes in equal parts."""
    had = len(begun.increments)
    count = had if asked.num_increments is None else asked.num_increments
    if count <= had:
        return begun.increments[:count]
    rest = num_classes - len(begun.arriving)
    fitting = _divisors(rest)
    if not fitting:
        raise RequestError(
            f"--num_increments={count}: {begun.run_dir} has {had}, and "
            f"{asked.data_dir or asked.dataset} holds no further class. Add class "
            f"folders, or use --num_increments={had}."
        )
    if count - had not in fitting:
        raise RequestError(
            f"--num_increments={count} adds {count - had} to the {had} of "
            f"{begun.run_dir}, which does not divide the {rest} classes left. Numbers "
            f"that divide them: {', '.join(str(had + parts) for parts in fitting)}. "
            "(Uneven increments: make_config(..., increments=[...]) in Python.)"
        )
    return begun.increments + (rest // (count - had),) * (count - had)


def _divisors(number):
    return [n for n in range(1, number + 1) if number % n == 0]


def _refuse_other_folder(asked, info, begun):
    """Refuses a folder that holds other classes but none of the classes of the run."""
    train = training_folder(asked.data_dir)
    others = set(info.class_names) - set(begun.class_names)
    if others and not any((train / name).is_dir() for name in begun.arriving):
        raise RequestError(
            f"{train} holds none of the classes of the run in {begun.run_dir} "
            f"({listed(begun.arriving)}) but others ({listed(sorted(others))}). Use "
            "the --data_dir of that run, or another --run_dir. To learn these classes "
            f"too, use --num_increments={len(begun.increments) + 1}."
        )
