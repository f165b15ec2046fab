"""Parts of the benchmark: each takes a `Plan` and returns its measurements."""

import contextlib
import dataclasses
import functools
import itertools
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

from bsce_keras.config import FinetuningConfig, TrainingConfig
from bsce_keras.data.pipeline import TrainingInput
from bsce_keras.exports.step_export import export_step
from bsce_keras.learner.epoch_loop import EpochLoop
from bsce_keras.learner.inference import Inference
from bsce_keras.learner.phase_progress import PhaseProgress
from bsce_keras.learner.phases import PhasePlan
from bsce_keras.learner.progress import ProgressLine, ScalarLog
from bsce_keras.memory import herding
from bsce_keras.models.folding import folded
from bsce_keras.records.checkpoints import Checkpoints
from tools.benchmark.bounds import convolutions
from tools.benchmark.children import Run, measure_runs
from tools.benchmark.keras_updates import (
    bare_update,
    make_classifier,
    make_stock_model,
    make_trainer,
)
from tools.benchmark.measure import Effort, Measurement, alternate, speeds
from tools.benchmark.task import (
    CASES,
    LEARNING_RATE,
    NUM_OLD,
    ONEDNN_OFF,
    PRECISIONS,
    Case,
    random_batch,
    random_pool,
)

META_KINDS = ("teacher", "closed_form", "nested_tapes")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Cases, variants and effort of the benchmark.

    Args:
        cases: list of `Case`.
        variants: names of the installed variants.
        auto_precision: precision that `--precision=auto` selects on this machine.
        effort: `Effort`.
    """

    cases: list[Case]
    variants: list[str]
    auto_precision: str
    effort: Effort


def update(plan):
    """Update of a base step, every variant in every precision."""
    return _updates("update", plan, plan.variants, ["plain"])


def update_with_teacher(plan):
    """Update of an increment with distillation, every variant and precision."""
    return _updates("update_with_teacher", plan, plan.variants, ["teacher"])


def onednn(plan):
    """Update of a base step in float32, with oneDNN and without it."""
    # Without oneDNN an update in bfloat16 takes many seconds.
    variants = ["ours", ONEDNN_OFF]
    return _updates("onednn", plan, variants, ["plain"], ["float32"])


def teacher(plan):
    """Forward pass of the teacher, with batch normalisation folded and not."""
    measured = []
    for case in plan.cases:
        keras.backend.clear_session()
        images = tf.constant(random_batch(case)[0])
        workloads = {}
        for precision in PRECISIONS:
            keras.config.set_dtype_policy(precision)
            classifier = make_classifier(case)
            for name, model in (("folded", folded(classifier)), ("plain", classifier)):
                workloads[f"{name}/{precision}"] = _teaching(model, images)
        seconds = alternate(workloads, plan.effort)
        measured += speeds(f"teacher/{case.name}", seconds, case.batch_size)
    return measured


def _teaching(teacher, images):
    @tf.function(autograph=False)
    def teach(images):
        return teacher(images, training=False)["logits"][0, 0]

    return functools.partial(teach, images)


def meta_update(plan):
    """Updates of an increment: plain, and the two kinds that move alpha."""
    return _updates("meta_update", plan, ["ours"], META_KINDS)


def _updates(part, plan, variants, kinds, precisions=PRECISIONS):
    runs = list(itertools.starmap(Run, itertools.product(variants, kinds, precisions)))
    return [
        measurement
        for case in plan.cases
        for measurement in measure_runs(part, case, runs, plan.effort)
    ]


def evaluation(plan):
    """Logits of stored images: `Inference`, and `predict` of stock Keras."""
    measured = []
    for case in plan.cases:
        keras.backend.clear_session()
        # The number of pixels does not depend on the size of images.
        pixels = plan.effort.evaluation_images * 32**2
        images = random_pool(case, max(1, pixels // case.image.size**2)).images
        workloads = {}
        for precision in PRECISIONS:
            keras.config.set_dtype_policy(precision)
            inference = Inference(make_classifier(case), case.image)
            workloads[f"ours/{precision}"] = functools.partial(
                _first_logit, inference.logits, images
            )
            predict = functools.partial(
                make_stock_model(case).predict, batch_size=500, verbose=0
            )
            workloads[f"stock_keras/{precision}"] = functools.partial(
                _first_logit, predict, _centres(images, case.image)
            )
        seconds = alternate(workloads, plan.effort)
        measured += speeds(f"evaluation/{case.name}", seconds, len(images))
    return measured


def _first_logit(predict, images):
    return predict(images)[0, 0]


def _centres(images, image):
    corner = (image.stored_size - image.size) // 2
    centre = slice(corner, corner + image.size)
    return images[:, centre, centre]


def herding_exemplars(plan):
    """Herding of 20 of 1300 features of 512 numbers, and the same by a loop."""
    rng = np.random.default_rng(1)
    seconds = {"ours": [], "per_image_loop": []}
    for _ in range(plan.effort.herding_classes):
        features = np.maximum(rng.normal(0.5, 1.0, (1300, 512)), 0).astype(np.float32)
        picks = []
        for name, select in (("ours", herding), ("per_image_loop", herding_loop)):
            began = time.perf_counter()
            picks.append(list(select(features, 20)))
            seconds[name].append(time.perf_counter() - began)
        if picks[0] != picks[1]:
            raise RuntimeError(f"Herding must pick what the loop picks. Got {picks}")
    return [
        Measurement(f"herding/{name}", "s per class", tuple(samples))
        for name, samples in seconds.items()
    ]


def herding_loop(features, num_exemplars):
    """Selects exemplars as the released code does, by a loop over images."""
    rows = [row / np.linalg.norm(row) for row in features.astype(np.float64)]
    mean = np.mean(rows, axis=0)
    target, picked = mean, []
    while len(picked) < num_exemplars:
        best, best_score = None, -np.inf
        for index, row in enumerate(rows):
            score = np.dot(target, row)
            if score > best_score:
                best, best_score = index, score
        if best not in picked:
            picked.append(best)
        target = target + mean - rows[best]
    return picked


def input_pipeline(plan):
    """Input of training: shuffled, cropped and mirrored batches."""
    measured = []
    for case in plan.cases:
        batches = _training_input(case, plan.effort.epoch_updates)
        seconds = alternate({"ours": functools.partial(_drain, batches)}, plan.effort)
        num_images = plan.effort.epoch_updates * case.batch_size
        measured += speeds(f"input/{case.name}", seconds, num_images)
    return measured


def _training_input(case, num_updates):
    pool = random_pool(case, num_updates * case.batch_size)
    return TrainingInput(pool, case.image, case.batch_size, seed=1, step=0)


def _drain(batches):
    for _, labels in batches.epoch(0):
        last = labels
    return last[0]


def epoch_end(plan):
    """Waits for threads of the input when an epoch ends that does nothing else."""
    case, effort = plan.cases[0], plan.effort
    batches = _training_input(case, effort.epoch_updates)
    samples = []
    for _ in range(effort.rounds):
        iterator = iter(batches.epoch(0))
        for _ in iterator:
            time.sleep(effort.epoch_seconds / effort.epoch_updates)
        began = time.perf_counter()
        del iterator
        samples.append(time.perf_counter() - began)
    return [Measurement(f"epoch_end/{case.name}", "s", tuple(samples))]


def train(plan):
    """Whole epochs of `train`, and the same number of bare updates."""
    effort = dataclasses.replace(plan.effort, repeats=1, warm_up=1)
    measured = []
    for case in plan.cases:
        keras.backend.clear_session()
        trainer = make_trainer(case, plan.auto_precision)
        bare = bare_update(trainer, random_batch(case))
        with tempfile.TemporaryDirectory() as folder:
            workloads = {
                "end_to_end": _epochs(case, trainer, effort, folder),
                "bare_updates": functools.partial(_repeat, bare, effort.epoch_updates),
            }
            seconds = alternate(workloads, effort)
        num_images = effort.epoch_updates * case.batch_size
        measured += speeds(f"train/{case.name}", seconds, num_images)
    return measured


def _epochs(case, trainer, effort, folder):
    """Returns a function that trains the next epoch, with callbacks and checkpoint."""
    batches = _training_input(case, effort.epoch_updates)
    schedule = FinetuningConfig(effort.warm_up + effort.rounds, LEARNING_RATE)
    phase = PhasePlan("main", 0, schedule)
    num_images = effort.epoch_updates * case.batch_size
    # Only tables go to stdout.
    with contextlib.redirect_stdout(sys.stderr):
        line = ProgressLine("step 0", num_images)
    scalars = ScalarLog(folder)
    strategy = tf.distribute.get_strategy()
    loop = EpochLoop(
        trainer, batches, None, 1, strategy, [line, scalars], schedule.epochs
    )
    progress = PhaseProgress(
        Checkpoints(folder), phase, trainer, TrainingConfig.save_minutes
    )

    def save_if_due():
        if progress.is_due:
            progress.save()

    def run():
        epoch = progress.epoch
        means = loop.run_epoch(epoch, LEARNING_RATE, progress.sums, save_if_due)
        progress.finish_epoch(means)
        return epoch

    return run


def _repeat(workload, times):
    for _ in range(times):
        result = workload()
    return result


def serving(plan):
    """Calls of the exported SavedModel with batches of 1 and 64 images."""
    measured = []
    for case in plan.cases:
        keras.backend.clear_session()
        workloads = {}
        with tempfile.TemporaryDirectory() as folder:
            for precision in PRECISIONS:
                loaded = _exported(case, precision, f"{folder}/{precision}")
                for size in (1, 64):
                    images = tf.constant(random_pool(case, size).images)
                    workloads[f"batch_{size}/{precision}"] = functools.partial(
                        _serve, loaded, images
                    )
            seconds = alternate(workloads, plan.effort)
        measured += [
            Measurement(
                f"serving/{case.name}/{name}",
                "ms per call",
                tuple(1e3 * sample for sample in samples),
            )
            for name, samples in seconds.items()
        ]
    return measured


def _exported(case, precision, path):
    keras.config.set_dtype_policy(precision)
    names = [f"class {label}" for label in range(NUM_OLD)]
    export_step(make_classifier(case), case.image, names, path)
    return tf.saved_model.load(path)


def _serve(loaded, images):
    return loaded.signatures["serving_default"](images=images)["probabilities"][0, 0]


def saving(plan):
    """Saves of the progress within a step, for both networks."""
    effort = dataclasses.replace(plan.effort, repeats=1)
    networks = {case.backbone: case for case in reversed(CASES.values())}
    measured = []
    for backbone, case in networks.items():
        keras.backend.clear_session()
        trainer = make_trainer(case, plan.auto_precision)
        with tempfile.TemporaryDirectory() as folder:
            phase = PhasePlan("main", 0, FinetuningConfig(1, LEARNING_RATE))
            progress = PhaseProgress(Checkpoints(folder), phase, trainer, 0)
            seconds = alternate({"ours": functools.partial(_save, progress)}, effort)
        measured.append(
            Measurement(f"saving/{backbone}", "s per save", seconds["ours"])
        )
    return measured


def _save(progress):
    progress.save()
    return 0.0


PARTS = {
    "convolutions": convolutions,
    "update": update,
    "update_with_teacher": update_with_teacher,
    "onednn": onednn,
    "teacher": teacher,
    "meta_update": meta_update,
    "train": train,
    "input": input_pipeline,
    "epoch_end": epoch_end,
    "evaluation": evaluation,
    "serving": serving,
    "herding": herding_exemplars,
    "saving": saving,
}
