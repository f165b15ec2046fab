"""Which classes arrive when: what was asked, the defaults, and what a run has fixed.

A run grows: what its folder says of the classes it has stays, and new classes come
after them. Free of TensorFlow.
"""

import dataclasses
import os
import pathlib

import numpy as np

from bsce_keras import config as configs
from bsce_keras.data.class_orders import class_order
from bsce_keras.records.protocol import names_by_arrival
from bsce_keras.records.run_records import read_record
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import listed

MOST_INCREMENTS_BY_DEFAULT = 5

_FORM = {
    "stream": {
        "dataset": str,
        "class_names": [str],
        "order": [int],
        "num_base_classes": int,
        "increments": [int],
    }
}


@dataclasses.dataclass(frozen=True)
class BegunStream:
    """The stream that a run folder was begun with.

    Args:
        run_dir: the folder.
        class_names: of all classes that its data set had, in the order of arrival.
        num_base_classes: classes of step 0.
        increments: new classes of steps 1..T.
    """

    run_dir: str
    class_names: tuple[str, ...]
    num_base_classes: int
    increments: tuple[int, ...]

    @property
    def arriving(self):
        """Names of the classes of its steps."""
        return self.class_names[: self.num_base_classes + sum(self.increments)]


def begun_stream(asked):
    """The `BegunStream` of the run folder a `Request` names, or None.

    None also where the folder is of another data set, which is refused later, with all
    that differs.

    Raises:
        RequestError: config.json is damaged.
    """
    path = pathlib.Path(asked.resolved_run_dir) / "config.json"
    # Of paths that there cannot be this says no; what is wrong with them is said later.
    record = read_record(path, _FORM) if os.path.isfile(path) else None
    if record is None or record["stream"]["dataset"] != asked.dataset:
        return None
    stream = record["stream"]
    try:
        names = tuple(names_by_arrival(stream))
    except IndexError as error:
        raise RequestError(
            f"{path} is damaged (stream.order names a class that there is not). "
            "Restore it from a copy, or give another folder."
        ) from error
    return BegunStream(
        str(asked.resolved_run_dir),
        names,
        stream["num_base_classes"],
        tuple(stream["increments"]),
    )


def stream_config(asked, info, begun, problems):
    """The `StreamConfig` of a request, or None once its problems are noted.

    Args:
        asked: the `Request`.
        info: the `DatasetInfo` of its data set, the classes of `begun` included.
        begun: the `BegunStream` of its run folder, or None.
        problems: list with `attempt`, see `request`.
    """
    is_folder = asked.dataset == "folder"
    num_classes = len(info.class_names)
    order_name = asked.class_order or ("arrival" if is_folder else "lucir")
    order = problems.attempt(_order, order_name, info, begun if is_folder else None)
    num_base = asked.num_base_classes
    if num_base is None and is_folder and begun:
        # Half of the classes there were; more may have come since.
        num_base = begun.num_base_classes
    elif num_base is None:
        num_base = (num_classes + 1) // 2
    increments = problems.attempt(_increments, asked, begun, num_base, num_classes)
    if is_folder and begun and increments == begun.increments:
        problems.attempt(_refuse_other_folder, asked, info, begun)
    settings = {"data_dir": None} | asked.fields("stream")
    if settings["data_dir"] is not None:
        # Later commands may run in another folder.
        settings["data_dir"] = os.path.abspath(os.path.expanduser(settings["data_dir"]))
    settings |= {"class_order": order_name, "num_base_classes": num_base}
    return problems.attempt(
        configs.StreamConfig,
        **settings,
        class_names=tuple(info.class_names),
        # Stand-ins where something was refused, so that the rest is still checked.
        order=tuple(range(num_classes) if order is None else order.tolist()),
        increments=increments or (),
        image=info.image,
    )


def _order(name, info, begun):
    """Class ids by arrival: those of the run as they came, then the new ones."""
    names = info.class_names
    if begun is None or os.path.isfile(name):
        return class_order(name, len(names), names)
    ids = {class_name: class_id for class_id, class_name in enumerate(names)}
    came = [ids[class_name] for class_name in begun.class_names if class_name in ids]
    new = np.setdiff1d(np.arange(len(names)), came)
    if len(new):
        new = new[class_order(name, len(new))]
    return np.concatenate([came, new]).astype(np.int64)


def _increments(asked, begun, num_base, num_classes):
    """New classes of steps 1..T: as asked for, or the rest in equal parts."""
    if asked.increments is not None:
        return tuple(asked.increments)
    if not 1 <= num_base <= num_classes:
        return ()  # StreamConfig says what is wrong with the base classes.
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
            f"{num_base} base classes. Numbers of increments that do: "
            f"{', '.join(map(str, fitting or [0]))}. (Uneven increments: "
            "make_config(..., increments=[...]) in Python.)"
        )
    return (rest // count,) * count


def _goes_on(asked, begun, num_base, num_classes):
    """Whether the steps of the run are the first ones of those asked for."""
    if num_base != begun.num_base_classes:
        return False
    if asked.dataset == "folder":
        return True
    # Without a number, other data sets are cut as they always are.
    count, had = asked.num_increments or 0, len(begun.increments)
    is_whole = len(begun.arriving) == num_classes
    return count == had if is_whole else count > had


def _further_increments(asked, begun, num_classes):
    """The steps of the run, then the classes that are left in equal parts."""
    had = len(begun.increments)
    count = had if asked.num_increments is None else asked.num_increments
    if count <= had:
        return begun.increments[:count]
    rest = num_classes - len(begun.arriving)
    fitting = _divisors(rest)
    if not fitting:
        raise RequestError(
            f"--num_increments={count}: {begun.run_dir} has {had}, and "
            f"{asked.data_dir} holds no further class. Add class folders, or give "
            f"--num_increments={had}."
        )
    if count - had not in fitting:
        raise RequestError(
            f"--num_increments={count} adds {count - had} to the {had} of "
            f"{begun.run_dir}, which does not divide the {rest} classes left. Numbers "
            f"that do: {', '.join(str(had + parts) for parts in fitting)}. (Uneven "
            "increments: make_config(..., increments=[...]) in Python.)"
        )
    return begun.increments + (rest // (count - had),) * (count - had)


def _divisors(number):
    return [n for n in range(1, number + 1) if number % n == 0]


def _refuse_other_folder(asked, info, begun):
    """Classes of a run may be gone, but not all of them while there are only others."""
    train = pathlib.Path(asked.data_dir).expanduser() / "train"
    others = set(info.class_names) - set(begun.class_names)
    if others and not any((train / name).is_dir() for name in begun.arriving):
        raise RequestError(
            f"{train} holds none of the classes of the run in {begun.run_dir} "
            f"({listed(begun.arriving)}) but others ({listed(sorted(others))}). Give "
            "the --data_dir of that run, another --run_dir, or, to learn these classes "
            f"on top, --num_increments={len(begun.increments) + 1}."
        )
