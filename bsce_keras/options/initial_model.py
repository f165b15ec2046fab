"""Options of a trained classifier that becomes the base step."""

import os

from bsce_keras.evaluation.export_folder import DESCRIPTION
from bsce_keras.methods import METHODS, recipes
from bsce_keras.options.values import names_of
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.files import read_json
from bsce_keras.runtime.text import did_you_mean, is_line, listed


def initial_classes(asked):
    """Returns the classes of `--initial_model` in the order of its outputs.

    Args:
        asked: the `Request`.

    Raises:
        RequestError: the names are missing or repeated, or their file cannot be read.
    """
    if asked.initial_model is None or "initial_classes" in asked.refused:
        return ()
    given = asked.initial_classes
    if given is None:
        given = _names_beside(asked.initial_model)
    if given is None:
        raise RequestError(
            f"--initial_model={asked.initial_model} needs --initial_classes: the names "
            "of its outputs in their order, separated by commas, or a file with one a "
            "line."
        )
    names = (
        names_of("--initial_classes", given) if isinstance(given, str) else tuple(given)
    )
    odd = [name for name in names if not is_line(name)]
    if len(set(names)) < len(names) or odd or len(names) < 2:
        raise RequestError(
            "--initial_classes needs at least two different names, or the path of a "
            f"file that has them. Received: {given!r}"
        )
    return names


def _names_beside(path):
    """Returns the classes of the export that a file lies in, or None."""
    try:
        description = read_json(os.path.join(os.path.dirname(path), DESCRIPTION))
        return list(description["class_names"])
    except (KeyError, OSError, TypeError, ValueError):
        return None


def initial_model_contradictions(asked):
    """Yields `(contradicts, message)` for options that exclude an initial model."""
    if asked.initial_model is None:
        yield (
            asked.initial_classes is not None,
            "--initial_classes has no effect without --initial_model. Omit it.",
        )
        return
    shown = f"--initial_model={asked.initial_model}"
    for name in ("backbone", "base_run_dir", "num_base_classes", "class_order"):
        value = getattr(asked, name)
        yield (
            value is not None,
            f"--{name}={value} contradicts {shown}, which brings backbone, base step "
            f"and base classes. Omit --{name}.",
        )
    of_package = {
        "backbone_weights": asked.backbone_weights,
        "synchronized_batch_norm": asked.synchronized_batch_norm,
        "method_parameters=depths": (asked.method_parameters or {}).get("depths", 0),
    }
    for name, value in of_package.items():
        yield (
            bool(value),
            f"--{name} has no effect with {shown}, which brings its own layers and "
            "weights. Omit it.",
        )
    linear = [name for name in METHODS if recipes.published(name).has_linear_head]
    yield (
        not asked.published.has_linear_head,
        f"--method={asked.method_name} has a head of class vectors, which the dense "
        f"layer of {shown} cannot become. Use one of {', '.join(linear)}.",
    )
    yield (
        asked.published.memory.replays_everything,
        f"--method={asked.method_name} trains every step from the start, so {shown} "
        "has no effect. Use another --method.",
    )


def refuse_unknown_classes(asked, info, initial):
    """Refuses initial classes that are not classes of the data set.

    The classes of a folder include the initial ones, whose images are optional.
    """
    unknown = [name for name in initial if name not in info.class_names]
    if unknown:
        raise RequestError(
            f"--initial_classes must be classes of {asked.dataset}. Unknown: "
            f"{listed(unknown)}.{did_you_mean(unknown[0], info.class_names)} The data "
            f"set has {listed(info.class_names)}."
        )
