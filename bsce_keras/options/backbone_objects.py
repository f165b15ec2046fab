"""Backbones that Python code passes as objects: kept in the run folder as a file."""

import os

import numpy as np

from bsce_keras.options.folders import writable_problems
from bsce_keras.runtime.errors import RequestError, refuse

_NAME = "backbone.keras"
# Side of an image where a backbone takes any.
_ANY_SIDE = 64


def kept_backbone(model, run_dir):
    """Saves a backbone in the run folder and returns the path of the file.

    A run that was begun keeps its file, and the backbone must have its weights and
    outputs.

    Args:
        model: `keras.Model` from images to features.
        run_dir: folder of the run.

    Raises:
        RequestError: it is not a Keras model, the folder cannot be written, or its run
            was begun with another backbone.
    """
    # Only a caller who has Keras can pass a model.
    import keras

    if not isinstance(model, keras.Model):
        raise RequestError(
            "backbone must be a name, a path or a keras.Model. Received: "
            f"{type(model).__name__}"
        )
    refuse(writable_problems("--run_dir", run_dir))
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
    """Returns True if a model has the weights and the outputs of a saved one."""
    import keras

    saved = keras.saving.load_model(path, compile=False, safe_mode=True)
    ours, theirs = model.get_weights(), saved.get_weights()
    if len(ours) != len(theirs) or not all(map(np.array_equal, ours, theirs)):
        return False
    if model.input_shape != saved.input_shape:
        return False
    # Layers without weights, such as scales and activations, show in the outputs.
    shape = [side or _ANY_SIDE for side in saved.input_shape[1:]]
    image = np.random.default_rng(0).uniform(0, 255, (1, *shape))
    ours, theirs = (
        keras.tree.flatten(one(image, training=False)) for one in (model, saved)
    )
    return len(ours) == len(theirs) and all(
        np.shape(mine) == np.shape(its) and np.allclose(mine, its, rtol=1e-3)
        for mine, its in zip(ours, theirs, strict=True)
    )
