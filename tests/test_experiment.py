"""Whole runs: run folders, resuming, and shared base steps."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

from bsce_keras import make_config
from bsce_keras.methods import METHODS
from bsce_keras.methods.recipes import published
from bsce_keras.runtime.errors import RequestError, RunError
from tests.reliability.outcomes import outcome

ROOT = pathlib.Path(__file__).resolve().parents[1]


def tiny(run_dir, **request):
    """Configuration of eight base classes and two increments of one, one epoch each."""
    defaults = {
        "backbone": "small",
        "num_base_classes": 8,
        "num_increments": 2,
        "epochs": 1,
        "precision": "float32",
        "export": False,
    }
    return make_config("digits", run_dir=str(run_dir), **{**defaults, **request})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Returns folder and summary of a finished run."""
    from bsce_keras.experiment import run_experiment

    run_dir = tmp_path_factory.mktemp("runs") / "finished"
    return run_dir, run_experiment(tiny(run_dir))


def lines_of(run_dir):
    text = (pathlib.Path(run_dir) / "steps.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_run_folder_has_the_files_of_the_contract(finished):
    run_dir, _ = finished
    for name in (
        "config.json",
        "flagfile.flags",
        "versions.json",
        "summary.json",
        "report.html",
        "figures/accuracy.png",
        "figures/confusion.png",
        "figures/losses.png",
        "pictures/step_00.json",
        "tensorboard",
        "checkpoints",
    ):
        assert (run_dir / name).exists(), name


def test_scalars_of_a_step_that_a_kill_left_out_are_written(finished, tmp_path):
    from bsce_keras.experiment import run_experiment

    run_dir = shutil.copytree(finished[0], tmp_path / "run")
    shutil.rmtree(run_dir / "tensorboard/steps")
    run_experiment(tiny(run_dir))
    assert outcome(run_dir)["scalars"] == outcome(finished[0])["scalars"]


def test_steps_file_has_a_line_per_step_with_the_counts_of_its_pool(finished):
    lines = lines_of(finished[0])
    assert [line["num_classes"] for line in lines] == [8, 9, 10]
    assert lines[1]["class_counts"] == [5] * 8 + [130]


def test_summary_has_the_mean_accuracy_of_the_steps(finished):
    run_dir, summary = finished
    accuracies = [line["accuracy"] for line in lines_of(run_dir)]
    assert summary["average_incremental_accuracy"] == pytest.approx(np.mean(accuracies))


def test_arrays_of_a_run_cover_every_class_and_test_image(finished):
    run_dir, _ = finished
    assert np.load(run_dir / "per_class_accuracy.npy").shape == (3, 10)
    assert np.load(run_dir / "confusion.npy").sum() == 497


def test_finished_run_is_not_trained_again(finished):
    from bsce_keras.experiment import run_experiment

    run_dir, summary = finished
    before = lines_of(run_dir)
    assert run_experiment(tiny(run_dir)) == summary
    assert lines_of(run_dir) == before


def test_folder_of_another_configuration_is_refused(finished):
    from bsce_keras.experiment import run_experiment

    with pytest.raises(RequestError, match="seed"):
        run_experiment(tiny(finished[0], seed=2))


def test_noresume_refuses_a_folder_with_checkpoints(finished):
    from bsce_keras.experiment import run_experiment

    with pytest.raises(RequestError, match="noresume"):
        run_experiment(tiny(finished[0], resume=False))


def test_shared_base_step_is_that_of_the_other_run(finished, tmp_path, caplog):
    """Its increments, of six updates each, are told to be near chance."""
    from bsce_keras.experiment import run_experiment
    from bsce_keras.learner.step_warnings import warn_of_chance

    run_dir, _ = finished
    shared = tiny(
        tmp_path, classification_loss="balanced_softmax", base_run_dir=str(run_dir)
    )
    run_experiment(shared)
    ours, theirs = lines_of(tmp_path), lines_of(run_dir)
    assert ours[0] == theirs[0]
    assert ours[1]["accuracy"] != theirs[1]["accuracy"]
    told = [message for message in caplog.messages if "To improve it" in message]
    caplog.clear()
    for line in ours[1:]:
        warn_of_chance(line, shared)
    assert told and told == caplog.messages


@pytest.mark.slow
def test_a_run_with_another_memory_takes_the_network_of_a_base_step(
    finished, tmp_path, capsys
):
    """Herding ranks the same images first, so a smaller memory is the beginning."""
    from bsce_keras.experiment import run_experiment
    from bsce_keras.records.checkpoints import Checkpoints

    base = str(finished[0])
    run_experiment(tiny(tmp_path, exemplars_per_class=2, base_run_dir=base))
    assert f"step 0/2: network of {base}\n" in capsys.readouterr().out
    theirs, ours = (Checkpoints(one).load_step(0)[0] for one in (finished[0], tmp_path))
    for name in ours:
        if name.startswith("classifier/"):
            np.testing.assert_array_equal(ours[name], theirs[name])
    first = np.concatenate([np.arange(5 * label, 5 * label + 2) for label in range(8)])
    np.testing.assert_array_equal(ours["images"], theirs["images"][first])
    base, increment = lines_of(tmp_path)[:2]
    assert base["accuracy"] == lines_of(finished[0])[0]["accuracy"]
    assert increment["class_counts"] == [2] * 8 + [130]


@pytest.mark.slow
def test_shared_base_step_includes_the_graph_of_its_exemplars(tmp_path):
    from bsce_keras.experiment import run_experiment
    from bsce_keras.records.checkpoints import Checkpoints

    request = {"method": "tpcil", "num_base_classes": 9, "num_increments": 1}
    folders = {loss: tmp_path / loss for loss in ("softmax", "balanced_softmax")}
    base = None
    for loss, run_dir in folders.items():
        run_experiment(
            tiny(run_dir, classification_loss=loss, base_run_dir=base, **request)
        )
        base = str(run_dir)
    theirs, ours = (
        Checkpoints(run_dir).load_step(0)[0] for run_dir in folders.values()
    )
    assert len(ours["graph_edges"]) and len(ours["graph_centroids"]) == 9 * 5
    for name in ("graph_edges", "graph_centroids", "images"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    other = tiny(
        tmp_path / "other", base_run_dir=base, **{**request, "method": "podnet"}
    )
    with pytest.raises(RequestError, match="tpcil there, podnet here"):
        run_experiment(other)


@pytest.mark.slow
def test_optimised_base_exemplars_are_shared_only_with_their_method(tmp_path):
    """Their pixels differ from the images that data.json describes."""
    from bsce_keras.data.stream import ClassIncrementalStream
    from bsce_keras.experiment import run_experiment
    from bsce_keras.records.base_step import load_base_step, save_base_step
    from bsce_keras.records.checkpoints import Checkpoints
    from bsce_keras.runtime.devices import resolved

    def config(name, **request):
        made = tiny(tmp_path / name, num_base_classes=9, **request)
        return dataclasses.replace(made, training=resolved(made.training))

    alone = {"num_increments": None, "increments": []}
    run_experiment(config("base", method="mnemonics", **alone))
    base_run_dir = str(tmp_path / "base")
    same, other = (
        config(method, method=method, num_increments=1, base_run_dir=base_run_dir)
        for method in ("mnemonics", "lucir")
    )
    step = ClassIncrementalStream(same.stream).steps[0]
    arrays, _ = load_base_step(same, step)
    assert arrays["counts"].tolist() == [5] * 9
    places = zip(step.examples.labels, step.examples.ids, strict=True)
    image_of = dict(zip(places, step.examples.images, strict=True))
    kept = zip(arrays["labels"], arrays["ids"], strict=True)
    originals = np.stack([image_of[place] for place in kept])
    change = np.abs(originals.astype(int) - arrays["images"]).max(axis=(1, 2, 3))
    assert change.min() >= 1
    # Optimised pixels do not count as other images. LUCIR takes only the network.
    checkpoints = Checkpoints(other.run_dir)
    save_base_step(checkpoints, other, load_base_step(other, step))
    assert checkpoints.finished_states() == []
    network, _ = checkpoints.load_progress(0, "shared")
    assert all(name.startswith("classifier/") for name in network)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["linear", "cosine"])
def test_methods_of_one_base_network_train_the_same_base_step(tmp_path, network):
    """Methods that solve the head of step 0 only take it; see the next test."""
    from bsce_keras.experiment import run_experiment
    from bsce_keras.records.checkpoints import Checkpoints

    schedule = {"batch_size": 64, "learning_rate": 0.1, "weight_decay": 1e-4}
    networks = {}
    for method in METHODS:
        facts = published(method)
        if facts.base_network != network or facts.solves_base_head:
            continue
        config = tiny(
            tmp_path / method,
            method=method,
            num_increments=None,
            increments=[],
            classification_loss=None if facts.solves_head else "softmax",
            **schedule,
        )
        run_experiment(config)
        networks[method], _ = Checkpoints(config.run_dir).load_step(0)
    assert len(networks) > 2
    (_, expected), *others = networks.items()
    for method, arrays in others:
        for name, values in expected.items():
            if name.startswith("classifier/"):
                np.testing.assert_array_equal(arrays[name], values, err_msg=method)


@pytest.mark.slow
def test_acil_takes_the_network_of_a_base_step_of_il_baseline(finished, tmp_path):
    from bsce_keras.classifiers import load_classifier
    from bsce_keras.experiment import run_experiment

    run_dir = tmp_path / "run"
    shared = {"method": "acil", "base_run_dir": str(finished[0])}
    run_experiment(tiny(run_dir, **shared))
    networks = [
        load_classifier(folder, step=step).get_layer("backbone").get_weights()
        for folder, step in ((finished[0], 0), (run_dir, 0), (run_dir, 2))
    ]
    for other in networks[1:]:
        for ours, theirs in zip(other, networks[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    theirs, ours = lines_of(finished[0])[0], lines_of(run_dir)[0]
    assert ours["class_counts"] == theirs["class_counts"]
    assert ours["train_seconds"] > theirs["train_seconds"]
    assert ours["accuracy"] > 0.5
    other = tiny(tmp_path / "other", learning_rate=0.05, **shared)
    with pytest.raises(RequestError, match=r"learning_rate\): 0.1 there, 0.05"):
        run_experiment(other)


def test_base_step_of_another_recipe_is_refused_with_differences(finished, tmp_path):
    from bsce_keras.experiment import run_experiment

    run_dir = tmp_path / "run"
    other = tiny(run_dir, base_run_dir=str(finished[0]), learning_rate=0.05)
    with pytest.raises(RequestError, match=r"learning_rate\): 0.1 there, 0.05"):
        run_experiment(other)
    assert not run_dir.exists()


def test_head_of_more_stages_than_the_backbone_has_is_refused_before_training(tmp_path):
    from bsce_keras.experiment import run_experiment

    run_dir = tmp_path / "run"
    config = tiny(run_dir, method="acil", method_parameters={"depths": 4})
    with pytest.raises(RequestError, match="depths must be at most 1, the number"):
        run_experiment(config)
    assert not run_dir.exists()


def test_auto_values_are_recorded_and_the_policy_restored(finished):
    import keras

    training = json.loads((finished[0] / "config.json").read_text())["training"]
    assert (training["precision"], training["strategy"]) == ("float32", "one_device")
    assert keras.config.dtype_policy().name == "float32"


def test_diverging_run_reports_step_epoch_and_update(tmp_path):
    from bsce_keras.experiment import run_experiment

    message = r"step 0, epoch 1, update \d+: the .* is (Inf|NaN|-Inf).*last finite"
    with pytest.raises(RunError, match=message):
        run_experiment(tiny(tmp_path, learning_rate=1e30))


def test_checkpoints_without_config_are_refused(finished, tmp_path):
    from bsce_keras.experiment import run_experiment

    shutil.copytree(finished[0] / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(RequestError, match="no config.json"):
        run_experiment(tiny(tmp_path))


def test_base_step_of_other_images_is_refused(finished):
    from bsce_keras.data.stream import ClassIncrementalStream
    from bsce_keras.records.base_step import load_base_step
    from bsce_keras.runtime.devices import resolved

    config = tiny("other", base_run_dir=str(finished[0]))
    config = dataclasses.replace(config, training=resolved(config.training))
    step = ClassIncrementalStream(config.stream).steps[0]
    load_base_step(config, step)
    examples = dataclasses.replace(step.examples, images=255 - step.examples.images)
    with pytest.raises(RequestError, match="class 4: 130 training images as before"):
        load_base_step(config, dataclasses.replace(step, examples=examples))


def test_run_does_not_resume_with_other_images(finished, tmp_path, monkeypatch):
    from bsce_keras.data import stream as streams
    from bsce_keras.experiment import run_experiment

    run_dir = shutil.copytree(finished[0], tmp_path / "run")
    loaded = streams.load_dataset(tiny(run_dir).stream)
    train = dataclasses.replace(loaded.train, images=255 - loaded.train.images)
    other = dataclasses.replace(loaded, train=train)
    monkeypatch.setattr(streams, "load_dataset", lambda *_: other)
    with pytest.raises(RequestError, match=r"class 4: 130 training images as before"):
        run_experiment(tiny(run_dir))
    # All images of a base step are compared, not only its exemplars.
    with pytest.raises(RequestError, match=r"class 4: 130 training images as before"):
        run_experiment(tiny(tmp_path / "new", base_run_dir=str(finished[0])))
    assert not (tmp_path / "new").exists()


def test_damaged_shared_base_step_is_copied_again(finished, tmp_path, monkeypatch):
    from bsce_keras import experiment
    from bsce_keras.records.checkpoints import Checkpoints

    def stop(*_):
        raise RunError("no further")

    monkeypatch.setattr(experiment.Learner, "learn", stop)
    config = tiny(tmp_path / "run", base_run_dir=str(finished[0]))
    path = tmp_path / "run" / "checkpoints" / "step_00.npz"
    for _ in range(2):
        with pytest.raises(RunError, match="no further"):
            experiment.run_experiment(config)
        ours, theirs = (
            Checkpoints(folder).load_step(0) for folder in (config.run_dir, finished[0])
        )
        np.testing.assert_equal(ours[1], theirs[1])
        np.testing.assert_array_equal(ours[0]["images"], theirs[0]["images"])
        path.write_bytes(path.read_bytes()[:-1])


def test_a_run_of_something_else_than_a_configuration_is_refused():
    from bsce_keras import run_experiment

    with pytest.raises(RequestError, match="make_config returns. Received: 'digits'"):
        run_experiment("digits")
