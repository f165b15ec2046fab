"""The run folder: written after every step, read back by reports.

Checkpoints are the truth and the records are derived from them: whoever resumes
hands over the finished steps, and the records are written anew, never appended to.
"""

import dataclasses
import io
import itertools
import json
import logging
import math
import pathlib

import numpy as np

from bsce_keras.evaluation import metrics
from bsce_keras.records import schema
from bsce_keras.runtime.array_files import read_array
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.files import (
    make_folder,
    read_json,
    write_atomically,
    write_json,
)
from bsce_keras.runtime.machine import peak_memory_mb

_log = logging.getLogger(__name__)

# What to do about a damaged record, and about a damaged config.json.
_WAY_OUT = (
    "Delete it and repeat the training command, which writes it anew, or give another "
    "folder.",
    "Restore it from a copy, or give another folder.",
)


@dataclasses.dataclass(frozen=True, eq=False)
class StepRecord:
    """Record of one finished step.

    Args:
        step: 0 for the base step.
        num_classes: classes seen, N_t.
        num_old_classes: classes seen before this step, N_{t-1}; 0 at step 0.
        num_base_classes: classes of step 0.
        train_images: size of the training pool, exemplars included.
        confusion: int, shape `(N_t, N_t)`: rows are true classes, columns
            predictions, in arrival order.
        epochs: epochs trained.
        train_seconds: wall time of training.
        images_per_second: training throughput.
        peak_memory_mb: of the process or the device.
        class_counts: training images of each seen class.
        exemplars_per_class: exemplars of each seen class after the step.
        alpha: at the end of the step; None if there is none, as at step 0.
        alphas: after every update that moved it.
        alpha_clips: how often an update of alpha met its bounds.
        alpha_by_epoch: lists over the epochs: `alpha_updates`, their number, `alpha`
            after the last one, and `alpha_gradient_mean` and `alpha_gradient_std` over
            them; None where alpha is not learned.
        nme_accuracy: of the nearest-mean-of-exemplars classifier, where the method
            predicts by it; then that of `confusion`.
        head_accuracy: of the trained head, where the method predicts by another one.

    Raises:
        ValueError: if the confusion matrix does not have one row per seen class.
    """

    step: int
    num_classes: int
    num_old_classes: int
    num_base_classes: int
    train_images: int
    confusion: np.ndarray
    epochs: int
    train_seconds: float
    images_per_second: float
    peak_memory_mb: float
    class_counts: list[int]
    exemplars_per_class: list[int]
    alpha: float | None = None
    alphas: list[float] = dataclasses.field(default_factory=list)
    alpha_clips: int = 0
    alpha_by_epoch: dict[str, list] | None = None
    nme_accuracy: float | None = None
    head_accuracy: float | None = None

    def __post_init__(self):
        if np.shape(self.confusion) != (self.num_classes, self.num_classes):
            raise ValueError(
                f"`confusion` of step {self.step} needs one row and one column per "
                f"seen class, shape ({self.num_classes}, {self.num_classes}). "
                f"Received: shape {np.shape(self.confusion)}"
            )

    def to_line(self):
        """The fields of steps.jsonl; what is undefined is None.

        `alpha_gradient_mean` and `alpha_gradient_std` are the mean and the population
        standard deviation of alpha's gradient over all updates of the step that moved
        alpha, or measured its gradient while it was held.
        """
        base, old = self.num_base_classes, self.num_old_classes
        seen = self.num_classes
        gradient_mean, gradient_std = self._alpha_gradient()
        return {
            "step": self.step,
            "num_classes": seen,
            "num_old_classes": old,
            "train_images": self.train_images,
            "accuracy": self._accuracy(0, seen),
            "base_accuracy": self._accuracy(0, base),
            "old_accuracy": self._accuracy(0, old),
            "new_accuracy": self._accuracy(old, seen),
            "nme_accuracy": _defined(self.nme_accuracy),
            "alpha": _defined(self.alpha),
            "epochs": self.epochs,
            "train_seconds": _defined(self.train_seconds),
            "images_per_second": _defined(self.images_per_second),
            "peak_memory_mb": _defined(self.peak_memory_mb),
            "class_counts": [int(count) for count in self.class_counts],
            "exemplars_per_class": [int(count) for count in self.exemplars_per_class],
            "alpha_updates": len(self.alphas),
            "alpha_clips": self.alpha_clips,
            "alpha_gradient_mean": gradient_mean,
            "alpha_gradient_std": gradient_std,
            "alpha_by_epoch": self.alpha_by_epoch,
            "head_accuracy": _defined(self.head_accuracy),
        }

    def to_state(self):
        """JSON-able dictionary from which `from_state` makes an equal record."""
        state = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        line = self.to_line()
        state |= {name: line[name] for name in state if name in line}
        state["confusion"] = np.asarray(self.confusion).tolist()
        return state

    @classmethod
    def from_state(cls, state):
        """The record of `to_state`."""
        confusion = np.array(state["confusion"], dtype=np.int64)
        return cls(**{**state, "confusion": confusion})

    def _alpha_gradient(self):
        epochs = self.alpha_by_epoch
        if epochs is None:
            return None, None
        moments = metrics.pooled_moments(
            epochs["alpha_updates"],
            epochs["alpha_gradient_mean"],
            epochs["alpha_gradient_std"],
        )
        return tuple(map(_defined, moments))

    def _accuracy(self, start, stop):
        confusion = np.asarray(self.confusion)
        return _defined(metrics.group_accuracy(confusion, start, stop))


