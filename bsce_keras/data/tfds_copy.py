"""Search and description of prepared copies of TFDS data sets, without TFDS.

Reads only the files that TFDS writes beside the images.
"""

import collections
import contextlib
import json
import os
import pathlib
import re

from bsce_keras.data import imagenet
from bsce_keras.runtime import files
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.text import is_line, listed

# Fields in which a feature names its class: as TFDS writes it, as protocol buffers may
# write it, and as TFDS wrote it before version 4.5.
_CLASS_FIELDS = ("pythonClassName", "python_class_name", "type")


def tfds_name(dataset):
    """Returns the name of a data set in TFDS, such as `mnist` for `tfds:mnist`."""
    if dataset == imagenet.SUBSET:
        return imagenet.WHOLE
    return dataset.removeprefix("tfds:")


def tfds_dir(data_dir):
    """Returns the TFDS directory: `data_dir`, or the default if it is None."""
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(data_dir or default).expanduser()


def find_prepared(name, data_dir=None):
    """Returns the newest prepared copy of a TFDS data set.

    Args:
        name: `NAME` or `NAME/CONFIG`; the configuration may be left out if only one is
            prepared.
        data_dir: TFDS directory, or None for the default one.

    Returns:
        The `pathlib.Path` that holds `dataset_info.json`, or None.

    Raises:
        RequestError: several configurations are prepared and the name has none.
    """
    with refused_reading():
        return _find_prepared(name, tfds_dir(data_dir) / name)


def _find_prepared(name, root):
    copies = versions(root)
    if not copies and "/" not in name and root.is_dir():
        found = {config.name: versions(config) for config in root.iterdir()}
        configs = {config: copies for config, copies in found.items() if copies}
        if len(configs) > 1:
            raise RequestError(
                f"{root} holds several configurations. Name one: "
                + ", ".join(f"--dataset=tfds:{name}/{c}" for c in sorted(configs))
            )
        copies = next(iter(configs.values()), [])
    return max(copies, key=version_number, default=None)


def evaluation_splits(dataset, prepared):
    """Lists the splits of a prepared copy that may serve as test images, best first."""
    names = split_sizes(prepared)
    return [name for name in evaluation_names(dataset) if name in names]


def evaluation_names(dataset):
    """Lists the splits that a data set may be evaluated on, best first."""
    # The labels of ImageNet's test images are not public.
    public = dataset not in imagenet.NUM_CLASSES
    return ("test", "validation") if public else ("validation",)


@contextlib.contextmanager
def refused_reading():
    """Turns an `OSError` into a `RequestError`, because the run has not begun."""
    try:
        yield
    except OSError as error:
        raise RequestError(
            f"The data set cannot be read: {error.strerror}: {error.filename}. "
            "Check --data_dir and its permissions."
        ) from error


def versions(folder):
    """Lists complete copies below a folder; TFDS gives unfinished ones other names."""
    return [
        path.parent
        for path in folder.glob("*/dataset_info.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", path.parent.name)
    ]


def version_number(prepared):
    """Returns the version of a copy as a tuple of integers."""
    return tuple(int(part) for part in prepared.name.split("."))


def class_names(prepared):
    """Names indexed by class id; class numbers if TFDS only numbers the classes.

    Raises:
        RequestError: label.labels.txt is missing or not text, or its names repeat, are
            not plain lines, or differ in number from the classes.
    """
    path = prepared / "label.labels.txt"
    number = _number_of_classes(prepared)
    if number is not None and not path.exists():
        return tuple(str(class_id) for class_id in range(number))
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"The prepared copy {prepared} must hold label.labels.txt, one class name "
            f"per line. Received: {error}. Restore it from another copy, or write the "
            "images into folders and use --dataset=folder."
        ) from error
    # `splitlines` would also split at characters that may occur inside a name.
    names = tuple(text.replace("\r\n", "\n").removesuffix("\n").split("\n"))
    wrong = _name_faults(names, number)
    if wrong:
        raise RequestError(
            f"{path} must hold a name for every class, one a line. Received: "
            f"{'; '.join(wrong)}. Restore it from another copy, or write the images "
            "into folders and use --dataset=folder."
        )
    return names


def _name_faults(names, num_classes):
    """Lists the faults of lines that should be class names."""
    found = []
    if num_classes not in (None, len(names)):
        found.append(f"{len(names)} names for {num_classes} classes")
    # Empty lines are shown as ''.
    odd = [name for name in names if not is_line(name)]
    if odd:
        found.append(
            "empty names, control characters or outer spaces: "
            f"{listed(map(ascii, odd))}"
        )
    repeated = [name for name, times in collections.Counter(names).items() if times > 1]
    if repeated:
        found.append(f"repeated names: {listed(map(ascii, repeated))}")
    return found


def _number_of_classes(prepared):
    """Number of classes in features.json; None if it is absent."""
    try:
        label = _read(prepared, "features")["featuresDict"]["features"]["label"]
        return int(label["classLabel"]["numClasses"])
    except (RequestError, KeyError, TypeError, ValueError):
        return None


def split_sizes(prepared):
    """Number of images of every split in a copy, by name; None where it is not told.

    Raises:
        RequestError: dataset_info.json is not what TFDS writes.
    """
    try:
        splits = _read(prepared, "dataset_info")["splits"]
        sizes = {}
        for split in splits:
            lengths = [int(length) for length in split.get("shardLengths", [])]
            if min(lengths, default=0) < 0:
                raise ValueError(f"negative shardLengths of {split['name']}")
            sizes[str(split["name"])] = sum(lengths) or None
        return sizes
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RequestError(_not_of_tfds(prepared, "dataset_info", error)) from error


def features(prepared):
    """Names of the features in a copy, sorted.

    Raises:
        RequestError: features.json is not what TFDS writes.
    """
    try:
        return sorted(_read(prepared, "features")["featuresDict"]["features"])
    except (KeyError, TypeError) as error:
        raise RequestError(_not_of_tfds(prepared, "features", error)) from error


def refuse_foreign_classes(prepared):
    """Refuses copies with features of classes from outside TFDS.

    TFDS imports the module of every class that features.json names. Data must not
    choose the code that runs.

    Raises:
        RequestError: a class is not from TFDS; the message names it.
    """
    if not (prepared / "features.json").exists():
        return  # TFDS does not read such a copy either.
    foreign = [
        name
        for name in _named_classes(_read(prepared, "features"))
        if not name.startswith("tensorflow_datasets.")
    ]
    if foreign:
        raise RequestError(
            "Features of a prepared copy must be classes of tensorflow_datasets. "
            f"{prepared}/features.json names: {', '.join(foreign)}. Use a copy that "
            "TFDS prepared, or write its images into folders and use --dataset=folder."
        )


def _named_classes(value):
    """Lists every class that a description names, at any depth and in embedded JSON."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    if isinstance(value, dict):
        own = [value[field] for field in _CLASS_FIELDS if field in value]
        inner = value.values()
    else:
        own, inner = [], value if isinstance(value, list) else []
    named = [name for name in own if isinstance(name, str)]
    return named + [name for part in inner for name in _named_classes(part)]


def _read(prepared, name):
    try:
        return files.read_json(prepared / f"{name}.json")
    except (OSError, ValueError) as error:
        raise RequestError(_not_of_tfds(prepared, name, error)) from error


def _not_of_tfds(prepared, name, error):
    return (
        f"{prepared}/{name}.json must be readable JSON, as TFDS writes it. Received: "
        f"{error!r}. Delete this copy and prepare it again, or use another --data_dir."
    )
