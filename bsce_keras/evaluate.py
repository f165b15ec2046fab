"""`python -m bsce_keras.evaluate`: scores exported models on test images."""

import logging
import math
import pathlib
import sys

import numpy as np

from bsce_keras.evaluation.confusion import confusion_matrix
from bsce_keras.evaluation.export_folder import exported_steps, model_problems
from bsce_keras.evaluation.metrics import group_accuracy, step_accuracies, tally
from bsce_keras.evaluation.named_images import named_test_images, unknown_classes
from bsce_keras.evaluation.scores import accuracies_by_alpha
from bsce_keras.evaluation.served_model import load_model
from bsce_keras.options.folders import writable_problems
from bsce_keras.options.run_command import run_command
from bsce_keras.options.scored_stream import dataset_stream, run_stream
from bsce_keras.options.values import below_one
from bsce_keras.records.data_record import warn_of_other_images
from bsce_keras.records.run_records import read_record, read_run
from bsce_keras.reports.model_card import FACTS
from bsce_keras.reports.tables import aligned
from bsce_keras.runtime.errors import RequestError, problems_of, refuse
from bsce_keras.runtime.tensorflow_import import import_tensorflow
from bsce_keras.runtime.text import listed, percent

_log = logging.getLogger(__name__)


def main(argv=None):
    """Runs the command; see `run_command` for arguments and exit codes."""
    return run_command("evaluate", _evaluate, argv, check=_problems)


def score_run(run_dir, stream_config, batch_size):
    """Scores the exported steps of a run on the test images of their seen classes.

    Args:
        run_dir: the run folder.
        stream_config: its `StreamConfig`.
        batch_size: number of images computed at a time.

    Yields:
        `(step, scores)` for each export: the `data.stream.Step`, and a dictionary of
        the accuracies of steps.jsonl, NaN without test images.

    Raises:
        RequestError: an export was altered or does not belong to this stream.
    """
    num_base = stream_config.num_base_classes
    for step, probabilities, labels in _predicted(run_dir, stream_config, batch_size):
        predicted = probabilities.argmax(axis=1)
        scored = tally(confusion_matrix(predicted, labels, step.num_classes))
        yield step, step_accuracies(scored, num_base, step.num_old_classes)


def _predicted(run_dir, stream_config, batch_size):
    """Yields step, probabilities and labels of the test images of every export."""
    # Imported here, so that a wrong request is refused before TensorFlow loads.
    import_tensorflow()
    from bsce_keras.data.stream import ClassIncrementalStream

    stream = ClassIncrementalStream(stream_config, training_images=False)
    warn_of_other_images(run_dir, stream)
    for number, path in exported_steps(run_dir).items():
        model = load_model(path, of_run=True)
        step = _step_of(model, number, stream)
        if step is None:
            raise RequestError(
                f"{path} is not a step of this run, because its classes, "
                f"{listed(model.class_names)}, are not those of config.json. Restore "
                "it, or move it away."
            )
        test = stream.seen_test(step)
        yield step, model.probabilities(test.images, batch_size), test.labels


def score_model(model, stream_config, batch_size):
    """Returns the confusion matrix of a model on test images, classes matched by name.

    The model may predict any of its classes. Test images of classes that it does not
    know are left out, with a warning that names the classes.

    Args:
        model: `served_model.ServedModel`.
        stream_config: `StreamConfig` of the data set.
        batch_size: number of images computed at a time.

    Returns:
        int64, shape `(N, N)` for the N classes of the model, rows true classes.

    Raises:
        RequestError: model and data set share no class name, or differ in the number
            of channels.
    """
    _refuse_unknown_classes(model, stream_config)
    model.refuse_channels(stream_config.image.channels, stream_config.dataset)
    names = model.class_names
    test = named_test_images(stream_config, names, model.stored_size)
    predicted = model.probabilities(test.images, batch_size).argmax(axis=1)
    return confusion_matrix(predicted, test.labels, len(names))


def _evaluate(values, _):
    refuse(_problems(values))
    if values.run_dir and values.alpha:
        _print_alphas(values)
    elif values.run_dir:
        _evaluate_run(values)
    else:
        _evaluate_model(values)


def _problems(values, _=None):
    problems = below_one(values, "batch_size")
    if values.alpha is not None and (values.model or _alphas(values.alpha) is None):
        problems.append(
            "--alpha must be positive numbers separated by commas, with --run_dir. "
            f"Received: --alpha={values.alpha}"
            + (" with --model" if values.model else "")
        )
    problems += writable_problems("--cache_dir", values.cache_dir)
    if bool(values.run_dir) == bool(values.model):
        problems.append(
            "Set either --run_dir=RUN, or --model=EXPORT with --dataset. Received: "
            + ("both" if values.run_dir else "neither")
        )
    elif values.run_dir:
        problems += _run_problems(values)
    else:
        problems += model_problems(values.model) + problems_of(dataset_stream, values)
    return problems


