"""Finished work survives a full or read-only disk."""

import contextlib
import dataclasses
import errno
import itertools
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from bsce_keras import train
from bsce_keras.records import run_identity
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.run_folder import run_lock
from bsce_keras.records.run_identity import begin_run, check_same_run, end_run
from bsce_keras.records.run_records import RunRecords, read_run
from tests.records import conftest as records_fixtures
from tests.reliability.outcomes import outcome

ROOT = pathlib.Path(__file__).resolve().parents[2]
CODES = [
    errno.ENOSPC,
    errno.EROFS,
    pytest.param(errno.EDQUOT, marks=pytest.mark.faults),
    pytest.param(errno.EIO, marks=pytest.mark.faults),
]
# Upper bound of the uses of any operation here.
MANY = 200


def numbered(number):
    return {"weights/0000": np.full((20, 3), number)}, {"number": number}


def number_of(loaded):
    """Returns the number of a complete checkpoint of `numbered`, or None."""
    if loaded is None:
        return None
    arrays, state = loaded
    assert arrays.keys() == {"weights/0000"}
    assert (arrays["weights/0000"] == state["number"]).all()
    return state["number"]


def states(run_dir):
    return [state["number"] for state in Checkpoints(run_dir).finished_states()]


def moments(disk, code, once):
    """Yields `disk.failing(...)` for every moment at which an operation can fail.

    Ends after the first moment that the operation did not reach.
    """
    for use in range(1, MANY):
        yield use, disk.failing(use, code, once)
        if not disk.was_reached:
            return
    raise AssertionError(f"more than {MANY} writes")


@contextlib.contextmanager
def refused(code):
    """Expects the refusal of the disk, which must name the file."""
    try:
        yield
    except OSError as error:
        assert error.errno == code
        assert error.filename


def assert_nothing_half_written(run_dir):
    left = [path for path in pathlib.Path(run_dir).rglob("*") if "tmp" in path.name]
    assert left == []


every_disk = pytest.mark.parametrize("code", CODES)
# True stands for a disk that recovers by itself, which is rarer.
once_or_on = pytest.mark.parametrize(
    "once", [pytest.param(True, marks=pytest.mark.faults), False]
)


@every_disk
@once_or_on
def test_progress_survives_a_disk_failure_at_any_moment(disk, tmp_path, code, once):
    for use, failing in moments(disk, code, once):
        run_dir = tmp_path / str(use)
        for epoch in (3, 4):
            Checkpoints(run_dir).save_progress(1, "main", epoch, *numbered(epoch))
        with failing, refused(code):
            Checkpoints(run_dir).save_progress(1, "main", 5, *numbered(5))
        assert number_of(Checkpoints(run_dir).load_progress(1, "main")) in (4, 5)
        # The disk works again and the epoch is trained again.
        Checkpoints(run_dir).save_progress(1, "main", 5, *numbered(5))
        assert number_of(Checkpoints(run_dir).load_progress(1, "main")) == 5
        assert_nothing_half_written(run_dir)


@every_disk
@once_or_on
def test_steps_survive_a_disk_failure_at_any_moment(disk, tmp_path, code, once):
    for use, failing in moments(disk, code, once):
        run_dir = tmp_path / str(use)
        checkpoints = Checkpoints(run_dir)
        checkpoints.save_step(0, *numbered(0))
        checkpoints.save_progress(1, "main", 2, *numbered(2))
        with failing, refused(code):
            checkpoints.save_step(1, *numbered(1))
        found = states(run_dir)
        assert found in ([0], [0, 1])
        if found == [0]:  # then what led to the step is still there
            assert number_of(Checkpoints(run_dir).load_progress(1, "main")) == 2
        checkpoints = Checkpoints(run_dir)
        checkpoints.save_step(1, *numbered(1))
        assert states(run_dir) == [0, 1]
        assert number_of(Checkpoints(run_dir).load_step(1)) == 1
        assert Checkpoints(run_dir).load_progress(1, "main") is None
        assert_nothing_half_written(run_dir)


def contents(run_dir):
    """Returns every file of a run folder but the figures, by name."""
    return {
        str(path.relative_to(run_dir)): path.read_bytes()
        for path in pathlib.Path(run_dir).rglob("*")
        if path.is_file() and path.suffix != ".png"
    }


def record_run(config, make_record, num_finished=0):
    """Writes all records of a run, as `experiment.py` does."""
    with run_lock(config.run_dir):
        check_same_run(config.run_dir, config)
        begin_run(config.run_dir, config, num_replicas=1, flagfile="--seed=1\n")
        finished = [make_record(step) for step in range(num_finished)]
        records = RunRecords(config.run_dir, config, finished)
        for step in range(num_finished, 3):
            records.append(make_record(step))
        end_run(config.run_dir)
        records_fixtures.finish_run(records, config.run_dir)