def step_record(step, stats, scores, exemplars_per_class, stream):
    """Returns the `StepRecord` of a trained step.

    Args:
        step: the `Step`.
        stats: its `TrainingStats`.
        scores: fields of the record that come from the evaluation.
        exemplars_per_class: exemplars of each seen class after the step.
        stream: `StreamConfig`.
    """
    return StepRecord(
        step=step.index,
        num_classes=step.num_classes,
        num_old_classes=step.num_old_classes,
        num_base_classes=stream.num_base_classes,
        peak_memory_mb=peak_memory_mb(),
        exemplars_per_class=exemplars_per_class,
        **scores,
        **vars(stats),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class RunResult:
    """A run folder as reports read it.

    Args:
        run_dir: where it was read from.
        config: config.json, the protocol included.
        steps: the lines of steps.jsonl.
        summary: summary.json; None while the run is not complete.
        per_class_accuracy: shape `(T + 1, N)`, NaN where unseen; None without steps.
        confusion: of the last finished step; None without steps.
    """

    run_dir: str
    config: dict
    steps: list[dict]
    summary: dict | None
    per_class_accuracy: np.ndarray | None
    confusion: np.ndarray | None


class RunRecords:
    """Writes the records of one run.

    Call `begin_run` first.

    Args:
        run_dir: the folder, made if it does not exist.
        config: the `ExperimentConfig`.
        finished: records of the steps that checkpoints hold, in order.
        skipped_images: names of image files left out because they cannot be decoded.
    """

    def __init__(self, run_dir, config, finished=(), skipped_images=()):
        self._dir = pathlib.Path(run_dir)
        self._stream = config.stream
        self._records = list(finished)
        self._skipped_images = list(skipped_images)
        make_folder(self._dir)
        self._say_what_was_lost()
        if len(self._records) < self._num_steps:
            # summary.json says that a run is complete: this one no longer is.
            (self._dir / "summary.json").unlink(missing_ok=True)
        self._write_steps()

    def append(self, record):
        """Adds a finished step and rewrites steps.jsonl and the arrays.

        Raises:
            ValueError: if it is not the step that comes next.
        """
        if record.step != len(self._records):
            raise ValueError(
                f"Expected the record of step {len(self._records)}. "
                f"Received: step {record.step}"
            )
        self._records.append(record)
        self._write_steps()

    def summary(self):
        """Returns the scores of all steps, as summary.json will have them.

        Raises:
            ValueError: if a step is missing.
        """
        if len(self._records) != self._num_steps:
            raise ValueError(
                f"A summary needs all {self._num_steps} steps. "
                f"Received: {len(self._records)}"
            )
        confusions = [np.asarray(record.confusion) for record in self._records]
        scores = metrics.summary_scores(confusions)
        return {
            **{name: _defined(score) for name, score in scores.items()},
            "alpha": [_defined(record.alpha) for record in self._records],
            "num_steps": self._num_steps,
            "skipped_images": self._skipped_images,
            "train_seconds": math.fsum(
                record.train_seconds for record in self._records
            ),
            "metrics": {name: metrics.DEFINITIONS[name] for name in scores},
        }

    def finish(self, summary):
        """Writes summary.json, which marks the run as complete."""
        write_json(self._dir / "summary.json", summary)

    @property
    def _num_steps(self):
        return 1 + len(self._stream.increments)

    def _say_what_was_lost(self):
        path = self._dir / "steps.jsonl"
        told = path.read_bytes().count(b"\n") if path.is_file() else 0
        if told > len(self._records):
            _log.warning(
                "%s tells of %d finished steps, but checkpoints can restore only the "
                "first %d of them. The others are trained again.",
                path,
                told,
                len(self._records),
            )

    @property
    def lines(self):
        """Finished steps as in steps.jsonl, a dictionary each."""
        return [record.to_line() for record in self._records]

    def _write_steps(self):
        lines = [json.dumps(line, allow_nan=False) + "\n" for line in self.lines]
        if self._records:
            _write_array(self._dir / "per_class_accuracy.npy", self._per_class())
            _write_array(self._dir / "confusion.npy", self._records[-1].confusion)
        else:
            (self._dir / "per_class_accuracy.npy").unlink(missing_ok=True)
            (self._dir / "confusion.npy").unlink(missing_ok=True)
        write_atomically(self._dir / "steps.jsonl", "".join(lines))

    def _per_class(self):
        table = np.full((self._num_steps, self._stream.num_classes), np.nan)
        for row, record in zip(table, self._records, strict=False):
            confusion = np.asarray(record.confusion)
            row[: record.num_classes] = metrics.per_class_accuracy(confusion)
        return table


def read_run(run_dir):
    """Reads a run folder, finished or not, as a `RunResult`.

    Raises:
        RequestError: it is not a run folder, or a file in it is damaged: other types,
            values out of range, or shapes that do not fit the steps of the run.
    """
    folder = pathlib.Path(run_dir)
    for name in ("config.json", "steps.jsonl"):
        if not (folder / name).is_file():
            raise RequestError(
                f"{run_dir} is no run folder: it has no {name}. Give a folder that "
                "was the --run_dir of `python -m bsce_keras.train`."
            )
    config = _read(folder / "config.json", _read_config)
    stream = config["stream"]
    sizes = [stream["num_base_classes"], *stream["increments"]]
    boundaries = list(itertools.accumulate(sizes))

    steps = _read(
        folder / "steps.jsonl",
        lambda path: schema.check_steps(_lines(path), boundaries),
    )
    summary = read_record(folder / "summary.json", schema.SUMMARY)
    per_class = _read_if_there(
        folder / "per_class_accuracy.npy",
        lambda path: schema.check_per_class(read_array(path), boundaries),
    )
    confusion = _read_if_there(
        folder / "confusion.npy",
        lambda path: schema.check_confusion(read_array(path), boundaries),
    )
    # A process that died between two writes leaves the matrix of another step.
    if confusion is not None and [len(confusion)] != boundaries[: len(steps)][-1:]:
        confusion = None
    return RunResult(
        run_dir=str(run_dir),
        config=config,
        steps=steps,
        summary=summary if len(steps) == len(boundaries) else None,
        per_class_accuracy=per_class,
        confusion=confusion,
    )


def read_record(path, form=schema.OBJECT):
    """The JSON object of a record; None if there is no such file.

    Args:
        path: `pathlib.Path` of the file.
        form: that it must have, see `forms`.

    Raises:
        RequestError: if it is damaged.
    """
    return _read_if_there(path, lambda path: schema.check(read_json(path), form))


def _defined(value):
    return None if value is None or math.isnan(value) else float(value)


def _write_array(path, array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomically(path, buffer.getvalue())


def _read_config(path):
    return schema.check_config(read_json(path))


def _lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _read_if_there(path, reader):
    return _read(path, reader) if path.is_file() else None


def _read(path, reader):
    try:
        return reader(path)
    except (ValueError, EOFError, RecursionError) as error:
        raise RequestError(
            f"{path} is damaged ({error}). {_WAY_OUT[path.name == 'config.json']}"
        ) from error
