"""Forms of the records that tables and figures are made of."""

import dataclasses
import math

import numpy as np

from bsce_keras.evaluation.scores import CURVE, DEFINITIONS
from bsce_keras.runtime.text import fits_line


@dataclasses.dataclass(frozen=True)
class _OrNone:
    """A form, or nothing."""

    form: object


@dataclasses.dataclass(frozen=True)
class _Optional:
    """A form, or nothing, of a key that earlier records do not have."""

    form: object


@dataclasses.dataclass(frozen=True)
class _Each:
    """An object whose keys are names, and whose values have a form."""

    form: object


@dataclasses.dataclass(frozen=True)
class _Number:
    """A finite number of a range, both ends included; `whole` excludes fractions."""

    lowest: float
    highest: float
    whole: bool = False


# Text of one line that UTF-8 can hold.
_LINE = object()
# Exact in float64, so that no sum or figure overflows.
_LARGEST = 2**53
_COUNT = _Number(0, _LARGEST, whole=True)
_REAL = _Number(-1e300, 1e300)
_SHARE = _OrNone(_Number(0, 1))
_REAL_OR_NONE = _OrNone(_REAL)
_COUNTS = _OrNone([_COUNT])

_BYTES = _Optional({"exemplars": _COUNT, "state": _COUNT, "teacher": _COUNT})

# An object's form is a dictionary of forms. A list's form is the form of its parts in
# brackets. Any other is a number, a line or a type.
CONFIG = {
    "stream": {
        "dataset": _LINE,
        "class_names": [_LINE],
        "order": [_COUNT],
        "num_base_classes": _COUNT,
        "increments": [_COUNT],
        "image": {},
        "validation_share": _REAL_OR_NONE,
    },
    "memory": {},
    "model": {},
    "method": {
        "name": _LINE,
        "classification_loss": _LINE,
        "alpha": _REAL,
    },
    "training": {
        "seed": _Number(-(2**64), 2**64, whole=True),
        "precision": _LINE,
        "schedule_scale": _REAL,
        "replay_sampling": _LINE,
    },
    "base_run_dir": _OrNone(str),
}
STEP = {
    "step": _COUNT,
    "num_classes": _COUNT,
    "train_images": _COUNT,
    "accuracy": _SHARE,
    "base_accuracy": _SHARE,
    "old_accuracy": _SHARE,
    "new_accuracy": _SHARE,
    "class_counts": _COUNTS,
    "exemplars_per_class": _COUNTS,
    "train_seconds": _REAL_OR_NONE,
    "images_per_second": _REAL_OR_NONE,
    "alpha": _REAL_OR_NONE,
    "alpha_gradient_mean": _REAL_OR_NONE,
    "alpha_gradient_std": _REAL_OR_NONE,
    "alpha_by_epoch": _OrNone(
        {
            "alpha_updates": [_COUNT],
            "alpha": [_REAL_OR_NONE],
            "alpha_gradient_mean": [_REAL_OR_NONE],
            "alpha_gradient_std": [_REAL_OR_NONE],
        }
    ),
    "head_accuracy": _SHARE,
    "memory_bytes": _BYTES,
    "harmonic_accuracy": _Optional(_SHARE.form),
    **{name: _Optional(_SHARE.form) for name in DEFINITIONS},
    "temperature": _Optional(_REAL),
    "calibrated_on": _Optional(str),
    "accuracy_by_alpha": _Optional(
        {"alpha": [_REAL]} | {name: [_SHARE] for name in CURVE[1:]}
    ),
    "loss_by_epoch": _Optional(_Each([_REAL])),
}
SUMMARY = {
    "average_incremental_accuracy": _SHARE,
    "final_accuracy": _SHARE,
    "final_base_accuracy": _SHARE,
    "final_old_accuracy": _SHARE,
    "final_new_accuracy": _SHARE,
    "forgetting": _OrNone(_Number(-1, 1)),
    "skipped_images": _OrNone([str]),
    "memory_bytes": _BYTES,
}
_PICTURE = {"class": _LINE, "png": str}
PICTURES = {
    "exemplars": [_PICTURE],
    "mistakes": [_PICTURE | {"predicted": _LINE, "probability": _SHARE.form}],
}
OBJECT = {}


