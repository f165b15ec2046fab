"""run_experiment(): trains one class-incremental system on one stream."""

import dataclasses
import functools
import os
from typing import Any

import numpy as np

from bsce_keras.config import ExperimentConfig
from bsce_keras.config.export_formats import split_formats
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.evaluation.confusion import confusion_matrix
from bsce_keras.evaluation.metrics import (
    group_accuracy,
    per_class_accuracy,
    tally,
)
from bsce_keras.evaluation.scores import scored
from bsce_keras.exports.step_export import export_step
from bsce_keras.learner.calibration import calibration
from bsce_keras.learner.learner import Learner
from bsce_keras.learner.progress import write_step_scalars
from bsce_keras.learner.step_warnings import warn_of_chance
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.models.classifier import check_pretrained, with_temperature
from bsce_keras.records.run_folder import RunFolder
from bsce_keras.records.step_record import step_record
from bsce_keras.reports.model_card import write_card
from bsce_keras.reports.run_lines import run_header, step_line
from bsce_keras.reports.run_report import write_run_report
from bsce_keras.runtime.devices import devices_in_words, prepared_runtime, resolved


def run_experiment(config: ExperimentConfig, flagfile: str = "") -> dict[str, Any]:
    """Trains one class-incremental system on one stream.

    It resumes a run folder that holds finished steps or saved progress of the same
    configuration.

    Args:
        config: `ExperimentConfig`, see `bsce_keras.make_config`.
        flagfile: text of a flagfile that repeats the run; saved in its folder.

    Returns:
        The summary, as in summary.json.

    Raises:
        RequestError: the run folder belongs to another configuration or process, data
            cannot be read, or a step has too few images.
        RunError: training cannot go on; finished steps stay.
        Stopped: on Ctrl-C or SIGTERM, after a save.
    """
    config = dataclasses.replace(config, training=resolved(config.training))
    with (
        prepared_runtime(config.training) as runtime,
        RunFolder(config, runtime) as run,
    ):
        stream = ClassIncrementalStream(config.stream)
        if config.model.is_pretrained:
            # Refuse an unusable backbone before writing to the run folder.
            check_pretrained(config)
        run.begin(stream, flagfile)
        memory = ReplayMemory(config.memory, config.training.seed)
        learner = Learner(config, runtime, run.checkpoints)
        _restore(run, stream, memory, learner)
        unfinished = run.unfinished(stream.steps)
        if unfinished:
            run.on_chief(
                print, run_header(config, stream, devices_in_words(runtime.strategy))
            )
        for step in unfinished:
            # Trains the step's phases, then chooses its exemplars into the memory.
            stats = learner.learn(step, memory)
            run.on_chief(_finish_step, run, stream, step, stats, memory, learner)
        return run.finish(write_run_report)


def _restore(run, stream, memory, learner):
    """Restores memory and learner after the last finished step."""
    step, arrays = run.last_finished(stream.steps)
    if step is None:
        return
    memory.restore(arrays)
    learner.restore(step, arrays)
    run.on_chief(_complete, run, step, memory, learner)


def _finish_step(run, stream, step, stats, memory, learner):
    """Scores, exports and saves a trained step; the step is finished then."""
    config, predictor = learner.config, learner.predictor(memory)
    scores = _scores(learner, predictor, memory, stream.seen_test(step), step)
    kept = learner.memory_bytes(step, memory)
    record = step_record(step, stats, scores, memory.counts, kept, config.stream)
    _export(run, step, predictor, config, record)
    run.finish_step(record, {**learner.to_arrays(), **memory.to_arrays()})
    lines = run.lines
    write_step_scalars(run.tensorboard_path("steps"), lines)
    print(step_line(lines, len(stream.steps)))
    warn_of_chance(lines[-1])


def _scores(learner, predictor, memory, test, step):
    """Returns the fields of a `StepRecord` that come from images and predictor.

    If the predictor has a separate head, the accuracies of both heads are added.
    """
    config = learner.config
    with learner.serving(predictor) as logits_of:
        fields = {}
        if config.calibrate:
            validation = test if config.stream.validation_share else None
            fields = calibration(logits_of, step, memory, validation)
        logits = _logits(logits_of, test, step)
    fields["confusion"], fields["further"] = scored(
        logits, test.labels, step.num_old_classes, fields.get("temperature", 1.0)
    )
    if predictor is not learner.classifier:
        with learner.serving(learner.classifier) as logits_of:
            by_head = _logits(logits_of, test, step).argmax(axis=1)
        by_head = confusion_matrix(by_head, test.labels, step.num_classes)
        fields["nme_accuracy"] = _accuracy(fields["confusion"])
        fields["head_accuracy"] = _accuracy(by_head)
    return fields


def _accuracy(confusion):
    return group_accuracy(tally(confusion), 0, len(confusion))


def _logits(logits_of, test, step):
    """Returns logits of test images; an empty array where there are none."""
    if len(test):
        return logits_of(test.images)
    return np.empty((0, step.num_classes))


def _export(run, step, predictor, config, record):
    is_last = step.index == len(config.stream.increments)
    if not config.export or (config.export_only_last and not is_last):
        return
    names = config.stream.arriving_class_names[: step.num_classes]
    path = run.export_path(step)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    formats = split_formats(config.export_formats)
    card = functools.partial(
        write_card, config.run_dir, record.to_line(), per_class_accuracy(record.scored)
    )
    served = with_temperature(predictor, record.temperature)
    export_step(served, config.stream.image, names, path, formats, card)


def _complete(run, step, memory, learner):
    """Writes what a process that ended after the save of a step did not write.

    That is the export, which may have been removed too, and the step's scalars.
    """
    write_step_scalars(run.tensorboard_path("steps"), run.lines)
    if not os.path.isdir(run.export_path(step)):
        predictor = learner.predictor(memory)
        _export(run, step, predictor, learner.config, run.last_record)