def _run_problems(values):
    problems = problems_of(run_stream, values.run_dir, values)
    if values.dataset:
        problems.append(
            "--dataset is for --model, because a run is scored on the data set of its "
            f"training. Received: --dataset={values.dataset} with --run_dir. Omit one "
            "of them."
        )
    exports = exported_steps(values.run_dir)
    if not exports and not problems:
        problems.append(
            f"{values.run_dir} holds no exported step. `bsce-export "
            f"--run_dir={values.run_dir} --step=N` exports a finished one."
        )
    is_readable = not problems
    for path in exports.values():
        found = model_problems(path, of_run=True)
        if is_readable and not found:
            found = problems_of(_refuse_stranger, path, values.run_dir)
        problems += found
    return problems


def _refuse_stranger(path, run_dir):
    """Refuses an export whose card names another run; earlier versions named none."""
    card = read_record(pathlib.Path(path, FACTS)) or {}
    run_id = (read_record(pathlib.Path(run_dir, "config.json")) or {}).get("run_id")
    if run_id and card.get("run_id") not in (None, run_id):
        raise RequestError(
            f"{path} is of run {card['run_id']} ({card.get('run')}), and {run_dir} is "
            f"run {run_id}. Restore it from a copy, or move it away."
        )


def _print_alphas(values):
    """Prints accuracies of every increment by the alpha that moves its old logits."""
    stream_config = run_stream(values.run_dir, values, fetch=True)
    rows = []
    for step, probabilities, labels in _predicted(
        values.run_dir, stream_config, values.batch_size
    ):
        scored = accuracies_by_alpha(
            probabilities, labels, step.num_old_classes, _alphas(values.alpha)
        )
        rows += [
            [str(step.index), f"{alpha:g}", *map(percent, accuracies)]
            for alpha, *accuracies in scored
        ]
    print(aligned(["step", "alpha", "accuracy", "old", "new"], rows))
    if not stream_config.validation_share:
        print(
            "\nThese are test images. To choose an alpha, use a run with "
            "--validation_share, which is scored on held-out training images."
        )


def _alphas(text):
    """Returns the numbers of a text such as `0.5,1,2`; None if it is invalid."""
    try:
        alphas = [float(part) for part in text.split(",")]
    except ValueError:
        return None
    return alphas if all(0 < alpha < math.inf for alpha in alphas) else None


def _evaluate_run(values):
    run = read_run(values.run_dir)
    stream_config = run_stream(values.run_dir, values, fetch=True)
    recorded = {line["step"]: line for line in run.steps}
    rows, differ = [], False
    for step, scores in score_run(values.run_dir, stream_config, values.batch_size):
        record = recorded.pop(step.index, {})
        mark = "" if _agree(scores, record) else "*"
        differ = differ or bool(mark)
        rows.append(
            [str(step.index), str(step.num_classes), *map(percent, scores.values())]
            + [percent(record.get("accuracy")), mark]
        )
    head = ["step", "classes", "accuracy", "base", "old", "new", "recorded", ""]
    print(aligned(head, rows))
    if differ:
        print(
            "\n* differs from the recorded accuracy. Test images, hardware, package "
            "versions, or the format or precision of the export may not be those of "
            "the run."
        )
    if recorded:
        missing = listed(f"step {number}" for number in recorded)
        print(
            f"\nNot exported, so not scored: {missing}. `bsce-export --step=N` exports "
            "one."
        )


def _evaluate_model(values):
    stream_config = dataset_stream(values, fetch=True)
    model = load_model(values.model)
    confusion = score_model(model, stream_config, values.batch_size)
    num_images = int(confusion.sum())
    if not num_images:
        raise RequestError(
            f"{values.dataset} has no test images of the classes of {values.model}. "
            "Add some, or use another --dataset."
        )
    num_classes = np.count_nonzero(confusion.sum(axis=1))
    accuracy = percent(group_accuracy(tally(confusion), 0, len(confusion)))
    head = ["images", "classes", "accuracy"]
    print(aligned(head, [[str(num_images), str(num_classes), accuracy]]))


def _step_of(model, number, stream):
    """Returns the step of a stream that a model belongs to, or None."""
    step = next((step for step in stream.steps if step.index == number), None)
    names = stream.config.arriving_class_names
    return step if step and model.class_names == names[: step.num_classes] else None


def _refuse_unknown_classes(model, stream_config):
    """Refuses a model that knows no class; warns of classes that it does not know."""
    names = stream_config.arriving_class_names
    unknown = unknown_classes(stream_config, model.class_names)
    if len(unknown) == len(names):
        raise RequestError(
            f"--model and {stream_config.dataset} have no class name in common. The "
            f"model knows {listed(model.class_names)}. The data set has "
            f"{listed(names)}. Use another --dataset, or rename its classes."
        )
    if unknown:
        _log.warning(
            "Classes left out, because the model does not know them (%d of %d): %s.",
            len(unknown),
            len(names),
            listed(unknown),
        )


def _agree(scores, record):
    """Returns True if a line of steps.jsonl has these scores, or is missing."""
    if not record:
        return True
    then = (record[name] for name in scores)
    now = (None if math.isnan(score) else score for score in scores.values())
    # The tolerance is far less than one image, so it covers only rounding.
    return all(
        a == b if None in (a, b) else math.isclose(a, b, abs_tol=5e-7)
        for a, b in zip(then, now, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