def check(value, form, name="it"):
    """Raises ValueError, naming the first part that does not have the form."""
    if isinstance(form, _OrNone):
        if value is not None:
            check(value, form.form, name)
    elif isinstance(form, _Each):
        for key, part in check(value, OBJECT, name).items():
            check(key, _LINE, f"a name in {name}")
            check(part, form.form, f"{name}.{key}")
    elif isinstance(form, list):
        for part in check(value, list, name):
            check(part, form[0], f"a part of {name}")
    elif not isinstance(form, dict):
        if not _has_form(value, form):
            raise ValueError(f"{name} is {_shown(value)}")
    elif not isinstance(value, dict):
        raise ValueError(f"{name} is {_shown(value)} and not a JSON object")
    else:
        for key, part in form.items():
            place = key if name == "it" else f"{name}.{key}"
            if isinstance(part, _Optional):
                part = _OrNone(part.form)
            elif key not in value:
                raise ValueError(f"{place} is missing")
            check(value.get(key), part, place)
    return value


def check_config(config):
    """Raises ValueError unless a config.json tells how its classes arrive."""
    stream = check(config, CONFIG)["stream"]
    names, order = stream["class_names"], stream["order"]
    if sorted(order) != list(range(len(names))):
        raise ValueError("stream.order is not an order of stream.class_names")
    sizes = [stream["num_base_classes"], *stream["increments"]]
    if 0 in sizes or sum(sizes) > len(names):
        raise ValueError(f"its steps do not fit its {len(names)} classes")
    return config


def check_steps(steps, boundaries):
    """Raises ValueError unless steps.jsonl has the steps of a run from the first on.

    Args:
        steps: its lines.
        boundaries: classes seen after each step, `(T + 1,)`.
    """
    for number, step in enumerate(steps):
        check(step, STEP)
        expected = (number, boundaries[number] if number < len(boundaries) else None)
        if (step["step"], step["num_classes"]) != expected:
            raise ValueError(f"its line {number + 1} is not step {number} of the run")
        for name in ("alpha_by_epoch", "accuracy_by_alpha", "loss_by_epoch"):
            table = step.get(name) or {}
            if len({len(values) for values in table.values()}) > 1:
                raise ValueError(f"{name} of step {number} has unequal columns")
    return steps


def check_confusion(confusion, boundaries):
    """Raises ValueError unless an array is the confusion matrix of a step.

    Args:
        confusion: the array.
        boundaries: classes seen after each step, `(T + 1,)`.

    Returns:
        The matrix, int64.
    """
    if confusion.shape not in {(size, size) for size in boundaries}:
        raise ValueError(f"its shape is {confusion.shape}")
    if confusion.dtype.kind not in "iu":
        raise ValueError(f"it holds {confusion.dtype}, not counts")
    if confusion.min() < 0 or confusion.max() > _LARGEST // confusion.size:
        raise ValueError("it holds numbers that are not counts of images")
    return confusion.astype(np.int64)


def check_per_class(accuracies, boundaries):
    """Raises ValueError unless an array holds the accuracy of each class by step.

    Args:
        accuracies: the array.
        boundaries: classes seen after each step, `(T + 1,)`.
    """
    # A run that grew has the shape of its earlier end until its next step is finished.
    shapes = {(number, size) for number, size in enumerate(boundaries, start=1)}
    if accuracies.shape not in shapes:
        raise ValueError(f"its shape is {accuracies.shape}")
    if accuracies.dtype.kind != "f":
        raise ValueError(f"it holds {accuracies.dtype}, not fractions")
    known = accuracies[~np.isnan(accuracies)]
    if known.size and not (known.min() >= 0 and known.max() <= 1):
        raise ValueError("it holds numbers that are not accuracies")
    return accuracies


def _has_form(value, form):
    if form is _LINE:
        return fits_line(value)
    if not isinstance(form, _Number):
        return isinstance(value, form)
    if isinstance(value, bool) or not isinstance(
        value, int if form.whole else (int, float)
    ):
        return False
    # NaN is within no bounds, and Python compares integers of any size.
    return form.lowest <= value <= form.highest and math.isfinite(value)


def _shown(value):
    return "missing" if value is None else repr(value)[:40]
