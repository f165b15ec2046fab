"""A killed run ends with the same bits as an undisturbed one.

Runs of five systems are killed 110 times, many of them repeatedly: at 51 places that
are named below, and at 59 random instants. Saves are also killed at each of the 32
times that they use the disk. `outcomes.outcome` defines the contents that are compared.
"""

import os
import pathlib
import signal
import time

import numpy as np
import pytest

from bsce_keras import train
from bsce_keras.records.checkpoints import Checkpoints
from tests.reliability import dying_train
from tests.reliability.conftest import FailingDisk
from tests.reliability.dying_train import CLOCK, owner_of, trainings
from tests.reliability.outcomes import assert_same_outcome, outcome
from tests.reliability.test_full_disk import (
    MANY,
    assert_nothing_half_written,
    number_of,
    numbered,
    states,
)


class DyingDisk(FailingDisk):
    """Disk at whose n-th use the process dies."""

    def __init__(self, monkeypatch, deadly_use):
        self._deadly_use = deadly_use
        super().__init__(monkeypatch)

    def use(self, name, path=None):
        self._uses += 1
        if self._uses == self._deadly_use:
            os.kill(os.getpid(), signal.SIGKILL)


def die_at_every_use(prepare, save, check):
    """Saves once for every use of the disk, in a process that dies at that use.

    Call it in a process with one thread, which may fork.

    Args:
        prepare: function of a run folder that writes earlier saves.
        save: function of the folder that uses the disk.
        check: function of the folder that is called after the death.
    """
    for use in range(1, MANY):
        run_dir = pathlib.Path(str(use))
        prepare(run_dir)
        child = os.fork()
        if child == 0:
            try:
                DyingDisk(pytest.MonkeyPatch(), use)
                save(run_dir)
                os._exit(0)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        check(run_dir)
        if code == 0:
            assert use > 10
            return
        assert code == -signal.SIGKILL
    raise AssertionError(f"more than {MANY} uses")


def check_progress():
    def prepare(run_dir):
        for epoch in (3, 4):
            Checkpoints(run_dir).save_progress(1, "main", epoch, *numbered(epoch))

    def save(run_dir):
        Checkpoints(run_dir).save_progress(1, "main", 5, *numbered(5))

    def check(run_dir):
        assert number_of(Checkpoints(run_dir).load_progress(1, "main")) in (4, 5)
        save(run_dir)
        assert number_of(Checkpoints(run_dir).load_progress(1, "main")) == 5
        assert_nothing_half_written(run_dir)

    die_at_every_use(prepare, save, check)


def check_steps():
    def prepare(run_dir):
        checkpoints = Checkpoints(run_dir)
        checkpoints.save_step(0, *numbered(0))
        for epoch in (1, 2):
            checkpoints.save_progress(1, "main", epoch, *numbered(epoch))

    def save(run_dir):
        Checkpoints(run_dir).save_step(1, *numbered(1))

    def check(run_dir):
        checkpoints = Checkpoints(run_dir)
        checkpoints.drop_leftovers()
        if states(run_dir) == [0]:  # then what led to the step is still there
            assert number_of(checkpoints.load_progress(1, "main")) == 2
            save(run_dir)
        assert states(run_dir) == [0, 1]
        assert number_of(checkpoints.load_step(1)) == 1
        assert sorted(os.listdir(checkpoints.folder)) == [
            f"step_0{step}.{ending}" for step in (0, 1) for ending in ("json", "npz")
        ]

    die_at_every_use(prepare, save, check)


def test_a_save_survives_a_kill_at_any_moment(run_python):
    run_python("""
from tests.reliability import test_kills
test_kills.check_progress()
test_kills.check_steps()
""")


FLAGS = [
    *("--dataset=digits", "--num_base_classes=8", "--num_increments=2", "--epochs=2"),
    *("--batch_size=52", "--exemplars_per_class=20", "--precision=float32"),
    "--deterministic",
]
META = ["--classification_loss=meta_balanced_softmax", "--alpha_every=2"]
SYSTEMS = {
    "il_baseline": ["--method=il_baseline", *META],
    "lucir": ["--method=lucir", "--balanced_finetuning=true", "--noexport"],
    "podnet": ["--method=podnet", "--noexport"],
    "tpcil": ["--method=tpcil", "--noexport"],
    "mnemonics": ["--method=mnemonics", "--exemplars_per_class=6", "--noexport"],
}
SYSTEM = pytest.mark.parametrize("system", SYSTEMS)


@pytest.fixture(scope="module")
def die(tmp_path_factory):
    """Function of `trainings`."""
    with trainings(tmp_path_factory.mktemp("trainings") / "log") as function:
        yield function


