"""`python -m bsce_keras.export --run_dir=RUN`: exports a finished step of a run."""

import functools
import logging
import math
import os
import sys
from collections.abc import Iterable

from bsce_keras.config.export_formats import FORMATS, format_problems, split_formats
from bsce_keras.evaluation.export_folder import (
    export_path,
    exported_formats,
    model_problems,
)
from bsce_keras.options.folders import output_problems, writable_problems
from bsce_keras.options.run_command import run_command
from bsce_keras.options.scored_stream import recorded_stream
from bsce_keras.records.run_records import read_run
from bsce_keras.reports.model_card import write_card
from bsce_keras.runtime.errors import RequestError, problems_of, refuse
from bsce_keras.runtime.tensorflow_import import import_keras
from bsce_keras.runtime.text import printable

_log = logging.getLogger(__name__)


def main(argv=None):
    """Runs the command; see `run_command` for arguments and exit codes."""
    return run_command("export", _export, argv, check=_problems)


def export_finished_step(
    run_dir: str | os.PathLike[str],
    step: int = -1,
    formats: str | Iterable[str] = ("saved_model",),
    output: str | os.PathLike[str] | None = None,
    alpha: float = 1.0,
    method: type | str | None = None,
) -> str:
    """Exports a finished step of a run.

    Args:
        run_dir: the run folder.
        step: number of the step; negative numbers count from the last finished one.
        formats: keys of `FORMATS`, or the text of the flag. An undamaged export that
            is there already keeps its other formats.
        output: folder to write; that of the step in the run folder by default.
        alpha: weight of the old classes; see `models.classifier.with_alpha`.
        method: method outside this package that trained the run, as `load_classifier`
            takes it.

    Returns:
        Path of the folder.

    Raises:
        RequestError: a format is unknown, the run has no such step, or cannot be read.
    """
    listed = formats if isinstance(formats, str) else ",".join(formats)
    problems = format_problems("formats", listed)
    refuse(problem.removeprefix("--") for problem in problems)
    _refuse_unfinished(run_dir, step)
    import_keras()
    from bsce_keras.classifiers import load_classifier
    from bsce_keras.exports.step_export import export_step
    from bsce_keras.models.classifier import with_alpha

    run = read_run(run_dir)
    # The records also count steps whose checkpoints are damaged.
    number = step % len(run.steps)
    classifier = load_classifier(run_dir, number, method)
    line = run.steps[number]
    folder = os.fspath(output or export_path(run_dir, number))
    names = classifier.class_names
    accuracies = run.per_class_accuracy[number, : len(names)]
    if alpha != 1:
        is_solved = line.get("temperature") is None
        if is_solved and "calibrated_logits" in classifier.output:
            raise RequestError(
                f"--alpha={alpha:g} moves the logits of a trained head, but the head "
                f"of {run_dir} is solved. Omit --alpha."
            )
        classifier = with_alpha(classifier, line["num_old_classes"], alpha)
    card = functools.partial(write_card, run_dir, line, accuracies, alpha=alpha)
    chosen = {*split_formats(listed), *exported_formats(folder)}
    image = recorded_stream(run_dir).image
    ordered = [name for name in FORMATS if name in chosen]
    # A link that the caller names stays, and the folder behind it is written.
    place = os.path.realpath(folder) if output else folder
    export_step(classifier, image, names, place, ordered, card)
    return folder


def _export(values, _):
    refuse(_problems(values))
    folder = export_finished_step(
        values.run_dir,
        values.step,
        values.formats,
        values.output,
        values.alpha,
        values.method,
    )
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        size = f"{os.path.getsize(path):>12,} bytes  " if os.path.isfile(path) else ""
        print(f"{size or ' ' * 20}{printable(path)}")


def _refuse_unfinished(run_dir, step):
    """Refuses a step that the records of a run do not have."""
    num_finished = len(read_run(run_dir).steps)
    if step not in range(-num_finished, num_finished):
        raise RequestError(
            f"--step={step} is not a finished step of {run_dir}, which has "
            f"{num_finished}. They are numbered from 0; -1 is the last."
        )


def _refuse_without_old_classes(values):
    if not read_run(values.run_dir).steps[values.step].get("num_old_classes"):
        raise RequestError(
            f"--alpha={values.alpha:g} has no effect on step 0, which has no old "
            "classes. Omit it, or export a later step."
        )


def _problems(values, _=None):
    problems = format_problems("formats", values.formats)
    if values.run_dir:
        problems += problems_of(_refuse_unfinished, values.run_dir, values.step)
    else:
        problems.append("--run_dir=RUN is required: folder of a run of `train`")
    output, alpha = values.output, values.alpha
    if output and os.path.exists(output) and model_problems(output):
        problems.append(
            f"--output must be a new folder or that of an export. Received: {output}"
        )
    else:
        problems += output_problems(output)
    place = os.path.join(values.run_dir or ".", "exports")
    if values.run_dir and not output and writable_problems("--run_dir", place):
        problems.append(
            f"{place} cannot be written. Change its permissions, or name another "
            "folder by --output."
        )
    if alpha != 1 and not output:
        problems.append(
            "--alpha needs --output=FOLDER, because the exports of a run hold the "
            f"models that were scored. Received: --alpha={alpha:g}"
        )
    if alpha != 1 and values.run_dir and not problems:
        problems += problems_of(_refuse_without_old_classes, values)
    if not 0 < alpha < math.inf:
        problems.append(f"--alpha must be a positive number. Received: {alpha:g}")
    return problems


if __name__ == "__main__":
    sys.exit(main())
