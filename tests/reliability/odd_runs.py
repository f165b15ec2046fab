"""Runs on unusual streams, and their expected results.

`OddRun` computes the expected result only from the numbers of images: a refusal, the
training images and exemplars of each step, and the scores that are defined.
"""

import contextlib
import dataclasses
import io
import itertools
import json
import warnings

import numpy as np
import pytest
from PIL import Image

from bsce_keras import evaluate, make_config, report
from bsce_keras.evaluation.served_model import load_model
from bsce_keras.methods.recipes import published
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.run_records import read_run
from bsce_keras.records.step_record import StepRecord
from bsce_keras.runtime.errors import RequestError

META = "meta_balanced_softmax"
BALANCED = ("balanced_softmax", META)


@dataclasses.dataclass(frozen=True)
class OddRun:
    """Stream of a few tiny images, and the run on it.

    Args:
        train, test: numbers of images of every class, in arrival order.
        steps: numbers of classes of every step, the base step first.
        method, loss, finetuning, sampling: options of the system.
        exemplars_per_class, memory_budget: options of the memory; one of them is None.
        batch_size: global batch size.
        replicas: 1, or the number of virtual devices.
        export: True exports the last step.
    """

    train: tuple[int, ...]
    test: tuple[int, ...]
    steps: tuple[int, ...]
    method: str = "il_baseline"
    loss: str = "softmax"
    finetuning: bool = False
    sampling: str = "uniform"
    exemplars_per_class: int | None = None
    memory_budget: int | None = None
    batch_size: int = 2
    replicas: int = 1
    export: bool = False

    @property
    def ends(self):
        """Numbers of classes seen after every step."""
        return list(itertools.accumulate(self.steps))

    def quota(self, num_classes):
        """Number of exemplars that a class may have, by number of seen classes."""
        if self.memory_budget is not None:
            return self.memory_budget // num_classes
        return self.exemplars_per_class

    def held_out(self, num_classes):
        """Number of these exemplars of every class that BiC sets aside."""
        return max(1, self.quota(num_classes) // 10) if self.method == "bic" else 0

    def replayed(self, num_classes):
        """Number of exemplars of every class that are trained on."""
        if self.method == "joint":
            return list(self.train[:num_classes])
        quota = self.quota(num_classes) - self.held_out(num_classes)
        return [
            min(quota, images - self.held_out(end))
            for images, end in zip(self.train, self._arrivals(), strict=False)
            if end <= num_classes
        ]

    def held(self, num_classes):
        """Number of exemplars that every class has."""
        if self.method == "joint":
            return [0] * num_classes
        held_out = self.held_out(num_classes)
        return [held_out + replayed for replayed in self.replayed(num_classes)]

    def _arrivals(self):
        """Number of seen classes at the arrival of every class."""
        return np.repeat(self.ends, self.steps).tolist()

    def aside(self, step):
        """Number of images of every class in the alpha split."""
        if self.loss != META or step == 0:
            return 0
        return max(1, self.quota(self.ends[step - 1]) // 10)

    def pool(self, step):
        """Number of images of every class that a step may train on."""
        num_old, num_seen = self.ends[step] - self.steps[step], self.ends[step]
        held_out = self.held_out(num_seen)
        new = [images - held_out for images in self.train[num_old:num_seen]]
        return [*(self.replayed(num_old) if num_old else []), *new]

    def trained_on(self, step):
        """Number of these images of every class that the network is trained on."""
        return [images - self.aside(step) for images in self.pool(step)]

    @property
    def steps_without_choice(self):
        """Steps whose classification loss has only one class, so it is constant."""
        choices = self.ends
        if self.loss in BALANCED:
            steps = range(len(self.steps))
            choices = [np.count_nonzero(self.trained_on(step)) for step in steps]
        return [step for step, num in enumerate(choices) if num == 1]

    def refusal(self):
        """Part of the expected message if the run is refused, else None."""
        later = range(1, len(self.steps))
        if not sum(self.test):
            return "must hold test images"
        last_quota = self.quota(self.ends[-1])
        if self.method == "icarl" and last_quota < 1:
            return "classifies by exemplars"
        if self.method == "bic" and last_quota < 2:
            return "trains on exemplars and corrects its head by others"
        if later and self.finetuning and last_quota < 1:
            return "Balanced fine-tuning needs exemplars of every seen class"
        if later and self.loss == "separated_softmax" and min(self.steps[1:]) < 2:
            return "every increment needs at least 2 new classes"
        if later and self.sampling != "uniform" and self.quota(self.ends[-2]) < 1:
            return "draws old images more often, but the memory holds none"
        if later and self.loss == META and self.quota(self.ends[-2]) < 2:
            return "meta_balanced_softmax needs at least 2 exemplars a class"
        steps = range(len(self.steps))
        if self.method == "bic" and any(min(self.pool(step)) < 1 for step in steps):
            return "images of every new class aside, by which it corrects its head"
        if any(min(self.trained_on(step)) < 1 for step in later if self.aside(step)):
            return "the alpha split of meta_balanced_softmax takes"
        if any(size < self.replicas for size in self._phase_sizes()):
            return f"images for {self.replicas} replicas, but each needs one"
        return None

    def _phase_sizes(self):
        for step, end in enumerate(self.ends):
            yield sum(self.trained_on(step))
            if self.aside(step):
                yield self.aside(step) * end
            if self.finetuning and step:
                yield sum(self.replayed(end)) if self.method != "joint" else 0

    def config(self, folder):
        """Returns the configuration, after writing the images below a folder."""
        joint = self.method == "joint"
        for kind in ("train", "test"):
            write_images(folder / kind, getattr(self, kind))
        return make_config(
            "folder",
            data_dir=folder,
            run_dir=folder / "run",
            image_size=8,
            backbone="small",
            num_base_classes=self.steps[0],
            increments=list(self.steps[1:]),
            method=self.method,
            classification_loss=None if self.loss == "nca" else self.loss,
            balanced_finetuning=str(self.finetuning).lower(),
            replay_sampling=self.sampling,
            exemplars_per_class=None if joint else self.exemplars_per_class,
            memory_budget=None if joint else self.memory_budget,
            batch_size=self.batch_size,
            virtual_devices=self.replicas if self.replicas > 1 else None,
            epochs=1,
            learning_rate=0.01,
            precision="float32",
            export=self.export,
            export_only_last=self.export,
        )


def write_images(folder, counts):
    """Writes noise in class folders whose names sort in the order of arrival."""
    rng = np.random.default_rng(0)
    for label, count in enumerate(counts):
        (folder / f"class_{label}").mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"class_{label}" / f"{number}.png")


def train(config):
    """Trains a run without NumPy warnings; returns its summary."""
    from bsce_keras.experiment import run_experiment

    with warnings.catch_warnings():
        for category in (RuntimeWarning, UserWarning):
            warnings.simplefilter("error", category)
        return run_experiment(config)


def check_learned(folder, run):
    """Compares the results of a run with those that `OddRun` computes."""
    config = run.config(folder)
    train(config)
    result = read_run(folder / "run")
    checkpoints = Checkpoints(folder / "run")
    states = checkpoints.finished_states()
    assert len(result.steps) == len(states) == len(run.steps)
    for step, (line, state) in enumerate(zip(result.steps, states, strict=True)):
        arrays, _ = checkpoints.load_step(step)
        record = StepRecord.from_state(state, arrays)
        check_step(run, step, line, record.confusion)
        assert all(0.01 <= alpha <= 1.5 for alpha in state["alphas"])
    check_summary(run, result.steps, result.summary)
    assert all(np.isfinite(array).all() for array in arrays.values())
    for name in ("steps.jsonl", "summary.json"):
        text = (folder / "run" / name).read_text()
        for record in text.splitlines() if name == "steps.jsonl" else [text]:
            json.loads(record, parse_constant=pytest.fail)
    figures = {path.name for path in (folder / "run/figures").iterdir()}
    learns_alpha = any(line["alpha_by_epoch"] for line in result.steps)
    always = {"accuracy.png", "confusion.png", "confusion_shares.png", "losses.png"}
    assert figures == always | ({"alpha.png"} if learns_alpha else set())
    assert report.main([str(folder / "run")]) == 0
    if run.export:
        check_export(folder, run)
    # The repeated command restores even an empty memory.
    assert train(config) == result.summary


def check_refused(folder, run):
    """Expects a refusal with the reason, and an empty folder."""
    with pytest.raises(RequestError, match=run.refusal()):
        train(run.config(folder))
    assert not (folder / "run").exists()


def check_step(run, step, line, confusion):
    end = run.ends[step]
    start = end - run.steps[step]
    # The matrix has a row for each seen class; predictions may be any seen class.
    assert confusion.shape == (end, end)
    assert confusion.sum(axis=1).tolist() == list(run.test[:end])
    assert line["num_classes"] == end
    assert line["class_counts"] == run.trained_on(step)
    assert line["train_images"] == sum(run.trained_on(step))
    assert line["exemplars_per_class"] == run.held(end)
    assert line["accuracy"] == share(confusion, 0, end)
    assert line["base_accuracy"] == share(confusion, 0, run.steps[0])
    assert line["old_accuracy"] == share(confusion, 0, start)
    assert line["new_accuracy"] == share(confusion, start, end)
    has_alpha = step > 0 and run.loss in BALANCED and published(run.method).uses_alpha
    assert (line["alpha"] is not None) == has_alpha
    assert (line["alpha_updates"] > 0) == (step > 0 and run.loss == META)


def share(confusion, first, end):
    """Accuracy on the test images of some classes; None without test images."""
    rows = confusion[first:end]
    correct = sum(int(confusion[label, label]) for label in range(first, end))
    return correct / int(rows.sum()) if rows.sum() else None


def check_summary(run, lines, summary):
    accuracies = [line["accuracy"] for line in lines]
    average = summary["average_incremental_accuracy"]
    assert (average is None) == (None in accuracies)
    assert average is None or average == pytest.approx(np.mean(accuracies))
    assert summary["final_accuracy"] == accuracies[-1]
    # Only classes of earlier steps can be forgotten.
    num_old = run.ends[-1] - run.steps[-1] if len(run.steps) > 1 else 0
    assert (summary["forgetting"] is not None) == any(run.test[:num_old])


def check_export(folder, run):
    export = folder / "run" / "exports" / f"step_{len(run.steps) - 1:02d}"
    images = np.zeros((2, 11, 9, 3), np.uint8)
    probabilities = load_model(export).probabilities(images, batch_size=2)
    assert probabilities.shape == (2, run.ends[-1])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert evaluate.main([f"--run_dir={folder / 'run'}"]) == 0
    assert "differs from the recorded accuracy" not in printed.getvalue()
