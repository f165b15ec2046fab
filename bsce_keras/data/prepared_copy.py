"""What TFDS wrote beside the images of a prepared copy, read without TFDS."""

import json
import re

from bsce_keras import files
from bsce_keras.errors import RequestError

# Where a feature names its class: as TFDS writes it, as protocol buffers may, and as
# TFDS wrote it before version 4.5.
_CLASS_FIELDS = ("pythonClassName", "python_class_name", "type")


def versions(folder):
    """Complete copies below a folder; TFDS writes unfinished ones to other names."""
    return [
        path.parent
        for path in folder.glob("*/dataset_info.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", path.parent.name)
    ]


def version_number(prepared):
    """The version of a copy as numbers that sort."""
    return tuple(int(part) for part in prepared.name.split("."))


def class_names(prepared):
    """Names by class id; where TFDS gave classes but numbers, these.

    Raises:
        RequestError: label.labels.txt is missing or no text.
    """
    path = prepared / "label.labels.txt"
    number = None if path.exists() else _number_of_classes(prepared)
    if number is not None:
        return tuple(str(class_id) for class_id in range(number))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"The prepared copy {prepared} must hold label.labels.txt, one class name "
            f"per line. Received: {error}. Restore it from another copy, or write the "
            "images into folders and use --dataset=folder."
        ) from error
    return tuple(text.splitlines())


def _number_of_classes(prepared):
    """As features.json has it where classes have no names; None where it does not."""
    try:
        label = _read(prepared, "features")["featuresDict"]["features"]["label"]
        return int(label["classLabel"]["numClasses"])
    except (RequestError, KeyError, TypeError, ValueError):
        return None


def split_names(prepared):
    """Names of the splits in a copy.

    Raises:
        RequestError: dataset_info.json is not what TFDS writes.
    """
    try:
        return [
            str(split["name"]) for split in _read(prepared, "dataset_info")["splits"]
        ]
    except (KeyError, TypeError) as error:
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
    """Lets only copies through whose features are classes of TFDS itself.

    TFDS imports the module of every class that features.json names, and data must not
    choose what code runs.

    Raises:
        RequestError: naming the other classes.
    """
    if not (prepared / "features.json").exists():
        return  # It names nothing, and TFDS will not read it.
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
    """Every class that a description names, at any depth, in embedded JSON too."""
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
