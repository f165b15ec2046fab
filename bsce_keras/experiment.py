"""run_experiment(): one class-incremental system on one stream, step after step."""

import contextlib
import dataclasses
import logging
import os

from bsce_keras.config.choices import SAVED
from bsce_keras.config.step_requirements import refuse_impossible_steps
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.evaluation.confusion import evaluate
from bsce_keras.evaluation.metrics import group_accuracy
from bsce_keras.export import export_step
from bsce_keras.learner.inference import Inference
from bsce_keras.learner.learner import Learner
from bsce_keras.memory.replay import ReplayMemory
from bsce_keras.models.saved_backbone import load_backbone
from bsce_keras.records.base_step import load_base_step
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.data_record import (
    image_differences,
    keep_data_record,
    stream_facts,
)
from bsce_keras.records.protocol import (
    DECISIVE_PACKAGES,
    outcome_differences,
    versions,
)
from bsce_keras.records.run_folder import (
    begin_run,
    check_same_run,
    end_run,
    run_lock,
)
from bsce_keras.records.run_records import RunRecords, StepRecord
from bsce_keras.records.shared_checkpoints import SharedCheckpoints
from bsce_keras.reports.run_report import write_run_report
from bsce_keras.runtime.devices import prepared_runtime, resolved
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.machine import peak_memory_mb
from bsce_keras.runtime.signals import StopRequests
from bsce_keras.runtime.text import listed
from bsce_keras.runtime.workers import (
    Workers,
    lost_workers_told,
    refuse_unlike_workers,
)

_log = logging.getLogger(__name__)


def run_experiment(config, flagfile=""):
    """Trains one class-incremental system on one stream.

    A run folder that holds finished steps or epochs of the same configuration is gone
    on with from there.

    Args:
        config: `ExperimentConfig`, see `bsce_keras.make_config`.
        flagfile: text that repeats the run, kept in its folder.

    Returns:
        The summary, as in summary.json.

    Raises:
        RequestError: the run folder belongs to another configuration or process; data
            that cannot be read, or too few images for a step.
        RunError: training cannot go on; what was finished stays.
        Stopped: asked to by Ctrl-C or SIGTERM, after a save.
    """
    config = dataclasses.replace(config, training=resolved(config.training))
    with (
        prepared_runtime(config.training) as strategy,
        StopRequests() as stop_requests,
    ):
        workers = Workers(strategy)
        with lost_workers_told(workers), _locked_by_chief(config.run_dir, workers):
            return _run(config, flagfile, strategy, workers, stop_requests)


@contextlib.contextmanager
def _locked_by_chief(run_dir, workers):
    """`run_lock` of the worker that writes; all are refused if it is."""
    with contextlib.ExitStack() as stack:
        workers.from_chief(lambda: stack.enter_context(run_lock(run_dir)))
        yield


def _run(config, flagfile, strategy, workers, stop_requests):
    own_checkpoints = Checkpoints(config.run_dir)
    checkpoints = SharedCheckpoints(own_checkpoints, workers)
    refuse_unlike_workers(
        workers, [versions(), config.to_json()], _request_differences, "flags"
    )
    workers.from_chief(lambda: _refuse_folder(config, own_checkpoints))
    stream = ClassIncrementalStream(config.stream)
    _refuse_unlike_images(workers, stream)
    num_replicas = strategy.num_replicas_in_sync
    workers.from_chief(
        lambda: _begin(config, stream, own_checkpoints, num_replicas, flagfile)
    )
    states = checkpoints.finished_states()
    memory = ReplayMemory(config.memory, config.training.seed)
    learner = Learner(config, strategy, checkpoints, stop_requests, workers)
    _restore(config, stream, checkpoints, len(states), memory, learner, workers)
    if workers.is_chief:
        records = _records(config, stream, states)
    for step in stream.steps[len(states) :]:
        facts = _learn(learner, memory, step, _replay(stream, step, memory))
        if workers.is_chief:
            predictor = learner.predictor(memory.examples())
            scores = _scores(config, learner, predictor, stream.seen_test(step), step)
            record = _record(config, step, facts, memory, scores)
            _export(config, step, predictor)
            _save(checkpoints, record, memory, learner)
            records.append(record)
    return workers.from_chief(lambda: _finish(config.run_dir, records))


def _finish(run_dir, records):
    """Writes what a complete run has; summary.json comes last."""
    summary = records.summary()
    write_run_report(run_dir, summary)
    end_run(run_dir)
    records.finish(summary)
    return summary


def _request_differences(theirs, ours):
    """Of two workers, each with its versions and its configuration."""
    return [
        *(
            f"{name} {theirs[0][name]} there, {ours[0][name]} here"
            for name in DECISIVE_PACKAGES
            if theirs[0][name] != ours[0][name]
        ),
        *outcome_differences(theirs[1], ours[1]),
    ]


def _refuse_unlike_images(workers, stream):
    """Every worker may have a copy of the data of its own."""
    if workers.number > 1:
        facts = [one for step in stream_facts(stream) for one in step]
        refuse_unlike_workers(workers, facts, image_differences, "images")


def _refuse_folder(config, checkpoints):
    """Refuses a run folder that may not be gone on with."""
    check_same_run(config.run_dir, config)
    if not config.resume and checkpoints.exist():
        raise RequestError(
            f"--noresume was given, but {config.run_dir} holds checkpoints. Delete it "
            "to start afresh, or give another --run_dir."
        )


