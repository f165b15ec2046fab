"""Exported steps in use: verifies checksums, loads the SavedModel and predicts.

Needs only TensorFlow, which it imports when a model is loaded.
"""

import logging

from bsce_keras.evaluation.export_folder import (
    CHECKSUMS,
    altered_files,
    max_image_pixels,
    model_problems,
    portable_file,
)
from bsce_keras.evaluation.loaded_model import LoadedModel
from bsce_keras.evaluation.portable_model import PortableModel
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.tensorflow_import import import_tensorflow

_INPUTS = {"serving_default": "images", "serve_encoded": "encoded"}

_log = logging.getLogger(__name__)


def load_model(path, of_run=False):
    """Loads an exported step after verifying its checksums.

    A SavedModel without checksums was not exported by this package. It is a program
    that may do anything, so a warning is logged. It is used if it has the right
    signatures.

    Args:
        path: folder of the export, or a file of another format in it.
        of_run: True refuses a model without checksums.

    Returns:
        `LoadedModel`: a `ServedModel` or a `PortableModel`.

    Raises:
        RequestError: the folder does not hold a SavedModel, files were altered (all
            are named), or the signatures of an exported step are missing.
    """
    problems = model_problems(path, of_run)
    if problems:
        raise RequestError(problems)
    file = portable_file(path)
    if file:
        return PortableModel(file)
    if altered_files(path) is None:
        _log.warning(
            "%s has no %s, so bsce_keras did not export it, or the file was lost. A "
            "SavedModel is a program; run it only if you trust its author.",
            path,
            CHECKSUMS,
        )
    # Imported here, so that problems of files are reported before TensorFlow loads.
    import_tensorflow()
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(path)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise RequestError(
            f"{path} cannot be loaded as a SavedModel: {error}. Restore it from a "
            "copy, or export it again."
        ) from error
    missing = _missing_parts(loaded)
    if missing:
        raise RequestError(
            f"{path} is not an exported step, because it lacks {', '.join(missing)}. "
            "Use a model that bsce_keras exported, or add the signatures that "
            "bsce_keras.exports describes."
        )
    return ServedModel(loaded, max_image_pixels(path))


class ServedModel(LoadedModel):
    """Loaded SavedModel of an export.

    Args:
        loaded: result of `tf.saved_model.load`.
        max_pixels: see `LoadedModel`.
    """

    def __init__(self, loaded, max_pixels):
        # Keep the object, because its functions do not hold its variables.
        self._loaded = loaded
        self.max_pixels = max_pixels
        names = loaded.class_names.numpy()
        self.class_names = tuple(name.decode() for name in names)
        self.channels = _inputs(loaded, "serving_default")["images"].shape[-1]
        stored_size = getattr(loaded, "stored_size", None)
        self.stored_size = None if stored_size is None else int(stored_size)

    def outputs_of_images(self, images):
        return self._ask("serving_default", images=images)

    def outputs_of_encoded(self, encoded):
        return self._ask("serve_encoded", encoded=encoded)

    def _ask(self, signature, **inputs):
        import tensorflow as tf

        # Convert first, because a signature takes a list for several arguments.
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = self._loaded.signatures[signature](**tensors)
        return {name: output.numpy() for name, output in outputs.items()}


def _missing_parts(loaded):
    """Returns the parts of an exported step that a SavedModel lacks."""
    missing = [
        f"the signature {signature} from `{name}` to `probabilities`"
        for signature, name in _INPUTS.items()
        if signature not in loaded.signatures
        or set(_inputs(loaded, signature)) != {name}
        or "probabilities" not in loaded.signatures[signature].structured_outputs
    ]
    if not hasattr(getattr(loaded, "class_names", None), "numpy"):
        missing.append("the variable class_names")
    return missing


def _inputs(loaded, signature):
    return loaded.signatures[signature].structured_input_signature[1]
