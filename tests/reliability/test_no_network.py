"""Commands do not use the network unasked, and report missing data at once."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest
from PIL import Image

from bsce_keras import evaluate, predict, report, train

ROOT = pathlib.Path(train.__file__).parents[1]


@pytest.fixture
def attempts(monkeypatch):
    """List of attempted connections; the network is cut off."""
    asked = []

    def refuse(*args, **kwargs):
        asked.append(args)
        raise OSError(101, "Network is unreachable")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    return asked


def test_every_command_works_without_a_network(attempts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("digit.png")
    assert (
        train.main(
            [
                *("--dataset=digits", "--num_base_classes=10", "--epochs=1"),
                *("--batch_size=130", "--precision=float32", "--run_dir=run"),
            ]
        )
        == 0
    )
    assert evaluate.main(["--run_dir=run"]) == 0
    assert predict.main(["--model=run/exports/step_00", "digit.png"]) == 0
    assert report.main(["run", "--output=report"]) == 0
    assert attempts == []


REFUSED_AT_ONCE = """
import socket, sys
from bsce_keras import evaluate, train
asked = []
def refuse(*args):
    asked.append(args)
    raise OSError(101, "Network is unreachable")
socket.socket.connect = socket.getaddrinfo = refuse
for dataset in ("cifar10", "cifar100", "tfds:mnist"):
    assert train.main([f"--dataset={dataset}", "--data_dir=empty"]) == 2
    arguments = [f"--dataset={dataset}", "--data_dir=empty", "--model=empty"]
    assert evaluate.main(arguments) == 2
assert not asked, asked
heavy = {"tensorflow", "tensorflow_datasets"} & set(sys.modules)
assert not heavy, heavy
"""


def test_a_missing_data_set_is_refused_at_once_with_a_way_out(run_python, tmp_path):
    (tmp_path / "empty").mkdir()
    _, said = run_python(REFUSED_AT_ONCE)
    for name in ("cifar10", "cifar100", "mnist"):
        assert f"empty does not hold a prepared copy of {name}" in said
    assert "or --download to fetch it" in said
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_requested_download_fails_with_a_message(
    attempts, tmp_path, capsys, monkeypatch
):
    import tensorflow_datasets as tfds

    def download(builder):
        # TFDS would repeat the attempt for minutes.
        socket.create_connection(("host", 443))

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download)
    arguments = ["--dataset=cifar10", "--download", f"--data_dir={tmp_path / 'tfds'}"]
    assert train.main([*arguments, f"--run_dir={tmp_path / 'run'}"]) == 1
    assert len(attempts) == 1
    output = capsys.readouterr()
    assert f"Fetching cifar10 into {tmp_path / 'tfds'}" in output.out
    assert "Could not download and prepare cifar10" in output.err
    assert "Network is unreachable" in output.err
    assert "or pass --data_dir=DIR, a TFDS directory that holds" in output.err
    assert not (tmp_path / "run").exists()


def may_trace():
    """Returns True if a process may trace the system calls of another."""
    command = ["strace", "-f", "-o", os.devnull, "true"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.faults
@pytest.mark.skipif("not may_trace()", reason="needs strace and the right to trace")
def test_native_code_does_not_open_connections(tmp_path):
    command = [
        *(sys.executable, "-m", "bsce_keras.train", "--dataset=digits"),
        *("--num_base_classes=10", "--epochs=1", "--run_dir=run"),
    ]
    calls = "trace=connect,sendto,sendmsg"
    done = subprocess.run(
        ["strace", "-f", "-o", "calls", "-e", calls, *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "calls").read_text().splitlines()
    assert [line for line in lines if "AF_INET" in line] == []