def _begin(config, stream, checkpoints, num_replicas, flagfile):
    """Refuses what cannot be trained, then writes what a run begins with."""
    states = checkpoints.finished_states()
    refuse_impossible_steps(config, stream, states, num_replicas)
    _warn_of_unscored_classes(stream)
    if config.model.backbone == SAVED:
        # To be refused while nothing is written.
        load_backbone(config.model.backbone_path, config.stream.image)
    base_step = None
    # Nor does one of ours that was damaged count.
    if config.base_run_dir and not states:
        base_step = load_base_step(config, stream.steps[0])
    num_begun = checkpoints.num_begun_steps()
    keep_data_record(config.run_dir, stream, num_begun, len(states))
    begin_run(config.run_dir, config, num_replicas, flagfile)
    if base_step:
        checkpoints.save_step(0, *base_step)


def _records(config, stream, states):
    finished = [StepRecord.from_state(state) for state in states]
    skipped = stream.dataset.skipped_images
    records = RunRecords(config.run_dir, config, finished, skipped)
    _say_what_is_there(config, len(states), len(stream.steps))
    return records


def _warn_of_unscored_classes(stream):
    unscored = [
        name
        for step in stream.steps
        for label, name in enumerate(step.class_names, step.num_old_classes)
        if label not in stream.seen_test(step).labels
    ]
    if unscored:
        _log.warning(
            "Without images to be scored on, so left out of every accuracy: %s.",
            listed(unscored),
        )


def _restore(config, stream, checkpoints, num_finished, memory, learner, workers):
    """Puts memory and learner where the last finished step left them."""
    if not num_finished:
        return
    step = stream.steps[num_finished - 1]
    arrays, _ = checkpoints.load_step(step.index)
    memory.restore(arrays)
    learner.restore(step, arrays)
    checkpoints.drop_leftovers()
    if workers.is_chief and not os.path.isdir(_export_path(config, step)):
        _export(config, step, learner.predictor(memory.examples()))


def _replay(stream, step, memory):
    """Images of old classes that a step trains on besides its own."""
    if memory.config.use.replays_everything:
        return stream.training_before(step)
    return memory.examples()


def _learn(learner, memory, step, replay):
    """Trains a step and brings the memory up to it; returns `TrainingFacts`."""
    training_step, held_out = memory.split(step)
    facts = learner.learn(training_step, replay, held_out, memory.edges)
    memory.update(step, learner.features)
    exemplars = memory.examples()
    if learner.optimizes_exemplars and exemplars is not None:
        images, facts = learner.optimize_exemplars(training_step, exemplars, facts)
        memory.replace_images(images)
    if learner.finetunes(step):
        facts = learner.finetune(step, memory.examples(), facts)
        if learner.selects_again:
            memory.update(step, learner.features)
    return facts


def _say_what_is_there(config, num_finished, num_steps):
    if num_finished == num_steps:
        print(f"{config.run_dir} is complete; to train anew, give another --run_dir")
    elif num_finished:
        print(f"{config.run_dir} goes on with step {num_finished}")
    stream = config.stream
    waiting = sorted({*stream.class_names} - {*stream.arriving_class_names})
    if waiting and stream.dataset == "folder":
        print(
            f"Not among its steps: {listed(waiting)}. To learn them on top, raise "
            f"--num_increments (now {len(stream.increments)})"
        )


def _save(checkpoints, record, memory, learner):
    """From here on the step is finished."""
    arrays = {**learner.to_arrays(), **memory.to_arrays()}
    checkpoints.save_step(record.step, arrays, record.to_state())


def _scores(config, learner, predictor, test, step):
    """Confusion matrix of the predictor, and, where that has a head of its own, the
    accuracies of both heads: fields of a `StepRecord`.
    """
    by_head = evaluate(learner.logits, test, step.num_classes)
    if predictor is learner.classifier:
        return {"confusion": by_head}
    with contextlib.closing(Inference(predictor, config.stream.image)) as inference:
        confusion = evaluate(inference.logits, test, step.num_classes)
    return {
        "confusion": confusion,
        "nme_accuracy": group_accuracy(confusion, 0, step.num_classes),
        "head_accuracy": group_accuracy(by_head, 0, step.num_classes),
    }


def _record(config, step, facts, memory, scores):
    return StepRecord(
        step=step.index,
        num_classes=step.num_classes,
        num_old_classes=step.num_old_classes,
        num_base_classes=config.stream.num_base_classes,
        train_images=facts.train_images,
        **scores,
        epochs=facts.epochs,
        train_seconds=facts.train_seconds,
        images_per_second=facts.images_per_second,
        peak_memory_mb=peak_memory_mb(),
        class_counts=facts.class_counts,
        exemplars_per_class=memory.counts,
        alpha=facts.alpha,
        alphas=facts.alphas,
        alpha_clips=facts.alpha_clips,
        alpha_by_epoch=facts.alpha_by_epoch,
    )


def _export(config, step, predictor):
    if not config.export or (
        config.export_only_last and step.index < len(config.stream.increments)
    ):
        return
    names = config.stream.arriving_class_names[: step.num_classes]
    path = _export_path(config, step)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    export_step(predictor, config.stream.image, names, path)


def _export_path(config, step):
    return os.path.join(config.run_dir, "exports", f"step_{step.index:02d}")
