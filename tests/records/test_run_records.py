"""What a run folder holds, when, and who may write it."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from bsce_keras.records import run_identity
from bsce_keras.records.run_folder import run_lock
from bsce_keras.records.run_identity import begin_run, check_same_run, checkpoint_origin
from bsce_keras.records.run_records import RunRecords, read_run
from bsce_keras.runtime.errors import RequestError
from tests.records.conftest import finish_run


def test_losses_by_epoch_survive_the_run_folder(make_config, make_record, tmp_path):
    losses = {"loss": [2.5, 1.25], "distillation": [0.5, 0.25]}
    run_dir, config = tmp_path / "run", make_config()
    begin_run(run_dir, config, num_replicas=1)
    steps = [make_record(0, loss_by_epoch=losses), make_record(1), make_record(2)]
    finish_run(RunRecords(run_dir, config, steps), run_dir)
    told = [line["loss_by_epoch"] for line in read_run(run_dir).steps]
    assert told == [losses, None, None]
    assert (run_dir / "figures/losses.png").is_file()


@pytest.mark.parametrize(
    "losses",
    [{"loss": [1.0, "x"]}, {"loss": 1.0}, {"a\tb": [1.0]}, {"loss": [1.0], "b": []}],
)
def test_damaged_losses_by_epoch_are_refused(make_run, losses):
    run = make_run()
    path = f"{run.run_dir}/steps.jsonl"
    lines = [json.dumps(run.steps[0] | {"loss_by_epoch": losses}) + "\n"]
    with open(path, "w") as file:
        file.writelines(lines)
    with pytest.raises(RequestError, match="is damaged .*loss_by_epoch"):
        read_run(run.run_dir)


def test_a_finished_run_reads_back(make_run):
    run = make_run()
    assert [line["accuracy"] for line in run.steps] == [7 / 8, 9 / 12, 6 / 16]
    assert run.summary["average_incremental_accuracy"] == pytest.approx(2 / 3)
    assert run.summary["final_base_accuracy"] == 2 / 8
    assert run.summary["forgetting"] == pytest.approx(11 / 16)
    assert run.summary["alpha"] == [None, None, None]
    assert run.summary["train_seconds"] == 4.5
    assert "unweighted mean" in run.summary["metrics"]["average_incremental_accuracy"]
    nan = np.nan
    np.testing.assert_array_equal(
        run.per_class_accuracy,
        [[1, 3 / 4, nan, nan], [3 / 4, 1 / 2, 1, nan], [1 / 4, 1 / 4, 1 / 4, 3 / 4]],
    )
    assert run.confusion.tolist()[3] == [1, 0, 0, 3]


def test_a_run_folder_holds_the_promised_files(make_config, make_record, tmp_path):
    run_dir, config = tmp_path / "run", make_config()
    begin_run(run_dir, config, num_replicas=1)
    steps = [make_record(step) for step in range(3)]
    finish_run(RunRecords(run_dir, config, steps), run_dir)
    assert sorted(os.listdir(run_dir)) == [
        "config.json",
        "confusion.npy",
        "figures",
        "flagfile.flags",
        "per_class_accuracy.npy",
        "report.html",
        "steps.jsonl",
        "summary.json",
        "versions.json",
    ]
    assert sorted(os.listdir(f"{run_dir}/figures")) == [
        "accuracy.png",
        "confusion.png",
        "confusion_shares.png",
    ]


ALPHA_COLUMNS = ("alpha", "alpha_gradient_mean", "alpha_gradient_std")


def test_a_learned_alpha_gets_its_figure(make_config, make_record, tmp_path):
    config = make_config("meta_balanced_softmax")
    epochs = {name: [0.5, 0.5] for name in ALPHA_COLUMNS} | {"alpha_updates": [1, 2]}
    steps = [
        make_record(0),
        make_record(1, alpha=0.5, alpha_by_epoch=epochs),
        make_record(2, alpha=0.25, alpha_by_epoch=epochs),
    ]
    begin_run(tmp_path, config, num_replicas=1)
    summary = finish_run(RunRecords(tmp_path, config, steps), tmp_path)
    assert summary["alpha"] == [None, 0.5, 0.25]
    assert (tmp_path / "figures/alpha.png").stat().st_size > 1000


def test_resuming_writes_every_step_once(make_config, make_record, tmp_path):
    config = make_config()
    begin_run(tmp_path, config, num_replicas=1)
    first = RunRecords(tmp_path, config)
    first.append(make_record(0))
    first.append(make_record(1))
    # The checkpoint of step 1 was lost: only step 0 is finished.
    again = RunRecords(tmp_path, config, finished=[make_record(0)])
    assert [line["step"] for line in read_run(tmp_path).steps] == [0]
    again.append(make_record(1))
    again.append(make_record(2))
    assert [line["step"] for line in read_run(tmp_path).steps] == [0, 1, 2]


def test_steps_whose_checkpoints_are_gone_are_told(
    make_config, make_record, make_run, caplog
):
    run_dir = make_run(num_steps=2).run_dir
    RunRecords(run_dir, make_config(), finished=[make_record(0), make_record(1)])
    assert caplog.text == ""
    RunRecords(run_dir, make_config(), finished=[make_record(0)])
    assert "tells of 2 finished steps" in caplog.text
    assert "restore only the first 1 of them. The others are trained" in caplog.text


def test_starting_over_leaves_no_result_of_the_run_before(make_config, make_run):
    run = make_run()
    RunRecords(run.run_dir, make_config())
    fresh = read_run(run.run_dir)
    assert (fresh.summary, fresh.steps) == (None, [])
    assert (fresh.confusion, fresh.per_class_accuracy) == (None, None)


def test_opening_a_finished_run_keeps_its_summary(make_config, make_run, make_record):
    run = make_run()
    RunRecords(run.run_dir, make_config(), [make_record(step) for step in range(3)])
    assert read_run(run.run_dir).summary == run.summary


def test_opening_a_finished_run_drops_a_damaged_summary(
    make_config, make_run, make_record
):
    """Reports of the run read it before it is written anew."""
    run_dir = make_run().run_dir
    with open(os.path.join(run_dir, "summary.json"), "a") as file:
        file.write("}")
    RunRecords(run_dir, make_config(), [make_record(step) for step in range(3)])
    assert read_run(run_dir).summary is None


def test_a_summary_needs_every_step(make_config, make_record, tmp_path):
    records = RunRecords(tmp_path, make_config())
    records.append(make_record(0))
    with pytest.raises(ValueError, match="all 3 steps. Received: 1"):
        records.summary()
    assert not (tmp_path / "summary.json").exists()


def test_a_step_out_of_turn_is_refused(make_config, make_record, tmp_path):
    with pytest.raises(ValueError, match="step 0. Received: step 1"):
        RunRecords(tmp_path, make_config()).append(make_record(1))


def test_the_request_is_kept(make_config, tmp_path):
    begin_run(tmp_path, make_config(), num_replicas=2, flagfile="--seed=1\n")
    begin_run(tmp_path, make_config(), num_replicas=2)  # knows of no flags
    assert (tmp_path / "flagfile.flags").read_text() == "--seed=1\n"
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["training"]["epochs"] == 10
    assert config["protocol"]["replicas"] == 2
    assert config["protocol"]["class_order"]["class_names"] == ["c", "a", "d", "b"]
    assert (
        json.loads((tmp_path / "versions.json").read_text())["numpy"] == np.__version__
    )


def test_what_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(
        RequestError, match="is not a run folder: it has no config.json"
    ):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["steps.jsonl", "summary.json", "confusion.npy"])
def test_a_damaged_file_is_named(make_run, name):
    run_dir = make_run().run_dir
    path = os.path.join(run_dir, name)
    os.truncate(path, os.path.getsize(path) - 20)
    with pytest.raises(RequestError, match=f"{name} is damaged"):
        read_run(run_dir)


def planted(shape, descr="'<i8'", data=bytes(128)):
    """The bytes of a .npy file with a header of one's own."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"
    return (
        b"\x93NUMPY\x01\x00"
        + len(header).to_bytes(2, "little")
        + (header.encode() + data)
    )


