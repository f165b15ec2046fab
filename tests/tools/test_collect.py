"""A record is a small run folder without weights and paths, finished or not."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from bsce_keras import make_config as make_real_config
from bsce_keras.records.run_identity import begin_run
from bsce_keras.records.run_records import RunRecords, read_record, read_run
from bsce_keras.records.step_record import StepRecord
from bsce_keras.runtime.errors import RequestError
from tools import collect
from tools.collect import LARGEST, record_name


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def made(folder):
    return read_record(folder / "record.json")


def size(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


def test_a_record_is_a_run_folder_with_the_same_numbers(make_run, results):
    run = make_run()
    folder = collect.collect(run.run_dir, results)
    record = read_run(folder)
    assert (record.steps, record.summary) == (run.steps, run.summary)
    np.testing.assert_array_equal(record.confusion, run.confusion)
    np.testing.assert_array_equal(record.per_class_accuracy, run.per_class_accuracy)
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "versions.json", "record.json", "flagfile.flags"),
        *("steps.jsonl", "summary.json", "confusion.npy", "per_class_accuracy.npy"),
    }


def test_a_record_describes_the_run_without_paths(
    make_config, make_record, results, tmp_path
):
    config = make_config()
    stream = dataclasses.replace(
        config.stream, data_dir=str(tmp_path / "data"), class_order=f"{tmp_path}/order"
    )
    config = dataclasses.replace(
        config, stream=stream, base_run_dir=str(tmp_path / "base")
    )
    flags = f"--seed=1\n--data_dir={tmp_path}/data\n--class_order={tmp_path}/order\n"
    begin_run(config.run_dir, config, 1, flags + f"--run_dir={config.run_dir}\n")
    records = RunRecords(config.run_dir, config)
    records.append(make_record(0))
    folder = collect.collect(config.run_dir, results)
    for path in folder.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
    told, versions = made(folder), read_record(folder / "versions.json")
    assert told["command"] == (
        "python -m bsce_keras.train --seed=1 --data_dir=DIR --class_order=order "
        "--run_dir=RUN_DIR"
    )
    assert told["commit"] == versions["commit"]
    assert told["hardware"]["cores"] == versions["cores"] >= 1
    assert told["started"] == versions["started"]
    assert (told["times_from"], told["commit_from"]) == ("the run", "the run")


def test_an_unfinished_run_is_marked_and_collected_again(
    make_run, make_record, results, capsys
):
    run = make_run(num_steps=2)
    assert collect.main([run.run_dir, f"--results={results}"]) == 0
    assert capsys.readouterr().out.endswith(": 2 of 3 steps\n")
    [folder] = results.iterdir()
    told = made(folder)
    assert (told["steps"], told["complete"]) == ("2 of 3 steps", False)
    assert not (folder / "summary.json").exists()
    # Repeat the command after the run is finished.
    finished = make_run()
    assert collect.collect(finished.run_dir, results) == folder
    assert made(folder)["complete"]


def test_a_run_that_grew_updates_its_record(make_config, make_record, results):
    config = make_config()
    stream = dataclasses.replace(config.stream, increments=(1,))
    shorter = dataclasses.replace(config, stream=stream)
    for grown, steps in ((shorter, 2), (config, 3)):
        begin_run(grown.run_dir, grown, 1)
        records = RunRecords(grown.run_dir, grown, map(make_record, range(steps)))
        records.finish(records.summary())
        folder = collect.collect(grown.run_dir, results, name="mine")
        assert made(folder)["steps"] == f"{steps} of {steps} steps"


def test_values_missing_in_an_older_run_are_marked(make_run, results):
    run = make_run()
    path = pathlib.Path(run.run_dir, "versions.json")
    versions = read_record(path)
    for name in ("commit", "cores", "memory_gb", "gpus", "started", "ended"):
        del versions[name]
    path.write_text(json.dumps(versions))
    told = made(collect.collect(run.run_dir, results, commit="abc123"))
    assert (told["commit"], told["commit_from"]) == ("abc123", "tools.collect")
    assert told["times_from"] == "times of its files"
    assert told["started"] <= told["ended"]


def test_another_experiment_cannot_take_the_name(make_run, results, capsys):
    first = make_run()
    collect.collect(first.run_dir, results, name="mine")
    other = make_run("balanced_softmax")
    with pytest.raises(RequestError) as caught:
        collect.collect(other.run_dir, results, name="mine")
    assert "another experiment" in caught.value.problems[0]
    assert read_run(results / "mine").config["method"] == first.config["method"]
    command = [other.run_dir, f"--results={results}", "--name=mine"]
    assert collect.main(command) == 2
    assert "classification_loss" in capsys.readouterr().err


def test_names_distinguish_the_rows_of_the_paper(prepared):
    requests = (
        {},
        {"seed": 2},
        {"num_increments": 10},
        {"schedule_scale": 0.04},
        {"classification_loss": "balanced_softmax"},
        {"classification_loss": "balanced_softmax", "alpha": 0.25},
        {"exemplars_per_class": 5},
        {"replay_sampling": "class_oversampling"},
        {"balanced_finetuning": "true"},
        {"method": "podnet"},
    )
    names = [
        record_name(make_real_config("cifar100", data_dir=prepared, **one).to_json())
        for one in requests
    ]
    assert names[0] == "cifar100_5steps_il_baseline_softmax_seed1"
    assert len(set(names)) == len(requests)


def test_the_record_of_a_full_schedule_in_ten_steps_fits(prepared, results, tmp_path):
    config = make_real_config(
        "cifar100",
        data_dir=prepared,
        num_increments=10,
        classification_loss="meta_balanced_softmax",
        run_dir=tmp_path / "run",
    )
    begin_run(config.run_dir, config, 1)
    records = RunRecords(config.run_dir, config)
    generator = np.random.default_rng(0)
    for step in range(11):
        records.append(step_of_cifar(step, generator))
    folder = collect.collect(config.run_dir, results)
    assert size(folder) <= LARGEST
    every = made(folder)["alpha_epochs_kept"]
    whole, kept = read_run(config.run_dir), read_run(folder)
    for ours, theirs in zip(kept.steps[1:], whole.steps[1:], strict=True):
        alphas = theirs["alpha_by_epoch"]["alpha"]
        # The last epoch, with the final alpha, is always kept.
        assert ours["alpha_by_epoch"]["alpha"] == alphas[::-1][::every][::-1]
        assert ours["alpha_gradient_mean"] == theirs["alpha_gradient_mean"]
        losses = theirs["loss_by_epoch"]["loss"]
        assert ours["loss_by_epoch"]["loss"] == losses[::-1][::every][::-1]
    assert every > 1
    np.testing.assert_array_equal(kept.confusion, whole.confusion)


def step_of_cifar(step, generator):
    num_old = 50 + 5 * (step - 1) if step else 0
    num_classes = 50 + 5 * step
    by_epoch = None
    if step:
        numbers = generator.normal(size=(3, 250)).round(5).tolist()
        names = ("alpha", "alpha_gradient_mean", "alpha_gradient_std")
        by_epoch = {
            "alpha_updates": [4] * 250,
            **dict(zip(names, numbers, strict=True)),
        }
    confusion = generator.integers(0, 3, (num_classes, num_classes))
    return StepRecord(
        step=step,
        num_classes=num_classes,
        num_old_classes=num_old,
        num_base_classes=50,
        train_images=25000,
        confusion=confusion,
        epochs=250,
        train_seconds=5000.123456789,
        images_per_second=512.123456789,
        peak_memory_mb=1234.5,
        class_counts=[20] * num_old + [500] * (num_classes - num_old),
        exemplars_per_class=[20] * num_classes,
        alpha=0.5 if step else None,
        alphas=[0.5] * 1000 if step else [],
        alpha_by_epoch=by_epoch,
        loss_by_epoch={
            name: generator.normal(size=250).round(5).tolist()
            for name in ("loss", "classification", "distillation")
        },
    )
