"""Joint training: every step trains a new network on all images."""

import json

import numpy as np
import pytest

from bsce_keras import make_config
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.errors import RequestError


def config(run_dir, **request):
    defaults = {
        "method": "joint",
        "num_base_classes": 8,
        "num_increments": 1,
        "epochs": 1,
        "precision": "float32",
        "export": False,
    }
    return make_config("digits", run_dir=str(run_dir), **{**defaults, **request})


@pytest.mark.slow
def test_every_step_trains_a_new_network_on_all_images(tmp_path):
    """At a rate of almost 0, a network keeps its initial weights."""
    from bsce_keras.experiment import run_experiment

    run_experiment(config(tmp_path, learning_rate=1e-12))
    last = json.loads((tmp_path / "steps.jsonl").read_text().splitlines()[-1])
    assert last["class_counts"] == [130] * 10
    assert last["exemplars_per_class"] == [0] * 10
    before, after = (_first_kernel(tmp_path, step) for step in (0, 1))
    assert np.abs(after - before).max() > 0.1


def _first_kernel(run_dir, step):
    arrays, _ = Checkpoints(run_dir).load_step(step)
    return next(a for n, a in arrays.items() if n.startswith("classifier"))


def test_size_of_the_memory_is_refused(tmp_path):
    with pytest.raises(RequestError, match="trains on all images of all seen"):
        config(tmp_path, exemplars_per_class=5)
