"""run_experiment(): trains one class-incremental system on one stream."""

import dataclasses
import functools
import logging
import os
from typing import Any

from bsce_keras.config import ExperimentConfig
from bsce_keras.config.export_formats import split_formats
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.evaluation.export_folder import export_path, exported_formats
from bsce_keras.evaluation.metrics import per_class_accuracy
from bsce_keras.exports.step_export import export_step
from bsce_keras.learner.growth import check_network
from bsce_keras.learner.learner import Learner
from bsce_keras.learner.progress import write_step_scalars
from bsce_keras.learner.step_scores import step_scores
from bsce_keras.learner.step_warnings import warn_of_chance
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.methods.own_methods import know_again
from bsce_keras.models.classifier import with_temperature
from bsce_keras.records.run_folder import RunFolder
from bsce_keras.records.step_record import step_record
from bsce_keras.reports.model_card import write_card
from bsce_keras.reports.pictures import step_pictures
from bsce_keras.reports.run_lines import run_header, step_line
from bsce_keras.reports.run_report import write_run_report
from bsce_keras.runtime.devices import devices_in_words, prepared_runtime, resolved
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.signals import Stopped

_log = logging.getLogger(__name__)


def run_experiment(config: ExperimentConfig, flagfile: str = "") -> dict[str, Any]:
    """Trains one class-incremental system on one stream.

    It resumes a run folder that holds finished steps or saved progress of the same
    configuration. A configuration with further increments makes a finished run grow.

    Args:
        config: `ExperimentConfig`, see `bsce_keras.make_config`.
        flagfile: text of a flagfile that repeats the run; saved in its folder.

    Returns:
        The summary, as in summary.json.

    Raises:
        RequestError: `config` is not an `ExperimentConfig`, the run folder belongs to
            another configuration or process, data cannot be read, or a step has too
            few images.
        RunError: training cannot go on; finished steps stay.
        Stopped: on Ctrl-C or SIGTERM while it trains, after a save; after the last
            update, once the run is complete.
    """
    if not isinstance(config, ExperimentConfig):
        raise RequestError(
            "run_experiment takes the configuration that bsce_keras.make_config "
            f"returns. Received: {config!r}"
        )
    if config.method.own:
        know_again(config.method.own)
    config = dataclasses.replace(config, training=resolved(config.training))
    with (
        prepared_runtime(config.training) as runtime,
        RunFolder(config, runtime) as run,
    ):
        stream = ClassIncrementalStream(config.stream)
        # Refuse an unusable backbone before writing to the run folder.
        check_network(config)
        run.begin(stream, flagfile)
        memory = ReplayMemory(config.memory, config.training.seed)
        learner = Learner(config, runtime, run.checkpoints)
        _restore(run, stream, memory, learner)
        unfinished = run.unfinished(stream.steps)
        if unfinished:
            run.on_chief(
                print, run_header(config, stream, devices_in_words(runtime.strategy))
            )
        runtime.stop_requests.record()
        for step in unfinished:
            _refuse_stop(runtime, step)
            # Trains the step's phases, then chooses its exemplars into the memory.
            stats = learner.learn(step, memory)
            run.on_chief(_finish_step, run, stream, step, stats, memory, learner)
        summary = run.finish(write_run_report)
        # A signal after the last update; commands that train several runs end too.
        runtime.stop_requests.refuse(f"stopped; {config.run_dir} is complete")
        return summary


def _refuse_stop(runtime, step):
    """Ends the run before a step, on all workers, if a signal was recorded on any."""
    signum = runtime.stop_signal()
    if signum:
        raise Stopped(
            f"stopped before step {step.index}. Everything saved before stays: give "
            "the same command to go on.",
            signum,
        )


def _restore(run, stream, memory, learner):
    """Restores memory and learner after the last finished step."""
    step, arrays = run.last_finished(stream.steps)
    if step is None:
        return
    memory.restore(arrays)
    learner.restore(step, arrays)
    run.on_chief(_complete, run, step, memory, learner)


def _finish_step(run, stream, step, stats, memory, learner):
    """Scores, saves and exports a trained step.

    It is finished once it is saved. `_complete` repeats an export that failed.
    """
    config, predictor = learner.config, learner.predictor(memory)
    test = stream.seen_test(step)
    scores, probabilities = step_scores(learner, predictor, memory, step, test)
    kept = learner.memory_bytes(step, memory)
    record = step_record(step, stats, scores, memory.counts, kept, config.stream)
    names = config.stream.arriving_class_names
    pictures = step_pictures(step, memory.examples(), test, probabilities, names)
    run.write_pictures(step, pictures)
    run.finish_step(record, {**learner.to_arrays(), **memory.to_arrays()})
    _export(step, predictor, config, record)
    lines = run.records.lines
    write_step_scalars(run.tensorboard_path("steps"), lines)
    print(step_line(lines, len(stream.steps)))
    warn_of_chance(lines[-1], config)


def _export(step, predictor, config, record):
    is_last = step.index == len(config.stream.increments)
    if not config.export or (config.export_only_last and not is_last):
        return
    names = config.stream.arriving_class_names[: step.num_classes]
    path = export_path(config.run_dir, step.index)
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
    write_step_scalars(run.tensorboard_path("steps"), run.records.lines)
    config = learner.config
    path = export_path(config.run_dir, step.index)
    if not os.path.isdir(path):
        _export(step, learner.predictor(memory), config, run.records.last)
    elif config.export:
        _warn_of_missing_formats(config, step, path)


def _warn_of_missing_formats(config, step, path):
    """Warns that a finished step keeps its export, if formats were added since."""
    there = exported_formats(path)
    missing = [x for x in split_formats(config.export_formats) if x not in there]
    if there and missing:
        _log.warning(
            "%s lacks %s of --export_formats, because finished steps keep their "
            "exports. `bsce-export --run_dir=%s --step=%d --formats=%s` adds to it.",
            path,
            " and ".join(missing),
            config.run_dir,
            step.index,
            ",".join(missing),
        )
