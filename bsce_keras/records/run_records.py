"""Records of a run: written after every step, read back by reports.

They are derived from the checkpoints. A resumed run writes them anew from its finished
steps. Nothing is appended.
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
from bsce_keras.evaluation.confusion import smallest_type
from bsce_keras.records import schema
from bsce_keras.records.step_record import defined
from bsce_keras.runtime.array_files import read_array
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.files import (
    make_folder,
    read_json,
    write_atomically,
    write_json,
)

_log = logging.getLogger(__name__)

# Ways out of a damaged record, and of a damaged config.json.
_WAY_OUT = (
    "Delete it and repeat the training command, which writes it anew, or give another "
    "folder.",
    "Restore it from a copy, or give another folder.",
)


@dataclasses.dataclass(frozen=True, eq=False)
class RunResult:
    """Content of a run folder.

    Args:
        run_dir: the folder.
        config: config.json, the protocol included.
        steps: lines of steps.jsonl.
        summary: summary.json; None while the run is not complete.
        per_class_accuracy: shape `(T + 1, N)`, NaN where unseen; None without steps.
        confusion: of the last finished step; None without steps.
        images: text that tells the images of a run from others; None if unknown.
    """

    run_dir: str
    config: dict
    steps: list[dict]
    summary: dict | None
    per_class_accuracy: np.ndarray | None
    confusion: np.ndarray | None
    images: str | None = None


class RunRecords:
    """Writes the records of one run.

    Call `begin_run` first.

    Args:
        run_dir: the folder, made if it does not exist.
        config: the `ExperimentConfig`.
        finished: records of the steps that checkpoints hold, in order. Only the last
            one needs its confusion matrix.
        skipped_images: names of image files left out because they cannot be decoded.
    """

    def __init__(self, run_dir, config, finished=(), skipped_images=()):
        self._dir = pathlib.Path(run_dir)
        self._stream = config.stream
        self._records = list(finished)
        self._skipped_images = list(skipped_images)
        make_folder(self._dir)
        self._warn_of_lost_steps()
        self._drop_stale_summary()
        self._write_steps()

    def append(self, record):
        """Adds a finished step and rewrites steps.jsonl and the arrays.

        Raises:
            ValueError: another step comes next.
        """
        if record.step != len(self._records):
            raise ValueError(
                f"Expected the record of step {len(self._records)}. "
                f"Received: step {record.step}"
            )
        if self._records:
            # Only the last matrix is written; each may take hundreds of megabytes.
            last = dataclasses.replace(self._records[-1], confusion=None)
            self._records[-1] = last
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
        scores = metrics.summary_scores([record.scored for record in self._records])
        return {
            **{name: defined(score) for name, score in scores.items()},
            "memory_bytes": self._records[-1].memory_bytes,
            "alpha": [defined(record.alpha) for record in self._records],
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

    def _drop_stale_summary(self):
        """Removes a summary.json that is damaged, or of a run that is not complete."""
        path = self._dir / "summary.json"
        is_complete = len(self._records) == self._num_steps
        try:
            is_stale = not is_complete or read_record(path, schema.SUMMARY) is None
        except RequestError:
            is_stale = True
        if is_stale:
            path.unlink(missing_ok=True)

    @property
    def _num_steps(self):
        return 1 + len(self._stream.increments)

    def _warn_of_lost_steps(self):
        path = self._dir / "steps.jsonl"
        num_recorded = path.read_bytes().count(b"\n") if path.is_file() else 0
        if num_recorded > len(self._records):
            _log.warning(
                "%s tells of %d finished steps, but checkpoints can restore only the "
                "first %d of them. The others are trained again.",
                path,
                num_recorded,
                len(self._records),
            )

    @property
    def last(self):
        """`StepRecord` of the last finished step."""
        return self._records[-1]

    @property
    def lines(self):
        """Finished steps as in steps.jsonl, a dictionary each."""
        return [record.to_line() for record in self._records]

    def _write_steps(self):
        lines = [json.dumps(line, allow_nan=False) + "\n" for line in self.lines]
        if self._records:
            _write_array(self._dir / "per_class_accuracy.npy", self._per_class())
            confusion = smallest_type(self._records[-1].confusion)
            _write_array(self._dir / "confusion.npy", confusion)
        else:
            (self._dir / "per_class_accuracy.npy").unlink(missing_ok=True)
            (self._dir / "confusion.npy").unlink(missing_ok=True)
        write_atomically(self._dir / "steps.jsonl", "".join(lines))

    def _per_class(self):
        table = np.full((self._num_steps, self._stream.num_classes), np.nan)
        for row, record in zip(table, self._records, strict=False):
            row[: record.num_classes] = metrics.per_class_accuracy(record.scored)
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
                f"{run_dir} is not a run folder: it has no {name}. Give a folder "
                "that was the --run_dir of a training command."
            )
    config = _read(
        folder / "config.json", lambda path: schema.check_config(read_json(path))
    )
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
        images=_images(folder / "data.json"),
    )


def read_record(path, form=schema.OBJECT):
    """Returns the JSON object of a record; None if the file is missing.

    Args:
        path: `pathlib.Path` of the file.
        form: form that the object must have, see `schema`.

    Raises:
        RequestError: the file is damaged.
    """
    return _read_if_there(path, lambda path: schema.check(read_json(path), form))


def picture_path(run_dir, step):
    """Returns the path of the pictures of a step, by its number."""
    return pathlib.Path(run_dir, "pictures", f"step_{step:02d}.json")


def read_pictures(run_dir, step):
    """Returns the pictures of a step; None if there are none.

    Returns:
        Dictionary of lists, as `reports.pictures.step_pictures` makes it.

    Raises:
        RequestError: the file is damaged.
    """
    return read_record(picture_path(run_dir, step), schema.PICTURES)


def _images(path):
    """Returns `RunResult.images` of a data.json."""
    record = read_record(path, {"classes": [{}]})
    return record and json.dumps(record["classes"], sort_keys=True)


def _write_array(path, array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomically(path, buffer.getvalue())


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
