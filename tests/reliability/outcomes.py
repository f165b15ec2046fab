"""Contents of a run folder that a repeated command must reproduce."""

import hashlib
import json
import pathlib
import re

import numpy as np

from bsce_keras.evaluation.served_model import load_model
from bsce_keras.records.step_states import unpack_states
from bsce_keras.runtime import array_files

# Fields that depend on the load of the machine. Only these may differ.
_TIMED = {"train_seconds", "images_per_second", "peak_memory_mb"}


def outcome(run_dir):
    """Returns the contents that two equal run folders share, as plain values.

    Returns:
        Dictionary of: the names of all files; of every checkpoint the arrays' SHA-256
        by name and its state; config.json; the lines of steps.jsonl and summary.json;
        the SHA-256 of the recorded arrays and figures; the TensorBoard scalars of every
        phase; and of every export the SHA-256 of the probabilities that it gives.
    """
    run_dir = pathlib.Path(run_dir)
    config = json.loads((run_dir / "config.json").read_text())
    # A command may change these when it is repeated. The run's id is random.
    del config["run_dir"], config["training"]["save_minutes"], config["run_id"]
    return {
        **records(run_dir),
        # The name of an event file holds the time and the process.
        "names": sorted(
            re.sub(r"(tfevents).*", r"\1", str(path.relative_to(run_dir)))
            for path in run_dir.rglob("*")
            if path.is_file()
        ),
        "config": config,
        "figures": {
            str(path.relative_to(run_dir)): _hash(path.read_bytes())
            for path in run_dir.rglob("*.png")
        },
        "scalars": {
            path.name: _scalars(path) for path in run_dir.glob("tensorboard/*")
        },
        "exports": {path.name: _answers(path) for path in run_dir.glob("exports/*")},
    }


def assert_same_outcome(run_dir, expected):
    """Asserts that a run folder has an outcome, part by part."""
    found = outcome(run_dir)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == value


def records(run_dir):
    """Returns the part of `outcome` that a repeated command derives anew.

    Returns:
        Dictionary of checkpoints, data.json, steps.jsonl, summary.json and arrays.
    """
    run_dir = pathlib.Path(run_dir)
    lines = (run_dir / "steps.jsonl").read_text().splitlines()
    return {
        "checkpoints": {
            path.stem: _checkpoint(path) for path in run_dir.glob("checkpoints/*.npz")
        },
        "data": (run_dir / "data.json").read_text(),
        "steps": [_untimed(json.loads(line)) for line in lines],
        "summary": _untimed(json.loads((run_dir / "summary.json").read_text())),
        "arrays": {
            path.name: _hash(path.read_bytes()) for path in run_dir.glob("*.npy")
        },
    }


def _checkpoint(path):
    """Returns the contents of a checkpoint; None if it is damaged."""
    try:
        arrays, state = array_files.read(str(path.with_suffix("")))
    except array_files.DamagedError:
        return None
    # The state of an analytic method has a checkpoint of its own.
    is_step = re.fullmatch(r"step_\d+", path.stem)
    states = unpack_states(arrays, state) if is_step else []
    # These hold times.
    arrays.pop("states/earlier", None)
    return {
        "arrays": {
            name: (str(array.dtype), array.shape, _hash(array.tobytes()))
            for name, array in arrays.items()
        },
        "states": [
            {name: np.array(value).tolist() for name, value in _untimed(state).items()}
            for state in states
        ],
    }


def _scalars(folder):
    """Returns the sorted `(name, number, value)` of all scalars except times."""
    # Tests that fork need a process without TensorFlow.
    import tensorflow as tf

    found = []
    for path in folder.iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            found += [
                (value.tag, event.step, float(tf.make_ndarray(value.tensor)))
                for value in event.summary.value
                if value.tag not in _TIMED
            ]
    return sorted(found)


def _answers(export):
    model = load_model(str(export), of_run=True)
    shape = (32, model.stored_size, model.stored_size, model.channels)
    images = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    return _hash(model.probabilities(images, len(images)).tobytes())


def _untimed(fields):
    return {name: value for name, value in fields.items() if name not in _TIMED}


def _hash(data):
    return hashlib.sha256(data).hexdigest()
