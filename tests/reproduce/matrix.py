"""A matrix of tiny cells: its flagfiles, folders and results."""

import dataclasses
import os
import pathlib

import numpy as np

from bsce_keras.records.run_identity import begin_run
from bsce_keras.records.run_records import RunRecords
from bsce_keras.records.step_record import StepRecord

TINY = """--dataset=digits
--backbone=small
--num_base_classes=8
--num_increments=1
--epochs=1
"""
BALANCED = "--classification_loss=balanced_softmax\n"


def write_flagfiles(**texts):
    """Writes tiny/NAME.flags and returns their paths."""
    os.makedirs("tiny", exist_ok=True)
    for name, text in texts.items():
        pathlib.Path(f"tiny/{name}.flags").write_text(text)
    return [f"tiny/{name}.flags" for name in texts]


def write_run(config, flagfile=""):
    """Writes the folder of a run that classifies every image correctly."""
    from bsce_keras.runtime.devices import resolved

    config = dataclasses.replace(config, training=resolved(config.training))
    begin_run(config.run_dir, config, 1, flagfile)
    checkpoints = pathlib.Path(config.run_dir, "checkpoints")
    checkpoints.mkdir(exist_ok=True)
    (checkpoints / "step_00.json").write_text("{}")
    records = RunRecords(config.run_dir, config)
    sizes = (config.stream.num_base_classes, *config.stream.increments)
    for step, new in enumerate(sizes):
        old = sum(sizes[:step])
        records.append(
            StepRecord(
                step=step,
                num_classes=old + new,
                num_old_classes=old,
                num_base_classes=sizes[0],
                train_images=130 * new + 5 * old,
                confusion=np.eye(old + new, dtype=int),
                epochs=1,
                train_seconds=60.0,
                images_per_second=1.0,
                peak_memory_mb=1.0,
                class_counts=[5] * old + [130] * new,
                exemplars_per_class=[5] * (old + new),
            )
        )
    records.finish(records.summary())


def folders(configs):
    return [config.run_dir.removeprefix("runs/reproduce/") for config in configs]


def rows_of_results():
    lines = pathlib.Path("runs/reproduce/results.md").read_text().splitlines()
    return [line for line in lines if line.startswith("|")]
