"""Exported steps in use: verifies checksums, loads the SavedModel and predicts.

Needs only TensorFlow, which it imports when a model is loaded.
"""

import logging
import os
import re

import numpy as np

from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.files import read_json, sha256
from bsce_keras.runtime.tensorflow_import import import_tensorflow

CHECKSUMS = "checksums.json"
_INPUTS = {"serving_default": "images", "serve_encoded": "encoded"}

_log = logging.getLogger(__name__)


def file_checksums(path):
    """Returns the SHA-256 of every file below a folder but CHECKSUMS, by name."""
    sums = {}
    for folder, _, files in os.walk(path):
        for file in files:
            full = os.path.join(folder, file)
            sums[os.path.relpath(full, path)] = sha256(full)
    sums.pop(CHECKSUMS, None)
    return sums


def irregular_files(path):
    """Returns the sorted names of pipes, devices and links to them in a folder."""
    return sorted(
        os.path.relpath(full, path)
        for folder, _, files in os.walk(path)
        for full in (os.path.join(folder, file) for file in files)
        if os.path.exists(full) and not os.path.isfile(full)
    )


def altered_files(path):
    """Returns the files of an export that are missing, added or altered.

    The checksums detect damage, not forgery, because anybody who can write the folder
    can write the checksums too.

    Returns:
        Sorted list of names. None if `path` has no checksums, so this package did not
        export it.
    """
    manifest = os.path.join(path, CHECKSUMS)
    if not os.path.isfile(manifest):
        return None
    try:
        expected = dict(read_json(manifest))
    except (TypeError, ValueError):
        return [CHECKSUMS]
    actual = file_checksums(path)
    return sorted(
        name
        for name in expected.keys() | actual.keys()
        if expected.get(name) != actual.get(name)
    )


def model_problems(path, of_run=False):
    """Returns sentences that say why a folder cannot be loaded as a model.

    Imports no TensorFlow.

    Args:
        path: the folder.
        of_run: True if the folder belongs to a run, whose exports need checksums.
    """
    if not os.path.isdir(path):
        return [
            f"--model must be the folder of an exported step. There is no folder {path}"
            f".{_exports_near(os.path.dirname(path))}"
        ]
    irregular = irregular_files(path)
    if irregular:
        return [
            f"{path} was changed after the export, and holds an entry that is not a "
            f"regular file: {', '.join(irregular)}. Restore it from a copy."
        ]
    altered = altered_files(path)
    if altered is None and of_run:
        return [
            f"{path} lacks {CHECKSUMS}, which every export of a run has. The file was "
            "lost, or the model is from elsewhere. A SavedModel is a program; to run "
            "it anyway, name it by --model, with --dataset. If it is the last step of "
            "the run, move it away and repeat the training command, which exports it "
            "anew."
        ]
    if altered:
        return [
            f"{path} was changed after the export. Altered, missing or added: "
            f"{', '.join(altered)}. Restore it from a copy. If it is the last step of "
            "a run, move it away and repeat the training command, which exports it "
            "anew."
        ]
    if not os.path.isfile(os.path.join(path, "saved_model.pb")):
        return [
            "--model must be the folder of an exported step. There is no SavedModel in "
            f"{path}.{_exports_near(path)}"
        ]
    return []


def load_model(path, of_run=False):
    """Loads an exported step after verifying its checksums.

    A SavedModel without checksums was not exported by this package. It is a program
    that may do anything, so a warning is logged. It is used if it has the right
    signatures.

    Args:
        path: folder of the export.
        of_run: True refuses a model without checksums.

    Returns:
        `ServedModel`.

    Raises:
        RequestError: the folder does not hold a SavedModel, files were altered (all
            are named), or the signatures of an exported step are missing.
    """
    problems = model_problems(path, of_run)
    if problems:
        raise RequestError(problems)
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
    return ServedModel(loaded)


class ServedModel:
    """Loaded export that maps images or files to probabilities.

    Args:
        loaded: result of `tf.saved_model.load`.

    Attributes:
        class_names: tuple of str, in the order of the probabilities.
        channels: number of channels of its images; None if it does not declare it.
        stored_size: side of the squares that it makes of every image; None if it does
            not declare it.
    """

    def __init__(self, loaded):
        # Keep the object, because its functions do not hold its variables.
        self._loaded = loaded
        names = loaded.class_names.numpy()
        self.class_names = tuple(name.decode() for name in names)
        self.channels = _inputs(loaded, "serving_default")["images"].shape[-1]
        stored_size = getattr(loaded, "stored_size", None)
        self.stored_size = None if stored_size is None else int(stored_size)

    def refuse_channels(self, channels, dataset):
        """Raises `RequestError` if images of a data set have other channels."""
        if self.channels not in (None, channels):
            raise RequestError(
                f"The model takes images of {self.channels} channels, but those of "
                f"{dataset} have {channels}. Use another --dataset."
            )

    def probabilities(self, images, batch_size):
        """Returns the class probabilities of images.

        Args:
            images: uint8, shape `(n, height, width, channels)`, n at least 1.
            batch_size: number of images computed at a time.

        Returns:
            float32, shape `(n, num_classes)`.
        """
        starts = range(0, len(images), batch_size)
        batches = (np.asarray(images[s : s + batch_size]) for s in starts)
        return np.concatenate(
            [self._ask("serving_default", images=batch) for batch in batches]
        )

    def probabilities_of_files(self, encoded):
        """Returns the class probabilities of image files.

        One file that cannot be decoded fails the whole batch in the SavedModel, so that
        the files of a failed batch are tried one by one.

        Args:
            encoded: list of the contents of the files, as bytes.

        Returns:
            List of `(probabilities, reason)` in the order of the files. For a file
            that cannot be classified, probabilities are None. For any other they are
            float32, shape `(num_classes,)`, and the reason is None.
        """
        if not encoded:
            return []
        try:
            batch = self._ask("serve_encoded", encoded=encoded)
            return [(probabilities, None) for probabilities in batch]
        except _failures() as error:
            if len(encoded) == 1:
                return [(None, _reason(error))]
        # TensorFlow does not say which file failed.
        return [self.probabilities_of_files([data])[0] for data in encoded]

    def _ask(self, signature, **inputs):
        import tensorflow as tf

        # Convert first, because a signature takes a list for several arguments.
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        return self._loaded.signatures[signature](**tensors)["probabilities"].numpy()


def _failures():
    """Returns the exceptions of files that cannot be decoded."""
    import tensorflow as tf

    return tf.errors.InvalidArgumentError, *_lack_of_memory()


def _lack_of_memory():
    import tensorflow as tf

    return MemoryError, tf.errors.ResourceExhaustedError


def _reason(error):
    """Returns a short reason why a file cannot be decoded."""
    if isinstance(error, _lack_of_memory()):
        return "too large for the memory"
    pixels = re.search(r"more than [\d,]+ pixels", error.message)
    return pixels[0] if pixels else "cut off, altered or not supported"


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


def _exports_near(path):
    """Returns `" Did you mean ..."` if a folder is a run or its exports.

    Otherwise returns a sentence that says where runs write their exports.
    """
    for folder in (os.path.join(path, "exports"), path):
        steps = [
            os.path.join(folder, name)
            for name in (sorted(os.listdir(folder)) if os.path.isdir(folder) else [])
            if os.path.isfile(os.path.join(folder, name, CHECKSUMS))
        ]
        if steps:
            return f" Did you mean {steps[-1]}?"
    return " A training run writes them to RUN_DIR/exports/."
