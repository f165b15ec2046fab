"""One process at a time uses a run folder; the lock of a dead process is free."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys

import pytest

from bsce_keras import train
from bsce_keras.records.run_folder import run_lock
from bsce_keras.runtime.errors import RequestError

HOLD = """
import sys
from bsce_keras.runtime.errors import RequestError
from bsce_keras.records.run_folder import run_lock
try:
    with run_lock(sys.argv[1]):
        print("held", flush=True)
        sys.stdin.read()
except RequestError as error:
    print(error, flush=True)
"""


@contextlib.contextmanager
def holder(run_dir):
    """Another process that requests the lock, and its first line of output."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process, process.stdout.readline().strip()
        process.stdin.close()


def asked_to_train(run_dir):
    """Runs `train` in a folder in use; returns the exit code."""
    return train.main(["--dataset=digits", "--epochs=1", f"--run_dir={run_dir}"])


def test_training_in_a_folder_in_use_is_refused_and_changes_nothing(tmp_path, capsys):
    with holder(tmp_path / "run") as (process, word):
        assert word == "held"
        assert asked_to_train(tmp_path / "run") == 2
        message = capsys.readouterr().err
        assert f"{tmp_path / 'run'} is in use by process {process.pid}." in message
        assert "Wait for it, stop it, or use another --run_dir" in message
        assert os.listdir(tmp_path / "run") == [".lock"]


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    with holder(tmp_path) as (process, word):
        assert word == "held"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / ".lock").read_text() == str(process.pid)
        with run_lock(tmp_path):
            assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_only_one_of_several_processes_gets_the_folder(tmp_path):
    with contextlib.ExitStack() as stack:
        words = [stack.enter_context(holder(tmp_path / "run"))[1] for _ in range(4)]
    assert sorted(word == "held" for word in words) == [False] * 3 + [True]


def test_a_lock_in_a_removed_folder_is_taken_again(tmp_path, monkeypatch):
    """The last holder removes a folder that it made and that stayed empty."""
    removals = [tmp_path / "run", tmp_path / "run"]

    def lock_late(file, operation):
        if removals:
            shutil.rmtree(removals.pop())
        return flock(file, operation)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lock_late)
    with run_lock(tmp_path / "run"):
        monkeypatch.undo()
        refused = pytest.raises(RequestError, match=f"by process {os.getpid()}")
        with refused, run_lock(tmp_path / "run"):
            pass
    assert removals == []


def test_a_file_system_without_locks_is_refused_with_the_path(tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match=r"not supported: .*\.lock"), run_lock(tmp_path):
        pass