@pytest.mark.parametrize("name", ["confusion.npy", "per_class_accuracy.npy"])
@pytest.mark.parametrize(
    "data",
    [
        planted((4, 4), data=b""),
        planted((1 << 20, 1 << 17)),
        planted((-4, -4)),
        planted((4, 4), "'|S8'"),
        planted((4, 4), "[('a', '<i8')]"),
        planted((2, 8)),
        planted((16,)),
        planted((4, 4), data=np.full((4, 4), -1).tobytes()),
        planted((4, 4), data=np.full((4, 4), 1 << 62).tobytes()),
        planted((3, 4), "'<f8'", np.full((3, 4), np.inf).tobytes()),
        planted((3, 4), "'<f8'", np.full((3, 4), -0.5).tobytes()),
        b"PK\x03\x04" + bytes(100),
        b"",
    ],
)
def test_an_array_that_is_not_of_the_run_is_damaged(make_run, name, data):
    run_dir = make_run().run_dir
    with open(os.path.join(run_dir, name), "wb") as file:
        file.write(data)
    with pytest.raises(RequestError, match=f"{name} is damaged"):
        read_run(run_dir)


def test_files_of_different_steps_are_not_shown_together(make_run, make_config):
    run_dir = make_run().run_dir
    path = os.path.join(run_dir, "steps.jsonl")
    with open(path) as file:
        lines = file.readlines()
    with open(path, "w") as file:
        file.writelines(lines[:2])
    run = read_run(run_dir)
    assert (len(run.steps), run.summary, run.confusion) == (2, None, None)


