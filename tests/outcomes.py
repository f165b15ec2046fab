"""What has to be equal, to the bit, between two runs that did the same."""

import json
import pathlib

import numpy as np

from bsce_keras.learner.checkpoints import Checkpoints

# How long it took, and what it took.
_TIMED = {"train_seconds", "images_per_second", "peak_memory_mb"}


def assert_same_outcome(run_dir, other):
    """Every step's weights, exemplars and alpha, and all that is derived from them.

    Args:
        run_dir, other: folders of finished runs.
    """
    ours, theirs = (Checkpoints(folder) for folder in (run_dir, other))
    num_steps = len(theirs.finished_states())
    assert len(ours.finished_states()) == num_steps
    for step in range(num_steps):
        arrays, state = ours.load_step(step)
        other_arrays, other_state = theirs.load_step(step)
        assert _untimed(state) == _untimed(other_state)
        assert arrays.keys() == other_arrays.keys()
        for name, values in arrays.items():
            assert values.dtype == other_arrays[name].dtype
            np.testing.assert_array_equal(values, other_arrays[name])
    assert steps_of(run_dir) == steps_of(other)
    assert _summary_of(run_dir) == _summary_of(other)
    for name in ("per_class_accuracy.npy", "confusion.npy"):
        ours, theirs = (pathlib.Path(folder, name) for folder in (run_dir, other))
        assert ours.read_bytes() == theirs.read_bytes()


def steps_of(run_dir):
    """The lines of steps.jsonl, without how long they took."""
    text = pathlib.Path(run_dir, "steps.jsonl").read_text()
    return [_untimed(json.loads(line)) for line in text.splitlines()]


def _summary_of(run_dir):
    return _untimed(json.loads(pathlib.Path(run_dir, "summary.json").read_text()))


def _untimed(fields):
    return {name: value for name, value in fields.items() if name not in _TIMED}
