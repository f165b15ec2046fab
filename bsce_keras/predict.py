"""`python -m bsce_keras.predict --model=EXPORT FILE...`: classifies image files."""

import io
import json
import os
import sys

from bsce_keras.evaluation.served_model import load_model, model_problems
from bsce_keras.options.run_command import run_command
from bsce_keras.runtime.errors import RequestError, RunError
from bsce_keras.runtime.text import one_line

# Files read and decoded at a time, which bounds the memory.
_BATCH_SIZE = 32


def main(argv=None):
    """Runs the command.

    Args:
        argv: arguments without the program's name; those of the process by default.

    Returns:
        The exit code: 0, 1 (a file cannot be decoded; the others were classified) or 2
        (wrong request, altered model).
    """
    return run_command(
        "predict", _predict, argv, check=lambda values, _: _problems(values)
    )


def classify_files(model, paths):
    """Classifies image files in their order, a batch at a time.

    Args:
        model: `bsce_keras.evaluation.served_model.ServedModel`.
        paths: list of file names.

    Yields:
        `(path, probabilities)`, with None for a file that cannot be read or decoded.
    """
    for start in range(0, len(paths), _BATCH_SIZE):
        batch = paths[start : start + _BATCH_SIZE]
        # No bytes are no image, so what cannot be read takes the same way out.
        encoded = [_read(path) for path in batch]
        yield from zip(batch, model.probabilities_of_files(encoded), strict=True)


def _predict(values, paths):
    problems = _problems(values) + [_file_problem(path) for path in paths]
    problems = [problem for problem in problems if problem]
    if problems:
        raise RequestError(problems)
    model = load_model(values.model)
    # File names are bytes: what is not text is printed as it is, control characters
    # apart.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    show = _show_json if values.format == "json" else _show_text
    bad = []
    for path, probabilities in classify_files(model, paths):
        if probabilities is None:
            bad.append(path)
        else:
            show(path, _best(model.class_names, probabilities, values.top_k))
    if bad:
        others = " The others were classified." if len(bad) < len(paths) else ""
        raise RunError(
            f"{len(bad)} of {len(paths)} files cannot be read and decoded (no "
            "permission, empty, cut off, no JPEG, PNG, BMP or GIF, or a BMP with a "
            f"palette or compression): {', '.join(bad)}.{others} Replace these or "
            "leave them out."
        )


def _problems(values):
    problems = []
    if values.model:
        problems += model_problems(values.model)
    else:
        problems.append(
            "--model is required: the folder of an exported step, such as "
            "runs/NAME/exports/step_05"
        )
    if values.top_k < 1:
        problems.append(f"--top_k must be at least 1. Received: {values.top_k}")
    return problems


def _file_problem(path):
    if os.path.isdir(path):
        return f"Expected image files. Received the folder {path}: give {path}/*"
    if not os.path.exists(path):
        return f"There is no file {path}. Check its name; no file was classified."
    return None


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


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
