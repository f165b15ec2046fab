"""Orders in which classes arrive: published, seeded, sorted, or read from a file.

`order[label]` is the data set's class id of the class learned at position `label`.
The published orders come from NumPy's legacy generator, whose numbers never change.
The generator is a separate object, so the global random state does not change.
"""

import collections
import os
import pathlib

import numpy as np

from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import did_you_mean, whole_number

NAMES = ("lucir", "icarl", "seed:N", "sorted", "arrival")


def class_order(name, num_classes, class_names=None):
    """Returns the class ids in the order of their arrival.

    Args:
        name: one of
            `lucir`: legacy NumPy generator, seed 1993 (Hou et al., CVPR 2019, code);
            `icarl`: the same seed after iCaRL's shuffles of 100 x 500 images, the
                order of iCaRL, BiC and PODNet on CIFAR-100; 100 classes only;
            `seed:N`: legacy generator with seed N;
            `sorted`, `arrival`: by class id, which is the order of names for folders;
            or the path of a file with one class name or class id per line. A line that
            could be both is a name.
        num_classes: number of classes of the data set.
        class_names: names indexed by class id; a file of names needs them.

    Returns:
        int64 array, shape `(num_classes,)`, a permutation of `range(num_classes)`.

    Raises:
        RequestError: the name is unknown, or the file has missing, repeated or unknown
            classes.

    Example:

    >>> class_order("lucir", 100)[:5].tolist()
    [68, 56, 78, 8, 23]
    """
    if name == "lucir":
        return _seeded_order(1993, num_classes)
    if name == "icarl":
        return _icarl_order(num_classes)
    if name in ("sorted", "arrival"):
        return np.arange(num_classes, dtype=np.int64)
    if name.startswith("seed:"):
        return _seeded_order(_seed(name), num_classes)
    path = os.path.expanduser(name)
    if os.path.isfile(path):
        return _order_from_file(path, num_classes, class_names or ())
    raise RequestError(_unknown(name))


def _seeded_order(seed, num_classes):
    return np.random.RandomState(seed).permutation(num_classes).astype(np.int64)


def _icarl_order(num_classes):
    if num_classes != 100:
        raise RequestError(
            "--class_order=icarl is defined for 100 classes only. Received: "
            f"{num_classes} classes. Use lucir (also seed 1993) or seed:N."
        )
    # iCaRL's loader shuffles the 500 images of each class before the classes, with the
    # same generator. The draws in between give an order other than LUCIR's.
    generator = np.random.RandomState(1993)
    for _ in range(100):
        generator.shuffle(np.arange(500))
    order = np.arange(100, dtype=np.int64)
    generator.shuffle(order)
    return order


def _seed(name):
    seed = whole_number(name.removeprefix("seed:"))
    if seed is not None and seed < 2**32:
        return seed
    raise RequestError(
        "--class_order=seed:N needs an integer N in [0, 2**32), such as seed:7. "
        f"Received: {name!r}"
    )


def listed_order(entries, class_names):
    """Returns the class ids in the order of a list.

    Args:
        entries: name or id of every class, by arrival.
        class_names: names indexed by class id.

    Raises:
        RequestError: classes are missing, repeated or unknown.
    """
    return _ids("class_order", list(map(str, entries)), len(class_names), class_names)


def _order_from_file(path, num_classes, class_names):
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"The class order file {path} must be UTF-8 text with one class name or "
            f"id per line. Received: {error}"
        ) from error
    entries = [line.strip() for line in lines if line.strip()]
    source = f"The class order file {path}"
    return _ids(source, entries, num_classes, class_names)


def _ids(source, entries, num_classes, class_names):
    ids_by_name = {name: index for index, name in enumerate(class_names)}
    ids = [_class_id(entry, ids_by_name, num_classes) for entry in entries]
    _check_complete(source, entries, ids, num_classes, class_names)
    return np.array(ids, dtype=np.int64)


def _class_id(entry, ids_by_name, num_classes):
    if entry in ids_by_name:
        return ids_by_name[entry]
    class_id = whole_number(entry)
    return class_id if class_id is not None and class_id < num_classes else None


def _check_complete(source, entries, ids, num_classes, class_names):
    times = collections.Counter(class_id for class_id in ids if class_id is not None)
    groups = {
        "missing": sorted(set(range(num_classes)) - times.keys()),
        "repeated": sorted(
            class_id for class_id, number in times.items() if number > 1
        ),
    }
    found = {
        kind: [class_names[i] if class_names else str(i) for i in group]
        for kind, group in groups.items()
    }
    found["unknown"] = [e for e, i in zip(entries, ids, strict=True) if i is None]
    wrong = [f"{kind}: {', '.join(names)}" for kind, names in found.items() if names]
    if wrong:
        raise RequestError(
            f"{source} must name each of the {num_classes} classes exactly once, by "
            f"name or id. Received {'; '.join(wrong)}."
        )


def _unknown(name):
    return (
        f"--class_order must be one of {', '.join(NAMES)}, or the path of a file with "
        f"one class name or id per line. Received: {name!r}, which is not a file."
        f"{did_you_mean(name, NAMES)}"
    )
