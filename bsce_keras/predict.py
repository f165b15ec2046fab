"""`python -m bsce_keras.predict --model=EXPORT FILE...`: classifies image files."""

import io
import json
import logging
import os
import sys

import numpy as np

from bsce_keras.data.image_kinds import (
    file_kind,
    gif_pixels,
    too_many_pixels,
    turned_files,
)
from bsce_keras.evaluation.export_folder import model_problems
from bsce_keras.evaluation.served_model import load_model
from bsce_keras.options.run_command import program, run_command
from bsce_keras.options.values import below_one
from bsce_keras.runtime.errors import RequestError, RunError, refuse
from bsce_keras.runtime.machine import available_memory
from bsce_keras.runtime.text import listed, one_line

# Files and bytes read and decoded at a time, which bounds the memory.
_BATCH_SIZE = 32
_BATCH_BYTES = 2**28
# Copies of a file's bytes that are held while it is classified, at most.
_COPIES = 3

_log = logging.getLogger(__name__)


def main(argv=None):
    """Runs the command; see `run_command` for arguments and exit codes."""
    return run_command("predict", _predict, argv, check=_problems)


def classify_files(model, paths):
    """Classifies image files in their order, a batch at a time.

    Args:
        model: `bsce_keras.evaluation.served_model.ServedModel`.
        paths: list of file names.

    Yields:
        `(path, outputs, reason)`: a dictionary with `probabilities (num_classes,)` and
        `embedding (d,)`, and None; or None and the reason that a file cannot be
        classified.
    """
    for batch in _batches(paths, model.max_pixels):
        whole = [(path, data) for path, data, reason in batch if reason is None]
        answers = model.outputs_of_files([data for _, data in whole])
        for path, _, reason in batch:
            yield path, *((None, reason) if reason else answers.pop(0))


def _batches(paths, max_pixels):
    """Yields lists of `(path, bytes, reason)`, where one of the last two is None."""
    batch, size = [], 0
    for path in paths:
        data, reason = _read(path, max_pixels)
        batch.append((path, data, reason))
        size += len(data or b"")
        if len(batch) >= _BATCH_SIZE or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read(path, max_pixels):
    """Bytes of an image file and None, or None and the reason to leave it out."""
    try:
        kind, reason = file_kind(path)
        if reason:
            return None, reason
        if _COPIES * os.path.getsize(path) > available_memory():
            return None, "too large for the memory"
        with open(path, "rb") as file:
            data = file.read()
    except MemoryError:
        return None, "too large for the memory"
    except OSError as error:
        return None, error.strerror
    if kind == "GIF" and gif_pixels(data) > max_pixels:
        return None, too_many_pixels(max_pixels)
    return data, None


def _predict(values, paths):
    refuse(_problems(values, paths))
    model = load_model(values.model)
    # File names are bytes: what is not text is printed as it is, control characters
    # apart.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    show = _show_json if values.format == "json" else _show_text
    turned = turned_files(paths)
    if turned:
        _log.warning(
            "%d of %d files have an EXIF rotation, which is not applied, as in "
            "training: %s.",
            len(turned),
            len(paths),
            listed(turned, 3),
        )
    bad, embeddings = [], []
    for path, outputs, reason in classify_files(model, paths):
        if values.embedding:
            embeddings.append(_embedding(outputs, values.model))
        if reason:
            bad.append(f"{path}: {reason}")
        else:
            best = _best(model.class_names, outputs["probabilities"], values.top_k)
            show(path, best)
    if values.embedding:
        _write_embeddings(values.embedding, embeddings)
    if bad:
        others = " The others were classified." if len(bad) < len(paths) else ""
        raise RunError(
            f"{len(bad)} of {len(paths)} files cannot be classified.{others} Replace "
            f"these or leave them out: {'; '.join(bad)}"
        )


def _embedding(outputs, path):
    """Returns the embedding of a file, None if the file cannot be classified."""
    if outputs is None:
        return None
    if "embedding" not in outputs:
        raise RequestError(
            f"--embedding: {path} has no output `embedding`. Export the step again by "
            f"`{program('export')}`."
        )
    return outputs["embedding"]


def _write_embeddings(path, embeddings):
    """Writes embeddings as `.npy`, one row a file; NaN for files without one."""
    width = max((len(one) for one in embeddings if one is not None), default=0)
    nothing = np.full(width, np.nan, np.float32)
    rows = np.stack([nothing if one is None else one for one in embeddings])
    with open(path, "wb") as file:
        np.save(file, rows)


def _problems(values, paths):
    problems = [problem for path in paths if (problem := _file_problem(path))]
    if values.embedding:
        problems += _embedding_problems(values.embedding)
    if values.model:
        problems += model_problems(values.model)
    else:
        problems.append(
            "--model is required: the folder of an exported step, such as "
            "runs/NAME/exports/step_05"
        )
    return problems + below_one(values, "top_k")


def _embedding_problems(path):
    folder = os.path.dirname(path) or "."
    is_name = path.endswith(".npy") and not os.path.isdir(path)
    if not is_name or not os.path.isdir(folder):
        return [
            "--embedding must be a file NAME.npy in an existing folder. Received: "
            f"{path}"
        ]
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        return [
            f"--embedding={path} cannot be written: the file system is read-only, or "
            "permissions forbid it. Change them, or name another file."
        ]
    return []


def _file_problem(path):
    if os.path.isdir(path):
        return f"Expected image files. Received the folder {path}: give {path}/*"
    if not os.path.exists(path):
        return f"There is no file {path}. Check its name; no file was classified."
    return None


def _best(class_names, probabilities, top_k):
    """`(class name, probability)` of the most probable classes, the best first."""
    order = (-probabilities).argsort(kind="stable")[:top_k]
    return [(class_names[index], float(probabilities[index])) for index in order]


def _show_text(path, predictions):
    for name, probability in predictions:
        print(f"{one_line(path)}\t{one_line(name)}\t{probability:.4f}")


def _show_json(path, predictions):
    listed = [
        {"class_name": name, "probability": probability}
        for name, probability in predictions
    ]
    print(json.dumps({"file": path, "predictions": listed}))


if __name__ == "__main__":
    sys.exit(main())
