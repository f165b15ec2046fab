"""`python -m bsce_keras.compare OLD NEW`: two models on the same images."""

import functools
import itertools
import json
import logging
import os
import sys

import numpy as np

from bsce_keras.evaluation.comparison import Comparison, gate_failures
from bsce_keras.evaluation.export_folder import exported_steps, model_problems
from bsce_keras.evaluation.named_images import named_test_images, unknown_classes
from bsce_keras.evaluation.served_model import load_model
from bsce_keras.options.folders import made_output, output_problems, writable_problems
from bsce_keras.options.run_command import run_command
from bsce_keras.options.scored_stream import dataset_stream, run_stream
from bsce_keras.options.values import below_one
from bsce_keras.records.data_record import warn_of_other_images
from bsce_keras.reports import comparison_report
from bsce_keras.runtime.errors import RequestError, problems_of, refuse
from bsce_keras.runtime.files import write_atomically
from bsce_keras.runtime.text import listed, printable

_GATE_FAILED = 3
# Images that turned wrong which the page shows.
_MOST_IMAGES = 60

_log = logging.getLogger(__name__)


def main(argv=None):
    """Runs the command; see `run_command` for arguments and exit codes.

    Exit code 3: the new model fails `--max_drop` or `--min_gain`.
    """
    return run_command("compare", _compare, argv, check=_problems)


def compare_models(old, new, stream_config, batch_size, check=None):
    """Compares two models on the test images of a data set, classes matched by name.

    Images of classes that neither model knows are left out, with a warning.

    Args:
        old, new: `served_model.ServedModel`s.
        stream_config: `StreamConfig` of the data set.
        batch_size: number of images computed at a time.
        check: function of the `ClassIncrementalStream` of the test images.

    Returns:
        `(comparison, images)`: a `Comparison`, and its images as the new model sees
        them, uint8, shape `(n, side, side, channels)`.

    Raises:
        RequestError: a model takes other images, or there are no images of its classes.
    """
    # Those of the new model first.
    names = tuple(dict.fromkeys((*new.class_names, *old.class_names)))
    unknown = unknown_classes(stream_config, names)
    if unknown:
        _log.warning(
            "Classes left out, because neither model knows them: %s.", listed(unknown)
        )
    tests = {
        size: named_test_images(stream_config, names, size, check)
        for size in {old.stored_size, new.stored_size}
    }
    if not all(map(len, tests.values())):
        raise RequestError(
            f"{stream_config.dataset} has no test images of the classes of these "
            f"models: {listed(names)}. Use another --dataset or --data_dir."
        )
    predictions = [
        _predictions(model, tests[model.stored_size], names, stream_config, batch_size)
        for model in (old, new)
    ]
    shown = tests[new.stored_size]
    comparison = Comparison(
        class_names=names,
        old_knows=np.isin(names, old.class_names),
        labels=shown.labels,
        old=predictions[0],
        new=predictions[1],
    )
    return comparison, shown.images


def _compare(values, models):
    refuse(_problems(values, models))
    paths = [_export(model) for model in models]
    stream_config = _stream(values, paths[1], fetch=True)
    old, new = map(load_model, paths, _of_runs(models))
    check = None
    if not values.dataset:
        check = functools.partial(warn_of_other_images, _run_of(paths[1]))
    comparison, images = compare_models(
        old, new, stream_config, values.batch_size, check
    )
    failures = gate_failures(
        comparison, values.max_drop, values.min_gain, values.min_images
    )
    if values.max_drop is not None:
        _warn_of_small_classes(comparison, values.min_images)
    record = comparison_report.record(comparison, paths, failures)
    if values.format == "json":
        print(json.dumps(record, indent=2))
    else:
        print(comparison_report.text(comparison, paths, failures))
    if values.output:
        _write(values.output, comparison, record, images, paths, failures)
    return _GATE_FAILED if failures else 0


def _of_runs(models):
    """Returns True for each run folder: exports of a run need checksums."""
    return [_export(model) != model for model in models]


def _problems(values, models):
    """Returns every problem of flags, models and images, as sentences."""
    paths = [_export(model) for model in models]
    problems = list(itertools.chain(*map(model_problems, paths, _of_runs(models))))
    problems += _flag_problems(values) + output_problems(values.output)
    problems += writable_problems("--cache_dir", values.cache_dir)
    if len(paths) != 2:
        problems.insert(
            0,
            "Expected two models, OLD and NEW: folders of exported steps, or run "
            f"folders, whose last export is taken. Received: {len(paths)}",
        )
    elif os.path.realpath(paths[0]) == os.path.realpath(paths[1]):
        problems.append(
            f"OLD and NEW are the same model, {paths[1]}, which passes every gate. "
            "Name two exports."
        )
    elif not problems:
        problems += problems_of(_stream, values, paths[1])
    return problems


def _warn_of_small_classes(comparison, min_images):
    """Warns of old classes that may lose any accuracy, because of their few images."""
    large = comparison.large_old_classes(min_images)
    old = np.array(comparison.class_names)[comparison.old_knows].tolist()
    small = [name for name in old if name not in large]
    if small:
        _log.warning(
            "--max_drop leaves out %d of %d old classes, which have fewer than "
            "--min_images=%d images: %s.",
            len(small),
            len(old),
            min_images,
            listed(small),
        )


def _write(folder, comparison, record, images, paths, failures):
    folder = made_output(folder)
    turned = comparison.turned_wrong[:_MOST_IMAGES]
    # One image at a time, because images on the disk are read when they are indexed.
    pictures = [np.asarray(images[i : i + 1])[0] for i in turned.tolist()]
    page = comparison_report.page(comparison, paths, failures, turned, pictures)
    written = {
        "comparison.json": json.dumps(record, indent=2) + "\n",
        "comparison.html": page,
    }
    for name, text in written.items():
        write_atomically(folder / name, text)
        print(f"wrote {printable(folder / name)}", file=sys.stderr)


def _flag_problems(values):
    limits = {name: values[name].value for name in ("max_drop", "min_gain")}
    problems = [
        f"--{name} must be a number of points. Received: {limit}"
        for name, limit in limits.items()
        if limit is not None and not -100 <= limit <= 100
    ]
    if values.max_drop is not None and values.max_drop < 0:
        problems.append(f"--max_drop must be at least 0. Received: {values.max_drop}")
    return problems + below_one(values, "batch_size", "min_images")


def _export(path):
    """Returns the folder of an export: the path, or the last export of a run."""
    exports = exported_steps(path)
    return exports[max(exports)] if exports else path


def _stream(values, new_path, fetch=False):
    """Returns the `StreamConfig` of the images: the named ones, or those of a run."""
    if values.dataset:
        return dataset_stream(values, fetch)
    run_dir = _run_of(new_path)
    if not os.path.isfile(os.path.join(run_dir, "config.json")):
        raise RequestError(
            f"{new_path} does not lie in a run folder, whose images would be scored. "
            "Name the images by --dataset and --data_dir."
        )
    return run_stream(run_dir, values, fetch)


def _run_of(path):
    """Returns the run folder of an export at `RUN/exports/step_NN`."""
    return os.path.dirname(os.path.dirname(os.path.abspath(path)))


def _predictions(model, test, names, stream_config, batch_size):
    """Returns the predicted class of every image, as positions in `names`."""
    model.refuse_channels(stream_config.image.channels, stream_config.dataset)
    position = {name: index for index, name in enumerate(names)}
    places = np.array([position[name] for name in model.class_names])
    return places[model.probabilities(test.images, batch_size).argmax(axis=1)]


if __name__ == "__main__":
    sys.exit(main())
