"""An exported step in use: its checksums are verified, then it is loaded and asked.

Needs nothing of the package that trained it, and TensorFlow only once a model loads.
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
    """SHA-256 of every file below a folder, by relative name, CHECKSUMS left out."""
    sums = {}
    for folder, _, files in os.walk(path):
        for file in files:
            full = os.path.join(folder, file)
            sums[os.path.relpath(full, path)] = sha256(full)
    sums.pop(CHECKSUMS, None)
    return sums


def irregular_files(path):
    """Names below a folder that are pipes, devices, or links to them, sorted."""
    return sorted(
        os.path.relpath(full, path)
        for folder, _, files in os.walk(path)
        for full in (os.path.join(folder, file) for file in files)
        if os.path.exists(full) and not os.path.isfile(full)
    )


def altered_files(path):
    """Files of an export that are missing, added or not what was written.

    The checksums tell damage, not forgery: whoever can write the folder can write them
    too.

    Returns:
        Sorted list of names; None if `path` carries no checksums and so is not an
        export of ours.
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
    """Why a folder cannot be loaded as a model, as sentences. Imports no TensorFlow.

    Args:
        path: the folder.
        of_run: whether it has to be an export of ours, checksums and all.
    """
    if not os.path.isdir(path):
        return [
            f"--model must be the folder of an exported step. There is no folder {path}"
            f".{_exports_near(os.path.dirname(path))}"
        ]
    irregular = irregular_files(path)
    if irregular:
        return [
            f"{path} is not what was exported; not a regular file: "
            f"{', '.join(irregular)}. Restore it from a copy."
        ]
    altered = altered_files(path)
    if altered is None and of_run:
        return [
            f"{path} has no {CHECKSUMS}, as every export of a run has: somebody else "
            "put it there, or it lost the file. A SavedModel is a program; to run it "
            "all the same, name it by --model, with --dataset. For the last step of a "
            "run, delete it and repeat the training command, which exports it anew."
        ]
    if altered:
        return [
            f"{path} is not what was exported; altered, missing or added: "
            f"{', '.join(altered)}. Restore it from a copy; or, for the last step of a "
            "run, delete it and repeat the training command, which exports it anew."
        ]
    if not os.path.isfile(os.path.join(path, "saved_model.pb")):
        return [
            "--model must be the folder of an exported step. There is no SavedModel in "
            f"{path}.{_exports_near(path)}"
        ]
    return []


def load_model(path, of_run=False):
    """Loads an exported step once its checksums hold.

    A SavedModel without checksums was not exported by this package. It is a program
    that may do anything, so a warning says so; it is used if it has the right
    signatures.

    Args:
        path: folder of the export.
        of_run: refuse it without checksums.

    Returns:
        `ServedModel`.

    Raises:
        RequestError: no SavedModel, altered files (all named), or a SavedModel without
            the signatures of an exported step.
    """
    problems = model_problems(path, of_run)
    if problems:
        raise RequestError(problems)
    if altered_files(path) is None:
        _log.warning(
            "%s has no %s: it was not exported by bsce_keras, or was stripped of it. A "
            "SavedModel is a program; run one only if you trust who wrote it.",
            path,
            CHECKSUMS,
        )
    # Only now: what is wrong with the files is told before TensorFlow loads.
    import_tensorflow()
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(path)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise RequestError(
            f"{path} cannot be loaded as a SavedModel: {error}. Restore it from a copy "
            "or export it again."
        ) from error
    missing = _missing_parts(loaded)
    if missing:
        raise RequestError(
            f"{path} is no exported step: it lacks {', '.join(missing)}. Use a model "
            "exported by bsce_keras, or give yours what bsce_keras.export describes."
        )
    return ServedModel(loaded)


class ServedModel:
    """A loaded export, from images or files to probabilities.

    Args:
        loaded: what `tf.saved_model.load` returned.

    Attributes:
        class_names: tuple of str, in the order of the probabilities.
        channels: of the images it takes; None if it does not say.
        stored_size: side of the squares it makes of every image; None if it does not
            say.
    """

    def __init__(self, loaded):
        # Its functions hold no reference to its variables: it must stay.
        self._loaded = loaded
        names = loaded.class_names.numpy()
        self.class_names = tuple(name.decode() for name in names)
        self.channels = _inputs(loaded, "serving_default")["images"].shape[-1]
        stored_size = getattr(loaded, "stored_size", None)
        self.stored_size = None if stored_size is None else int(stored_size)

    def probabilities(self, images, batch_size):
        """Probabilities of uint8 images `(n, height, width, channels)`.

        Args:
            images: at least one.
            batch_size: images computed at a time.

        Returns:
            float32, shape `(n, num_classes)`.
        """
        starts = range(0, len(images), batch_size)
        batches = (np.asarray(images[s : s + batch_size]) for s in starts)
        return np.concatenate(
            [self._ask("serving_default", images=batch) for batch in batches]
        )

    def probabilities_of_files(self, encoded):
        """Probabilities of image files, one file at a time where a batch fails.

        One file that cannot be decoded fails the whole batch in the SavedModel.

        Args:
            encoded: list of the bytes of the files.

        Returns:
            List of `(probabilities, reason)`, in their order: float32 `(num_classes,)`
            and None, or None and the reason that the file cannot be classified.
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

        # Constants first: a signature would take a list for several arguments.
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        return self._loaded.signatures[signature](**tensors)["probabilities"].numpy()


def _failures():
    """Exceptions about files that cannot be decoded."""
    import tensorflow as tf

    return tf.errors.InvalidArgumentError, *_lack_of_memory()


def _lack_of_memory():
    import tensorflow as tf

    return MemoryError, tf.errors.ResourceExhaustedError


def _reason(error):
    """Short text about a file that cannot be decoded."""
    if isinstance(error, _lack_of_memory()):
        return "too large for the memory"
    pixels = re.search(r"more than [\d,]+ pixels", error.message)
    return pixels[0] if pixels else "cut off, altered or not supported"


def _missing_parts(loaded):
    """What an exported step has and this SavedModel has not."""
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
    """`" Did you mean ..."` if a folder is a run, or the exports of one."""
    for folder in (os.path.join(path, "exports"), path):
        steps = [
            os.path.join(folder, name)
            for name in (sorted(os.listdir(folder)) if os.path.isdir(folder) else [])
            if os.path.isfile(os.path.join(folder, name, CHECKSUMS))
        ]
        if steps:
            return f" Did you mean {steps[-1]}?"
    return " A training run writes them to RUN_DIR/exports/."