def test_the_same_request_may_continue(make_config, make_run):
    config = make_config()
    run_dir = make_run().run_dir
    assert problems_of(run_dir, config) == []
    moved = dataclasses.replace(config, run_dir="elsewhere", resume=False, export=False)
    assert problems_of(run_dir, moved) == []
    assert len(problems_of(run_dir, make_config(seed=2))) == 2


def test_an_empty_folder_is_free_but_not_one_with_only_checkpoints(
    make_config, tmp_path
):
    assert problems_of(tmp_path, make_config()) == []
    assert os.listdir(tmp_path) == []
    (tmp_path / "checkpoints").mkdir()
    (problem,) = problems_of(tmp_path, make_config())
    assert "holds checkpoints but no config.json" in problem


def problems_of(run_dir, config):
    """Returns the problems for which `check_same_run` refuses a run folder."""
    try:
        check_same_run(run_dir, config)
    except RequestError as error:
        return error.problems
    return []


def test_another_request_is_refused_with_every_difference(make_config, make_run):
    run_dir = make_run().run_dir
    other = make_config("balanced_softmax", seed=2, epochs=20)
    other = dataclasses.replace(
        other,
        base_run_dir="runs/base",
        stream=dataclasses.replace(other.stream, increments=(2,)),
    )
    with pytest.raises(RequestError) as refusal:
        check_same_run(run_dir, other)
    text = str(refusal.value)
    assert "--epochs (training.epochs) was 10, now 20" in text
    assert "--seed (training.seed) was 1, now 2" in text
    assert "--num_increments (stream.increments) was [1, 1], now [2]" in text
    assert '--base_run_dir (base_run_dir) was null, now "runs/base"' in text
    assert '(method.classification_loss) was "softmax", now "balanced_softmax"' in text
    assert "another --run_dir" in text
    assert len(refusal.value.problems) == 6


def test_another_path_of_the_base_run_continues_the_run(tmp_path, make_config):
    """Its config.json keeps the first path, which the digest of checkpoints has."""
    (tmp_path / "link").symlink_to(tmp_path / "base")
    first, second, other = (
        dataclasses.replace(make_config(), run_dir=str(tmp_path), base_run_dir=base)
        for base in (str(tmp_path / "base"), f"{tmp_path}/link/", f"{tmp_path}/other")
    )
    begin_run(tmp_path, first, num_replicas=1)
    before = checkpoint_origin(tmp_path, 1)
    check_same_run(tmp_path, second)
    begin_run(tmp_path, second, num_replicas=1)
    assert checkpoint_origin(tmp_path, 1) == before
    (problem,) = problems_of(tmp_path, other)[1:]
    assert "base_run_dir" in problem


def test_a_run_may_grow_but_keeps_its_classes(make_config, make_run):
    """Class c arrives first and class b last, see `make_config`."""
    run_dir = make_run().run_dir
    config = make_config()
    names = ("a", "b", "c", "d", "apple")

    def asked(order, increments):
        stream = dataclasses.replace(
            config.stream, class_names=names, order=order, increments=increments
        )
        return dataclasses.replace(config, stream=stream)

    check_same_run(run_dir, asked((2, 0, 3, 1, 4), (1, 1, 1)))
    with pytest.raises(RequestError, match="arriving_class_names was"):
        check_same_run(run_dir, asked((2, 4, 0, 3, 1), (1, 1, 1)))
    with pytest.raises(RequestError, match=r"was \[1, 1\], now \[1\]"):
        check_same_run(run_dir, asked((2, 0, 3, 1, 4), (1,)))


def test_another_major_version_is_refused(make_config, make_run, monkeypatch):
    run_dir = make_run().run_dir
    newer = {**run_identity.versions(), "keras": "4.0.1"}
    monkeypatch.setattr(run_identity, "versions", lambda: newer)
    with pytest.raises(RequestError, match=r"made with keras 3\..* \(here 4\.0\.1\)"):
        check_same_run(run_dir, make_config())


def test_another_setting_of_onednn_is_accepted(make_config, make_run, monkeypatch):
    """Like another CPU, the setting changes only the rounding."""
    run_dir = make_run().run_dir
    for setting in (True, False, None):
        ours = {**run_identity.versions(), "onednn": setting}
        monkeypatch.setattr(run_identity, "versions", lambda ours=ours: ours)
        assert problems_of(run_dir, make_config()) == []


HOLD = """
import os, sys
from bsce_keras.records.run_folder import run_lock
with run_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        refused = pytest.raises(RequestError, match=f"by process {holder.pid}")
        with refused, run_lock(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
    with run_lock(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
