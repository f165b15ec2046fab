"""Folders of exported steps: their files, checksums and problems. No TensorFlow."""

import os
import re

from bsce_keras.config.choices import MAX_IMAGE_PIXELS
from bsce_keras.config.export_formats import FORMATS
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.extras import missing_packages
from bsce_keras.runtime.files import read_json, sha256

CHECKSUMS = "checksums.json"
DESCRIPTION = "model.json"
_SAVED_MODEL_FILE = "saved_model.pb"
# Files of the other formats.
_PORTABLE = tuple(file for one in FORMATS.values() for file in one.files)


def export_path(run_dir, step):
    """Returns the folder of the export of a step of a run, by its number."""
    return os.path.join(run_dir, "exports", f"step_{step:02d}")


def exported_steps(run_dir):
    """Returns the folders of the exported steps of a run, by ascending step number."""
    folder = os.path.join(run_dir, "exports")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    exports = {
        int(name.removeprefix("step_")): os.path.join(folder, name)
        for name in names
        if re.fullmatch(r"step_\d+", name)
    }
    return dict(sorted(exports.items()))


def exported_formats(path):
    """Returns the formats in the folder of an undamaged export; empty for others."""
    description = os.path.join(path, DESCRIPTION)
    if not os.path.isfile(description) or irregular_files(path):
        return []
    if altered_files(path) != []:
        return []
    return list(read_json(description)["formats"])


def file_checksums(path):
    """Returns the SHA-256 of every file below a folder but CHECKSUMS, by name."""
    sums = {name: sha256(file) for name, file in _files(path)}
    sums.pop(CHECKSUMS, None)
    return sums


def irregular_files(path):
    """Returns the sorted names of pipes, devices and links to them in a folder."""
    return sorted(
        name
        for name, file in _files(path)
        if os.path.exists(file) and not os.path.isfile(file)
    )


def _files(path):
    """Yields name and path of every file below a folder."""
    for folder, _, files in os.walk(path):
        for file in files:
            full = os.path.join(folder, file)
            yield os.path.relpath(full, path), full


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


def portable_file(path):
    """Returns the file of a format other than SavedModel that a path stands for.

    Args:
        path: such a file, or the folder of an export. A folder stands for its
            SavedModel if it has one.

    Returns:
        The file, or None for a SavedModel.
    """
    if os.path.isfile(path):
        return path
    if os.path.isfile(os.path.join(path, _SAVED_MODEL_FILE)):
        return None
    paths = [os.path.join(path, file) for file in _PORTABLE]
    return next(filter(os.path.isfile, paths), None)


def max_image_pixels(folder):
    """Returns the `ImageSpec.max_pixels` of an export.

    It is the default for a SavedModel that another program wrote.

    Raises:
        RequestError: the description is damaged.
    """
    path = os.path.join(folder, DESCRIPTION)
    if not os.path.isfile(path):
        return MAX_IMAGE_PIXELS
    try:
        return int(read_json(path)["input"].get("max_image_pixels", MAX_IMAGE_PIXELS))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{path} is damaged. Export the step again.") from error


def model_problems(path, of_run=False):
    """Returns sentences that say why a path cannot be loaded as a model.

    Imports no TensorFlow.

    Args:
        path: folder of an export, or a file of another format in it.
        of_run: True if the folder belongs to a run, whose exports need checksums.
    """
    if os.path.isfile(path):
        return _file_problems(path)
    if not os.path.isdir(path):
        return [
            f"A model must be the folder of an exported step. There is no folder {path}"
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
            "it anyway, name its own folder, for `evaluate` by --model with --dataset. "
            "If it is the last step of the run, move it away and repeat the training "
            "command, which exports it anew."
        ]
    if altered:
        return [
            f"{path} was changed after the export. Altered, missing or added: "
            f"{', '.join(altered)}. Restore it from a copy. If it is the last step of "
            "a run, move it away and repeat the training command, which exports it "
            "anew."
        ]
    if os.path.isfile(os.path.join(path, _SAVED_MODEL_FILE)):
        return []
    file = portable_file(path)
    if file is None:
        return [
            "A model must be the folder of an exported step. There is no model in "
            f"{path}.{_exports_near(path)}"
        ]
    return _reader_problems(file)


def _file_problems(path):
    """Returns the problems of a file that is given as a model."""
    folder, name = os.path.split(path)
    if _format_of(path) is None:
        return [
            "A model must be the folder of an exported step, or one of its files "
            f"{', '.join(_PORTABLE)}. Received the file {path}"
        ]
    if not os.path.isfile(os.path.join(folder, DESCRIPTION)):
        return [
            f"{path} lacks {DESCRIPTION} beside it, which has the class names and the "
            f"input. Keep {name} in the folder of its export."
        ]
    return model_problems(folder or ".") or _reader_problems(path)


def _reader_problems(path):
    """Returns a sentence if the module that runs a file is missing, as a list."""
    form = FORMATS[_format_of(path)]
    readers = [form.reader] if form.reader else []
    return missing_packages(f"--model={path}", readers, form.extra)


def _format_of(path):
    """Returns the key of `FORMATS` that a file belongs to, or None."""
    file = os.path.basename(path)
    return next((name for name, one in FORMATS.items() if file in one.files), None)


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