def check_records(disk, tmp_path, make_config, make_record, code, once):
    # The report shows the name of the folder.
    whole = make_config(run_dir=tmp_path / "whole/run")
    record_run(whole, make_record)
    for use, failing in moments(disk, code, once):
        config = dataclasses.replace(whole, run_dir=str(tmp_path / str(use) / "run"))
        with failing, refused(code):
            record_run(config, make_record)
        if os.path.exists(f"{config.run_dir}/steps.jsonl"):
            read_run(config.run_dir)  # Files are never partially written.
        record_run(config, make_record, num_finished=2)
        places = whole.run_dir.encode(), config.run_dir.encode()
        expected = contents(whole.run_dir).items()
        expected = {name: data.replace(*places) for name, data in expected}
        assert contents(config.run_dir) == expected
        shutil.rmtree(config.run_dir)


@pytest.fixture(autouse=True)
def one_moment(monkeypatch):
    """Gives all runs the same times, commit and random id."""
    monkeypatch.setattr(run_identity.secrets, "token_hex", lambda _: "0" * 32)
    monkeypatch.setattr(run_identity, "now", lambda: "2026-01-01T00:00:00+00:00")
    monkeypatch.setattr(run_identity, "provenance", lambda: {"commit": None})


@every_disk
def test_records_survive_a_disk_failure_at_any_moment(
    disk, tmp_path, make_config, make_record, code, monkeypatch
):
    # Figures and versions take most of the time; only the longer test has them.
    monkeypatch.setattr(records_fixtures, "write_run_report", lambda *_: None)
    versions = run_identity.versions()
    monkeypatch.setattr(run_identity, "versions", lambda: versions)
    check_records(disk, tmp_path, make_config, make_record, code, once=False)


@pytest.mark.faults
@pytest.mark.parametrize("once", [True, False])
def test_records_and_figures_survive_a_full_disk_at_any_moment(
    disk, tmp_path, make_config, make_record, once
):
    check_records(disk, tmp_path, make_config, make_record, errno.ENOSPC, once)


def train_digits(run_dir):
    """Trains two short steps; returns the exit code."""
    return train.main(
        [
            *("--dataset=digits", "--num_base_classes=9", "--num_increments=1"),
            *("--epochs=1", "--batch_size=130", "--precision=float32", "--noexport"),
            f"--run_dir={run_dir}",
        ]
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert train_digits(run_dir) == 0
    return run_dir


def interrupt_training(disk, run_dir, use, capsys):
    """Trains on a disk that is full from a use on; expects one line of output."""
    capsys.readouterr()
    with disk.failing(use):
        code = train_digits(run_dir)
    if disk.was_reached:
        assert code == 1
        [line] = [
            line
            for line in capsys.readouterr().err.splitlines()
            if line.startswith("bsce_keras.train")
        ]
        # The message may name the folder that would hold a new file.
        assert f"No space left on device: {run_dir.parent}" in line
        assert "repeat the command" in line


@pytest.mark.slow
def test_training_on_a_full_disk_ends_with_a_message_and_continues_later(
    disk, tmp_path, undisturbed, capsys
):
    interrupt_training(disk, tmp_path / "run", 30, capsys)
    assert disk.was_reached
    assert train_digits(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == outcome(undisturbed)


@pytest.mark.faults
def test_training_survives_a_full_disk_at_many_moments(
    disk, tmp_path, undisturbed, capsys
):
    """Tests every third moment, because each takes two trainings."""
    for use in itertools.count(1, 3):
        run_dir = tmp_path / str(use)
        interrupt_training(disk, run_dir, use, capsys)
        assert train_digits(run_dir) == 0
        assert outcome(run_dir) == outcome(undisturbed)
        shutil.rmtree(run_dir)
        if not disk.was_reached:
            return


# $1: command. The disk has room for half of the run, then for all of it.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=2600k none "$PWD/disk" || exit
"$@"; echo "ended with $?"
mount -o remount,size=100m "$PWD/disk"
"$@"; echo "ended with $?"
"""


def may_mount():
    """Returns True if a process may mount its own file system."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.faults
@pytest.mark.skipif("not may_mount()", reason="needs the right to mount (unshare)")
def test_training_continues_after_a_mounted_disk_was_full(tmp_path):
    (tmp_path / "disk").mkdir()
    command = [
        *(sys.executable, "-m", "bsce_keras.train", "--dataset=digits"),
        *("--num_base_classes=8", "--num_increments=2", "--epochs=2"),
        *("--precision=float32", "--run_dir=disk/run"),
    ]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert "ended with 1" in done.stdout.splitlines(), done.stderr
    assert done.stdout.splitlines()[-1] == "ended with 0", done.stderr
    assert "run folder: disk/run" in done.stdout
    assert "No space left on device: disk/run/" in done.stderr
    assert "Traceback" not in done.stderr