@pytest.mark.slow
def test_a_step_killed_within_an_update_of_alpha_ends_with_the_same_bits(tmp_path, die):
    """Killed in one process and continued in another; longer tests cover the rest.

    It dies in the third update of step 1, two of which are saved.
    """
    flags = [*FLAGS, *META, "--noexport", "--save_minutes=0", "--epochs=1"]
    # Every update moves alpha, so that only one kind of update is traced.
    flags += ["--num_base_classes=9", "--num_increments=1", "--alpha_every=1"]
    whole, killed = tmp_path / "whole/run", tmp_path / "killed/run"
    assert die([*flags, f"--run_dir={killed}"], "meta update", 3)
    assert (killed / "checkpoints/step_01_main_epoch_0000_update_000002.json").exists()
    assert train.main([*flags, f"--run_dir={killed}"]) == 0
    assert train.main([*flags, f"--run_dir={whole}"]) == 0
    assert_same_outcome(killed, outcome(whole))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, die):
    """Function of a system: outcome and seconds of a run that was never killed."""
    known = {}

    def run(system):
        if system not in known:
            run_dir = tmp_path_factory.mktemp(system) / "run"
            begin = time.perf_counter()
            assert not die([*FLAGS, *SYSTEMS[system], f"--run_dir={run_dir}"])
            seconds = time.perf_counter() - begin
            known[system] = outcome(run_dir), seconds
        return known[system]

    return run


# Places at which successive processes die, counted from the start of each process.
PLACES = {
    "il_baseline": [
        ("arrays not yet on the disk", 3),
        ("update", 5),
        ("progress without a manifest", 6),
        ("manifest not renamed", 7),
        ("old progress half removed", 8),
        ("herding", 3),
        ("evaluation", 1),
        ("step scored, not saved", 1),
        ("step without a manifest", 1),
        ("step saved, progress not removed", 1),
        ("export without checksums", 1),
        ("export not renamed", 1),
        ("growth of the head", 1),
        ("meta update", 2),
        ("meta update", 1),
        ("step saved, not recorded", 1),
        ("export not renamed", 1),
        ("step saved, progress not removed", 1),
        ("summary", 1),
    ],
    "lucir": [
        ("update", 30),
        ("growth of the head", 1),
        ("start of class vectors", 1),
        ("begin of fine-tuning", 1),
        ("event files removed", 2),
        ("update", 2),
        ("arrays recorded, not the step", 2),
        ("herding", 1),
        ("figures", 1),
    ],
    "podnet": [
        ("start of class vectors", 1),
        ("herding", 1),
        ("update", 2),
        ("herding", 2),
        ("step saved, progress not removed", 1),
        ("begin of fine-tuning", 1),
        ("old progress half removed", 1),
        ("evaluation", 1),
    ],
    "tpcil": [
        ("edges of the graph", 1),
        ("step saved, progress not removed", 1),
        ("update", 2),
        ("update", 2),
        ("edges of the graph", 1),
    ],
    # One group of classes at the base step; later new classes and two old groups.
    "mnemonics": [
        ("optimisation of pixels", 1),
        ("step scored, not saved", 1),
        ("optimisation of pixels", 2),
        ("optimisation of pixels", 3),
        ("begin of fine-tuning", 1),
        ("event files removed", 2),
        ("update", 1),
        ("step saved, progress not removed", 1),
        ("optimisation of pixels", 1),
        ("evaluation", 1),
    ],
}


def test_every_named_place_exists():
    for place in dying_train.PLACES.values():
        assert callable(getattr(*owner_of(place)))


@pytest.mark.faults
@SYSTEM
def test_a_run_killed_repeatedly_at_named_places_ends_with_the_same_bits(
    system, tmp_path, undisturbed, die
):
    expected, _ = undisturbed(system)
    run_dir = tmp_path / "run"
    flags = [*FLAGS, *SYSTEMS[system], "--save_minutes=0", f"--run_dir={run_dir}"]
    for place, number in PLACES[system]:
        assert die(flags, place, number), f"{place} was not reached"
    assert not die(flags)
    assert_same_outcome(run_dir, expected)


# Saves of every update, of some updates, or only at the end of a phase.
SAVE_MINUTES = (0, 0.02, 2)
NUM_RANDOM_KILLS = {
    "il_baseline": 14,
    "lucir": 13,
    "podnet": 13,
    "tpcil": 6,
    "mnemonics": 13,
}


@pytest.mark.faults
@SYSTEM
def test_a_run_killed_repeatedly_at_random_ends_with_the_same_bits(
    system, tmp_path, undisturbed, die
):
    """A run that reaches its end is compared, and another run begins."""
    expected, seconds = undisturbed(system)
    rng = np.random.default_rng(1)
    kills, run = 0, 0
    while kills < NUM_RANDOM_KILLS[system]:
        run_dir = tmp_path / str(run) / "run"
        save_minutes = SAVE_MINUTES[run % len(SAVE_MINUTES)]
        flags = [*FLAGS, *SYSTEMS[system], f"--run_dir={run_dir}"]
        flags.append(f"--save_minutes={save_minutes}")
        died = True
        while died and kills < NUM_RANDOM_KILLS[system]:
            died = die(flags, CLOCK, rng.uniform(0, 0.7 * seconds))
            kills += died
        if died:
            assert not die(flags)
        assert_same_outcome(run_dir, expected)
        run += 1
