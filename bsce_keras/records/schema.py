"""What a record has to look like for tables and figures to be made of it."""

import dataclasses
import numbers

_NUMBER = (numbers.Real, type(None))


@dataclasses.dataclass(frozen=True)
class _OrNone:
    """A form, or nothing."""

    form: dict


# An object's form is a dictionary of forms, a list's the form of its parts in brackets;
# any other is a type, or a tuple of them. What may be None may be missing.
CONFIG = {
    "stream": {
        "dataset": str,
        "num_base_classes": int,
        "increments": [int],
        "image": {},
        "validation_share": _NUMBER,
    },
    "memory": {},
    "model": {},
    "method": {"name": str, "classification_loss": str, "alpha": numbers.Real},
    "training": {
        "seed": int,
        "precision": str,
        "schedule_scale": numbers.Real,
        "replay_sampling": str,
    },
    "base_run_dir": (str, type(None)),
}
STEP = {
    "step": int,
    "num_classes": int,
    "train_images": int,
    "accuracy": _NUMBER,
    "base_accuracy": _NUMBER,
    "old_accuracy": _NUMBER,
    "new_accuracy": _NUMBER,
    "alpha": _NUMBER,
    "alpha_gradient_mean": _NUMBER,
    "alpha_gradient_std": _NUMBER,
    "alpha_by_epoch": _OrNone(
        {
            "alpha_updates": [int],
            "alpha": [_NUMBER],
            "alpha_gradient_mean": [_NUMBER],
            "alpha_gradient_std": [_NUMBER],
        }
    ),
    "head_accuracy": _NUMBER,
}
SUMMARY = {
    "average_incremental_accuracy": _NUMBER,
    "final_accuracy": _NUMBER,
    "final_base_accuracy": _NUMBER,
    "final_old_accuracy": _NUMBER,
    "final_new_accuracy": _NUMBER,
    "forgetting": _NUMBER,
    "skipped_images": (list, type(None)),
}
OBJECT = {}


def check(value, form, name="it"):
    """Raises ValueError, naming the first part that does not have the form."""
    if isinstance(form, _OrNone):
        if value is not None:
            check(value, form.form, name)
    elif isinstance(form, list):
        for part in check(value, list, name):
            check(part, form[0], f"a part of {name}")
    elif not isinstance(form, dict):
        if not isinstance(value, form):
            raise ValueError(f"{name} is {_shown(value)}")
    elif not isinstance(value, dict):
        raise ValueError(f"{name} is {_shown(value)} and no JSON object")
    else:
        for key, part in form.items():
            check(value.get(key), part, key if name == "it" else f"{name}.{key}")
    return value


def _shown(value):
    return "missing" if value is None else repr(value)[:40]
