"""Heads on the features of a trained run are those that methods compute."""

import json

import numpy as np
import pytest

from bsce_keras import make_config, run_experiment
from tools.solved_heads import run_scores

pytestmark = pytest.mark.slow

REQUEST = {
    "num_base_classes": 6,
    "num_increments": 2,
    "epochs": 1,
    "precision": "float32",
    "export": False,
}


@pytest.fixture(scope="module")
def icarl_run(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "icarl"
    request = {**REQUEST, "method": "icarl", "run_dir": str(run_dir)}
    run_experiment(make_config("digits", **request))
    return run_dir


@pytest.fixture(scope="module")
def scores(icarl_run):
    return run_scores(icarl_run, expansion_size=64)


def test_the_own_head_has_the_accuracies_of_the_run(icarl_run, scores):
    lines = [json.loads(line) for line in (icarl_run / "steps.jsonl").open()]
    names = ("accuracy", "base_accuracy", "old_accuracy", "new_accuracy")
    expected = [np.mean([line["accuracy"] for line in lines])]
    expected += [lines[-1][name] for name in names]
    np.testing.assert_allclose(scores["its own"], expected, rtol=1e-6)


def test_the_nearest_mean_is_that_of_icarl(scores):
    assert scores["nearest mean of the exemplars"] == scores["its own"]


def test_a_solved_head_tells_digits_apart_on_the_features_of_one_epoch(scores):
    average, *_ = scores["solved, classes weigh the same"]
    assert average > 0.6


def test_a_run_without_exemplars_is_refused(tmp_path):
    request = {**REQUEST, "method": "acil", "expansion_size": 32, "ridge": 1.0}
    run_experiment(make_config("digits", run_dir=str(tmp_path), **request))
    with pytest.raises(SystemExit, match="keeps no exemplars"):
        run_scores(tmp_path, expansion_size=32)
