"""Artificial run of three steps whose scores are computed by hand."""

import numpy as np
import pytest

from bsce_keras.config import (
    ExperimentConfig,
    ImageSpec,
    MemoryConfig,
    MethodConfig,
    ModelConfig,
    StreamConfig,
    TrainingConfig,
)
from bsce_keras.data import stream as streams
from bsce_keras.data.examples import Examples
from bsce_keras.data.splits import ImageDataset
from bsce_keras.methods.parameters import NoParameters
from bsce_keras.records.run_identity import begin_run
from bsce_keras.records.run_records import RunRecords, read_run
from bsce_keras.records.step_record import StepRecord
from bsce_keras.reports.run_report import write_run_report

# 2 + 1 + 1 classes, 4 test images a class. Accuracies 7/8, 9/12, 6/16.
CONFUSIONS = (
    [[4, 0], [1, 3]],
    [[3, 0, 1], [0, 2, 2], [0, 0, 4]],
    [[1, 0, 1, 2], [0, 1, 0, 3], [0, 0, 1, 3], [1, 0, 0, 3]],
)


@pytest.fixture
def make_config(tmp_path):
    """Function from a loss, a seed and training fields to an `ExperimentConfig`."""

    def make(loss="softmax", seed=1, run_dir=None, alpha=1.0, **training):
        return ExperimentConfig(
            stream=StreamConfig(
                dataset="letters",
                data_dir=None,
                class_names=("a", "b", "c", "d"),
                class_order="seed:3",
                order=(2, 0, 3, 1),
                num_base_classes=2,
                increments=(1, 1),
                image=ImageSpec(size=8, stored_size=8),
            ),
            memory=MemoryConfig(exemplars_per_class=5),
            model=ModelConfig("resnet8"),
            method=MethodConfig("finetune", loss, NoParameters(), alpha=alpha),
            training=TrainingConfig(
                **{
                    "epochs": 10,
                    "batch_size": 32,
                    "learning_rate": 0.1,
                    "weight_decay": 0.0,
                    "seed": seed,
                    **training,
                }
            ),
            run_dir=str(run_dir or tmp_path / f"{loss}_{seed}"),
        )

    return make


def finish_run(records, run_dir):
    """Writes report and summary.json, as experiment.py does."""
    summary = records.summary()
    write_run_report(run_dir, summary)
    records.finish(summary)
    return summary


@pytest.fixture
def make_record():
    """Function from a step and fields to the `StepRecord` of the example."""

    def make(step, **fields):
        num_classes = len(CONFUSIONS[step])
        num_old_classes = len(CONFUSIONS[step - 1]) if step else 0
        values = {
            "step": step,
            "num_classes": num_classes,
            "num_old_classes": num_old_classes,
            "num_base_classes": 2,
            "train_images": 100,
            "confusion": np.array(CONFUSIONS[step]),
            "epochs": 10,
            "train_seconds": 1.5,
            "images_per_second": 500.0,
            "peak_memory_mb": 900.0,
            "class_counts": [5] * num_old_classes
            + [50] * (num_classes - num_old_classes),
            "exemplars_per_class": [5] * num_classes,
        }
        return StepRecord(**{**values, **fields})

    return make


@pytest.fixture
def make_run(make_config, make_record):
    """Function from fields of a config to the `RunResult` of a written run."""

    def make(loss="softmax", num_steps=3, confusion=None, **fields):
        config = make_config(loss, **fields)
        begin_run(config.run_dir, config, num_replicas=1)
        records = RunRecords(config.run_dir, config)
        for step in range(num_steps):
            last = (
                {"confusion": confusion} if step == 2 and confusion is not None else {}
            )
            records.append(make_record(step, **last))
        if num_steps == 3:
            records.finish(records.summary())
        return read_run(config.run_dir)

    return make


@pytest.fixture
def photos():
    """Three training images and one test image of every class, all different."""
    generator = np.random.default_rng(0)
    return {
        split: {
            name: list(generator.integers(0, 256, (number, 9, 9, 3), np.uint8))
            for name in ("ant", "bee", "cow", "dog")
        }
        for split, number in (("train", 3), ("test", 1))
    }


@pytest.fixture
def stream_of(monkeypatch):
    """Function from photos to their stream: two base classes, then one, then one."""

    def stream_of(photos, order=(0, 1, 2, 3)):
        splits = {split: _examples(classes) for split, classes in photos.items()}
        dataset = ImageDataset(**splits)
        monkeypatch.setattr(streams, "load_dataset", lambda *_: dataset)
        config = StreamConfig(
            dataset="folder",
            data_dir=None,
            class_names=tuple(photos["train"]),
            class_order="file",
            order=order,
            num_base_classes=2,
            increments=(1, 1),
            image=ImageSpec(size=8, stored_size=9),
        )
        return streams.ClassIncrementalStream(config)

    return stream_of


def _examples(classes):
    labels = np.repeat(
        np.arange(len(classes)), [len(part) for part in classes.values()]
    )
    images = np.stack([image for part in classes.values() for image in part])
    return Examples(images, labels, np.arange(len(labels)))
