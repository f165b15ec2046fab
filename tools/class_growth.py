"""Time and memory of a start, and of a step's records, by the number of classes.

    python -m tools.class_growth 1000 10000

The classes arrive in a base step with half of them and 10 increments. Each has one
training image in a folder and 10 test images, of which half are predicted as another
class at random. A checkpoint holds the records of its step and of the steps before it,
without weights and exemplars. Linux only.
"""

import argparse
import os
import tempfile
import time

import numpy as np

from bsce_keras.config.step_requirements import image_problems
from bsce_keras.evaluation.confusion import confusion_matrix
from bsce_keras.options.make_config import make_config
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.run_identity import begin_run
from bsce_keras.records.run_records import RunRecords
from bsce_keras.records.step_record import StepRecord
from bsce_keras.runtime.files import make_folder
from bsce_keras.runtime.machine import peak_memory_mb

NUM_INCREMENTS, TEST_IMAGES = 10, 10


def main(argv=None):
    """Prints a line for every number of classes.

    Args:
        argv: arguments without the name of the program; those of the process by
            default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tools.class_growth", description=__doc__.splitlines()[0]
    )
    parser.add_argument("num_classes", nargs="+", type=int, help="multiples of 20")
    for num_classes in sorted(parser.parse_args(argv).num_classes):
        with tempfile.TemporaryDirectory() as folder:
            facts = _measure(num_classes, folder)
        # The peak is that of the process, so the sizes are measured in order.
        facts["peak memory"] = f"{peak_memory_mb():.0f} MB"
        shown = ", ".join(f"{name} {value}" for name, value in facts.items())
        print(f"{num_classes} classes: {shown}", flush=True)


def _measure(num_classes, folder):
    for name in (f"class_{label:06d}" for label in range(num_classes)):
        for split in ("train", "test"):
            os.makedirs(os.path.join(folder, split, name))
            with open(os.path.join(folder, split, name, "0.png"), "wb") as file:
                file.write(b"is not read")
    begin = time.perf_counter()
    config = make_config(
        "folder",
        data_dir=folder,
        image_size=8,
        num_increments=NUM_INCREMENTS,
        run_dir=os.path.join(folder, "run"),
    )
    seconds = {"make_config": time.perf_counter() - begin}
    begin = time.perf_counter()
    image_problems(config, [1] * num_classes)
    seconds["check of all steps"] = time.perf_counter() - begin
    sizes = _save_steps(config, seconds)
    return {
        **{name: f"{value:.2f} s" for name, value in seconds.items()},
        **{name: f"{value / 1e6:.2f} MB" for name, value in sizes.items()},
    }


def _save_steps(config, seconds):
    """Saves the records of all steps; returns sizes of the last one's files."""
    make_folder(config.run_dir)
    begin_run(config.run_dir, config, num_replicas=1)
    checkpoints = Checkpoints(config.run_dir)
    records = RunRecords(config.run_dir, config)
    for plan in config.plans:
        record = _record(plan, config.stream.num_base_classes)
        begin = time.perf_counter()
        checkpoints.save_step(plan.index, record.to_arrays(), record.to_state())
        seconds["save of the last step"] = time.perf_counter() - begin
        begin = time.perf_counter()
        records.append(record)
        seconds["its records"] = time.perf_counter() - begin
    begin = time.perf_counter()
    arrays, state = Checkpoints(config.run_dir).load_step(plan.index)
    StepRecord.from_state(state, arrays)
    seconds["load"] = time.perf_counter() - begin
    begin = time.perf_counter()
    records.summary()
    seconds["summary"] = time.perf_counter() - begin
    name = os.path.join(checkpoints.folder, f"step_{plan.index:02d}")
    return {
        "checkpoint": sum(os.path.getsize(f"{name}{end}") for end in (".json", ".npz")),
        "confusion.npy": os.path.getsize(f"{config.run_dir}/confusion.npy"),
        "steps.jsonl": os.path.getsize(f"{config.run_dir}/steps.jsonl"),
    }


def _record(plan, num_base_classes):
    rng, seen = np.random.default_rng(plan.index), plan.num_classes
    labels = np.arange(TEST_IMAGES * seen) % seen
    others = rng.integers(0, seen, len(labels))
    guesses = np.where(rng.random(len(labels)) < 0.5, labels, others)
    return StepRecord(
        step=plan.index,
        num_classes=seen,
        num_old_classes=plan.num_old_classes,
        num_base_classes=num_base_classes,
        train_images=seen,
        confusion=confusion_matrix(guesses, labels, seen),
        epochs=1,
        train_seconds=1.0,
        images_per_second=1.0,
        peak_memory_mb=1.0,
        class_counts=[1] * seen,
        exemplars_per_class=[1] * seen,
    )


if __name__ == "__main__":
    main()
