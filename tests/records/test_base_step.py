"""Base steps that another run may take."""

import dataclasses
import json

import numpy as np
import pytest

import bsce_keras
from bsce_keras.config.memory import MemoryUse
from bsce_keras.learner.training_stats import TrainingStats
from bsce_keras.methods.recipes import SHARED_NETWORK
from bsce_keras.records.base_step import (
    _differences,
    _loss_differences,
    check_base_step,
    save_base_step,
)
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.run_folder import check_folders
from bsce_keras.records.run_identity import begin_run
from bsce_keras.runtime.errors import RequestError

EQUAL, UNEQUAL = (5, 5), (5, 7)


@pytest.mark.parametrize(
    ("theirs", "ours", "counts"),
    [
        ("softmax", "separated_softmax", UNEQUAL),
        ("balanced_softmax", "meta_balanced_softmax", UNEQUAL),
        ("softmax", "meta_balanced_softmax", EQUAL),
        ("separated_softmax", "rescaled_softmax", EQUAL),
    ],
)
def test_losses_that_are_equal_at_a_base_step_do_not_differ(theirs, ours, counts):
    assert _loss_differences(theirs, ours, counts) == []


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("separated_softmax", "balanced_softmax"),
        ("softmax", "rescaled_softmax"),
        ("balanced_softmax", "rescaled_softmax"),
    ],
)
def test_unequal_class_sizes_make_losses_differ(theirs, ours):
    (line,) = _loss_differences(theirs, ours, UNEQUAL)
    assert line.startswith(f"--classification_loss: {theirs} there, {ours} here, and")


def test_podnet_s_own_loss_always_differs():
    assert _loss_differences("nca", "softmax", EQUAL)


def test_a_base_step_of_another_configuration_is_refused_by_its_config(
    make_run, make_config, tmp_path
):
    """Before TensorFlow loads: `auto` stands for what the other run resolved it to."""
    base = make_run(precision="float32").run_dir
    same = make_config("balanced_softmax", run_dir=tmp_path / "new", precision="auto")
    check_folders(dataclasses.replace(same, base_run_dir=base))
    other = make_config(run_dir=tmp_path / "new", precision="auto", seed=2)
    with pytest.raises(RequestError, match=r"--seed .*: 1 there, 2 here"):
        check_folders(dataclasses.replace(other, base_run_dir=base))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("there", "here", "differ"),
    [
        # Their networks are equal at the base step.
        ("finetune", "il_baseline", []),
        ("mnemonics", "lucir", []),
        ("il_baseline", "acil", []),
        # The classifier of this step 0 has a solved head.
        ("acil", "il_baseline", ["--exemplars_per_class", "--method"]),
        ("acil", "imprint", ["--exemplars_per_class", "--method"]),
        # Another solved head needs only the backbone.
        ("acil", "acil", []),
        ("ds_al", "acil", []),
        ("il_baseline", "lucir", ["--exemplars_per_class", "--method"]),
        ("podnet", "podnet", []),
        # Images set aside, a tenth of the exemplars, do not train the network.
        ("bic", "bic", ["--exemplars_per_class"]),
        # Base steps of a user's methods may depend on anything.
        ("own:Own", "own:Own", ["--exemplars_per_class"]),
        ("own:Own", "il_baseline", ["--exemplars_per_class", "--method"]),
    ],
)
def test_another_memory_or_method_differs_unless_networks_are_equal(
    make_config, there, here, differ
):
    config = make_config()
    theirs = json.loads(json.dumps(config.to_json()))
    theirs["method"]["name"] = there
    theirs["memory"]["exemplars_per_class"] = 7
    method = dataclasses.replace(config.method, name=here)
    memory = dataclasses.replace(config.memory, use=MemoryUse(sets_aside=here == "bic"))
    ours = dataclasses.replace(config, method=method, memory=memory)
    lines = _differences(theirs, ours, counts=())
    assert sorted(line.split()[0] for line in lines if "--" in line) == differ


ARRAYS = {"classifier/0000": np.arange(3), "images": np.arange(4)}
STATE = {
    "train_images": 12,
    "class_counts": np.array([5, 7]),
    "epochs": 3,
    "train_seconds": 1.5,
    "images_per_second": 24.0,
    "accuracy": 0.5,
}


@pytest.fixture
def taking(tmp_path):
    """Function from two methods to the config that takes the first one's base step."""

    def taking(theirs, ours, **request):
        base = bsce_keras.make_config("digits", method=theirs, run_dir=tmp_path / "a")
        begin_run(base.run_dir, base, num_replicas=1)
        (tmp_path / "a" / "steps.jsonl").touch()
        request |= {"method": ours, "run_dir": tmp_path / "b"}
        config = bsce_keras.make_config("digits", **request)
        return dataclasses.replace(config, base_run_dir=base.run_dir)

    return taking


def test_another_method_takes_only_network_and_statistics(taking):
    """Memory and head of the method are made anew from the shared network."""
    config = taking("il_baseline", "acil")
    check_base_step(config)
    checkpoints = Checkpoints(config.run_dir)
    save_base_step(checkpoints, config, (ARRAYS, STATE))
    arrays, statistics = checkpoints.load_progress(0, SHARED_NETWORK)
    assert list(arrays) == ["classifier/0000"]
    stats = TrainingStats(**statistics)
    assert (stats.train_images, stats.class_counts, stats.epochs) == (12, [5, 7], 3)
    assert (stats.train_seconds, stats.images_per_second) == (1.5, 24.0)
    assert checkpoints.load_step(0) is None


def test_the_same_method_takes_the_whole_base_step(taking):
    config = taking("il_baseline", "il_baseline")
    check_base_step(config)
    checkpoints = Checkpoints(config.run_dir)
    save_base_step(checkpoints, config, (ARRAYS, STATE))
    arrays, state = checkpoints.load_step(0)
    assert arrays.keys() == ARRAYS.keys() and state["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("theirs", "ours", "request_of_ours", "difference"),
    [
        ("acil", "il_baseline", {}, "--method .*: acil there, il_baseline here"),
        ("wa", "acil", {}, "--method .*: wa there, acil here"),
        ("il_baseline", "acil", {"learning_rate": 0.5}, "--learning_rate"),
        ("bic", "bic", {"exemplars_per_class": 7}, "--exemplars_per_class"),
        ("il_baseline", "acil", {"class_order": "seed:4"}, "--class_order=FILE takes "),
    ],
)
def test_base_steps_that_were_trained_otherwise_are_refused(
    taking, theirs, ours, request_of_ours, difference
):
    with pytest.raises(RequestError, match=difference):
        check_base_step(taking(theirs, ours, **request_of_ours))
