"""Backbones that Python code passes as objects: kept in the run folder as a file."""

import os

import numpy as np

from bsce_keras.options.folders import writable_problems
from bsce_keras.runtime.errors import RequestError

_NAME = "backbone.keras"


def kept_backbone(model, run_dir):
    """Saves a backbone in the run folder and returns the path of the file.

    A run that was begun keeps its file, and the backbone must have the same weights.

    Args:
        model: `keras.Model` from images to features.
        run_dir: folder of the run.

    Raises:
        RequestError: it is not a Keras model, the folder cannot be written, or its run
            was begun with other weights.
    """
    # Only a caller who has Keras can pass a model.
    import keras

    if not isinstance(model, keras.Model):
        raise RequestError(
            "backbone must be a name, a path or a keras.Model. Received: "
            f"{type(model).__name__}"
        )
    problems = writable_problems("--run_dir", run_dir)
    if problems:
        raise RequestError(problems)
    path = os.path.join(run_dir, _NAME)
    if not os.path.isfile(os.path.join(run_dir, "config.json")):
        os.makedirs(run_dir, exist_ok=True)
        model.save(path)
    elif not os.path.isfile(path):
        raise RequestError(
            f"{run_dir} was begun without a backbone from Python. Pass the backbone "
            "that its config.json names, or use another run_dir."
        )
    elif not _equal(model, path):
        raise RequestError(
            f"{run_dir} was begun with another backbone, or with other weights of it; "
            "new layers have new random weights. "
            f"Pass backbone={os.fspath(path)!r} to go on with the copy that the run "
            "keeps, or use another run_dir."
        )
    return path


def _equal(model, path):
    import keras

    ours = model.get_weights()
    theirs = keras.saving.load_model(path, compile=False, safe_mode=True).get_weights()
    return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))
