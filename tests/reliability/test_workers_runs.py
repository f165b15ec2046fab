"""Two workers equal two replicas of one process, and stop and resume together."""

import os
import re
import signal
import time

import numpy as np
import pytest

from bsce_keras.runtime.array_files import read
from tests.reliability.outcomes import outcome

pytestmark = pytest.mark.slow

REQUEST = {
    "num_base_classes": 8,
    "num_increments": 1,
    "epochs": 2,
    "batch_size": 64,
    "learning_rate": 0.01,
    "precision": "float32",
    "deterministic": True,
    "classification_loss": "meta_balanced_softmax",
    "alpha_every": 3,
    "balanced_finetuning": "true",
}
FLAGS = ["--dataset=digits", *(f"--{name}={value}" for name, value in REQUEST.items())]
LOST = "has lost the others"


def training(run_dir, *flags):
    """Returns the arguments of one worker that trains."""
    own = ["--strategy=multi_worker", f"--run_dir={run_dir}", *flags]
    return ["-m", "bsce_keras.train", *FLAGS, *own]


@pytest.fixture
def train(start_workers, tmp_path):
    """Starts two workers on the folder `run`, with more flags for both."""

    def start(*flags):
        arguments = training(tmp_path / "run", *flags)
        return start_workers(arguments, arguments)

    return start


def codes(workers, expected):
    ends = [worker.end() for worker in workers]
    assert [code for code, _ in ends] == expected, "\n".join(log for _, log in ends)
    return [log for _, log in ends]


def test_two_workers_equal_two_replicas_of_one_process(train, two_devices, tmp_path):
    """Covers both phases, alpha and distillation; only one worker writes."""
    from bsce_keras import make_config, run_experiment

    workers = train()
    logs = codes(workers, [0, 0])
    config = make_config(
        "digits", **REQUEST, strategy="mirrored", run_dir=str(tmp_path / "mirrored")
    )
    run_experiment(config)
    for step in ("step_00", "step_01"):
        ours, states = zip(
            *(
                read(str(tmp_path / folder / "checkpoints" / step))
                for folder in ("run", "mirrored")
            ),
            strict=True,
        )
        assert states[0]["num_classes"] == states[1]["num_classes"]
        assert set(ours[0]) == set(ours[1])
        for name in set(ours[0]) - {"states/earlier"}:
            np.testing.assert_allclose(ours[0][name], ours[1][name], atol=1e-5)
    assert "run folder:" in logs[0] and "run folder:" not in logs[1]
    assert [list(worker.folder.iterdir()) for worker in workers] == [[], []]


def test_stopped_workers_end_with_the_same_bits(train, tmp_path):
    """Both are killed, one receives a signal, or only one is killed."""
    codes(train(), [0, 0])
    expected = outcome(tmp_path / "run")
    os.rename(tmp_path / "run", tmp_path / "whole")

    workers = train("--save_minutes=0")
    wait_for(tmp_path / "run", r"step_00_main_epoch_0000_update_\d+\.json")
    for worker in workers:
        worker.process.kill()
    codes(workers, [-signal.SIGKILL] * 2)

    workers = train("--save_minutes=0")
    wait_for(tmp_path / "run", r"step_01_main_epoch_\d+_update_\d+\.json")
    workers[1].process.terminate()
    for log in codes(workers, [143, 143]):
        assert "stopped in step 1" in log

    workers = train("--save_minutes=0")
    wait_for(tmp_path / "run", r"step_01_main_epoch_0001_update_\d+\.json")
    workers[1].process.kill()
    logs = codes(workers, [1, -signal.SIGKILL])
    assert LOST in logs[0]

    codes(train(), [0, 0])
    assert outcome(tmp_path / "run") == expected
    logs = codes(train(), [0, 0])
    assert "is complete" in logs[0]
    assert outcome(tmp_path / "run") == expected


def test_workers_end_without_their_chief(train, tmp_path):
    workers = train("--save_minutes=0")
    wait_for(tmp_path / "run", r"step_00_main_epoch_0000_update_\d+\.json")
    workers[0].process.kill()
    logs = codes(workers, [-signal.SIGKILL, 1])
    assert LOST in logs[1] and "same command" in logs[1]


def test_a_loss_that_is_not_finite_stops_both_workers(train):
    for log in codes(train("--learning_rate=1e30"), [1, 1]):
        assert "Training stopped in step 0, epoch 1, update 2" in log


def test_both_workers_refuse_different_requests_and_folders_in_use(
    start_workers, tmp_path
):
    run_dir = tmp_path / "run"
    workers = start_workers(training(run_dir), training(run_dir, "--seed=2"))
    logs = codes(workers, [2, 2])
    assert "Workers with other flags than the chief's: 1" in logs[0]
    assert "--seed (training.seed) was 1, now 2" in logs[1]
    assert not run_dir.exists()

    from bsce_keras.records.run_folder import run_lock

    with run_lock(run_dir):
        workers = start_workers(training(run_dir), training(run_dir))
        for log in codes(workers, [2, 2]):
            assert f"is in use by process {os.getpid()}" in log
        assert os.listdir(run_dir) == [".lock"]


def wait_for(run_dir, pattern):
    """Waits for a checkpoint whose name matches a pattern."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        folder = run_dir / "checkpoints"
        names = os.listdir(folder) if folder.is_dir() else []
        if any(re.fullmatch(pattern, name) for name in names):
            return
        time.sleep(0.05)
    raise AssertionError(f"no checkpoint {pattern} among {names}")
