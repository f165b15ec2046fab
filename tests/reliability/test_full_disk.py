"""A full or read-only disk costs nothing that was finished."""

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
# More than any one of the operations here needs.
MANY = 200


def numbered(number):
    return {"weights/0000": np.full((20, 3), number)}, {"number": number}


def number_of(loaded):
    """Which of the `numbered` this is, whole; None for nothing."""
    if loaded is None:
        return None
    arrays, state = loaded
    assert arrays.keys() == {"weights/0000"}
    assert (arrays["weights/0000"] == state["number"]).all()
    return state["number"]


def states(run_dir):
    return [state["number"] for state in Checkpoints(run_dir).finished_states()]


def moments(disk, code, once):
    """A `with disk.failing(...)` for every moment at which an operation can fail.

    Ends after the first one that the operation did not reach.
    """
    for use in range(1, MANY):
        yield use, disk.failing(use, code, once)
        if not disk.was_reached:
            return
    raise AssertionError(f"more than {MANY} writes")


@contextlib.contextmanager
def refused(code):
    """Lets the disk's refusal pass, which has to say where it was."""
    try:
        yield
    except OSError as error:
        assert error.errno == code
        assert error.filename


def assert_nothing_half_written(run_dir):
    left = [path for path in pathlib.Path(run_dir).rglob("*") if "tmp" in path.name]
    assert left == []


every_disk = pytest.mark.parametrize("code", CODES)
# A disk that recovers by itself is the rarer case.
once_or_on = pytest.mark.parametrize(
    "once", [pytest.param(True, marks=pytest.mark.faults), False]
)


@every_disk
@once_or_on
def test_progress_outlasts_a_disk_that_fails_at_any_moment(disk, tmp_path, code, once):
    for use, failing in moments(disk, code, once):
        run_dir = tmp_path / str(use)
        for epoch in (3, 4):
            Checkpoints(run_dir).save_progress(1, "main", epoch, *numbered(epoch))
        with failing, refused(code):
            Checkpoints(run_dir).save_progress(1, "main", 5, *numbered(5))
        assert number_of(Checkpoints(run_dir).load_progress(1, "main")) in (4, 5)
        # The disk is mended and the epoch trained again.
        Checkpoints(run_dir).save_progress(1, "main", 5, *numbered(5))
        assert number_of(Checkpoints(run_dir).load_progress(1, "main")) == 5
        assert_nothing_half_written(run_dir)


@every_disk
@once_or_on
def test_steps_outlast_a_disk_that_fails_at_any_moment(disk, tmp_path, code, once):
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
    """Every file of a run folder but the pictures, by name."""
    return {
        str(path.relative_to(run_dir)): path.read_bytes()
        for path in pathlib.Path(run_dir).rglob("*")
        if path.is_file() and path.suffix != ".png"
    }


def record_run(config, make_record, num_finished=0):
    """Writes all records of a run, as experiment.py does."""
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
    whole = make_config(run_dir=tmp_path / "whole")
    record_run(whole, make_record)
    for use, failing in moments(disk, code, once):
        config = dataclasses.replace(whole, run_dir=str(tmp_path / str(use)))
        with failing, refused(code):
            record_run(config, make_record)
        if os.path.exists(f"{config.run_dir}/steps.jsonl"):
            read_run(config.run_dir)  # nothing that is there is half written
        record_run(config, make_record, num_finished=2)
        expected = contents(whole.run_dir)
        found = contents(config.run_dir)
        expected["config.json"] = expected["config.json"].replace(
            whole.run_dir.encode(), config.run_dir.encode()
        )
        assert found == expected
        shutil.rmtree(config.run_dir)


@pytest.fixture(autouse=True)
def one_moment(monkeypatch):
    """Runs that are compared have one time, one commit and one random id."""
    monkeypatch.setattr(run_identity.secrets, "token_hex", lambda _: "0" * 32)
    monkeypatch.setattr(run_identity, "now", lambda: "2026-01-01T00:00:00+00:00")
    monkeypatch.setattr(run_identity, "provenance", lambda: {"commit": None})


@every_disk
def test_records_outlast_a_disk_that_fails_at_any_moment(
    disk, tmp_path, make_config, make_record, code, monkeypatch
):
    # Pictures and versions take most of the time; the longer check has them as well.
    monkeypatch.setattr(records_fixtures, "write_run_report", lambda *_: None)
    versions = run_identity.versions()
    monkeypatch.setattr(run_identity, "versions", lambda: versions)
    check_records(disk, tmp_path, make_config, make_record, code, once=False)


@pytest.mark.faults
@pytest.mark.parametrize("once", [True, False])
def test_records_and_pictures_outlast_a_disk_that_is_full_at_any_moment(
    disk, tmp_path, make_config, make_record, once
):
    check_records(disk, tmp_path, make_config, make_record, errno.ENOSPC, once)


def train_digits(run_dir):
    """The exit code of a short training, of two steps."""
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
    """Trains on a disk that is full from a use on; one line has to say so."""
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
        # Or the folder above, if it is to hold a new name.
        assert f"No space left on device: {run_dir.parent}" in line
        assert "give the same command again" in line


def test_training_on_a_full_disk_ends_in_a_line_and_goes_on_later(
    disk, tmp_path, undisturbed, capsys
):
    interrupt_training(disk, tmp_path / "run", 30, capsys)
    assert disk.was_reached
    assert train_digits(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == outcome(undisturbed)


@pytest.mark.faults
def test_training_outlasts_a_disk_that_is_full_at_many_moments(
    disk, tmp_path, undisturbed, capsys
):
    """Every third, as each takes two trainings; every one took 14 minutes."""
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
    """Whether this machine lets a process mount a file system of its own."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.faults
@pytest.mark.skipif("not may_mount()", reason="needs the right to mount (unshare)")
def test_a_disk_that_is_really_full_with_exports_and_event_files(tmp_path):
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
