"""Runs of every method that another process kills at random end with the same bits.

So do runs that adopt a classifier. `KILLS` sets the number of kills of each system,
`KILLS_SEED` the seed.
"""

import itertools
import math
import os
import time

import keras
import numpy as np
import pytest

from bsce_keras.methods import METHODS
from tests.reliability.forked_commands import KILLED, commands
from tests.reliability.outcomes import assert_same_outcome, outcome

NUM_KILLS = int(os.environ.get("KILLS", "2"))
SEED = int(os.environ.get("KILLS_SEED", "1"))
FLAGS = [
    *("--dataset=digits", "--num_increments=1", "--epochs=2", "--batch_size=100"),
    *("--precision=float32", "--deterministic", "--noexport"),
]
NUM_BASE_CLASSES = 6
# Systems whose base step is an adopted classifier; one of them trains increments.
ADOPTING = {f"adopted_{name}": name for name in ("acil", "imprint", "il_baseline")}
# Methods by the name of the system.
SYSTEMS = {name: name for name in METHODS} | ADOPTING
# Saves after every update, or by the default only at the end of a phase.
SAVES = (["--save_minutes=0"], [])


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Function of flags and seconds, after which the process is killed.

    Returns True if the process was killed.
    """
    with commands(tmp_path_factory.mktemp("kills")) as run:

        def train(flags, seconds=math.inf):
            code, _, errors = run("train", flags, seconds)
            assert code in (0, KILLED), errors
            return code == KILLED

        yield train


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """Path of an untrained classifier of the base classes."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(NUM_BASE_CLASSES, activation="softmax"),
        ]
    )
    path = tmp_path_factory.mktemp("classifier") / "model.keras"
    model.save(path)
    return path


@pytest.mark.faults
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_run_killed_by_another_process_ends_with_the_same_bits(
    system, train, classifier, tmp_path
):
    """Runs with either kind of saves are killed equally often, each until it ends."""
    flags = [*FLAGS, f"--method={SYSTEMS[system]}"]
    if system in ADOPTING:
        names = ",".join(str(label) for label in range(NUM_BASE_CLASSES))
        flags += [f"--initial_model={classifier}", f"--initial_classes={names}"]
    else:
        flags.append(f"--num_base_classes={NUM_BASE_CLASSES}")
    whole = tmp_path / "whole/run"
    seconds = _train_whole(train, [*flags, f"--run_dir={whole}"])
    expected = outcome(whole)
    rng = np.random.default_rng([SEED, [*SYSTEMS].index(system)])
    moments = (rng.uniform(0, 0.9 * seconds) for _ in itertools.count())
    for number, saves in enumerate(SAVES):
        folder = tmp_path / str(number)
        killed = _kill(train, [*flags, *saves], moments, folder, expected)
        print(f"{system}, {' '.join(saves) or 'default saves'}: {killed}")


def _kill(train, flags, moments, folder, expected):
    """Kills runs until half of the kills are done; returns their numbers in words.

    Args:
        train: function of flags and seconds, see the fixture.
        flags: those of the runs, without their folder.
        moments: iterator of seconds. A run that goes on needs fewer than a whole one.
        folder: folder of the run folders.
        expected: outcome of a whole run.
    """
    kills = after_a_save = after_the_base = run = 0
    while kills < NUM_KILLS / len(SAVES):
        run_dir = folder / str(run) / "run"
        ours = [*flags, f"--run_dir={run_dir}"]
        while kills < NUM_KILLS / len(SAVES) and train(ours, next(moments)):
            kills += 1
            after_a_save += any(run_dir.glob("checkpoints/*.json"))
            after_the_base += (run_dir / "checkpoints/step_00.json").exists()
        assert not train(ours)
        assert_same_outcome(run_dir, expected)
        run += 1
    return f"{kills} kills, {after_a_save} after a save, {after_the_base} after step 0"


def _train_whole(train, flags):
    begin = time.monotonic()
    assert not train(flags)
    return time.monotonic() - begin
