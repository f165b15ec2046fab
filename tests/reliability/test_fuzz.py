"""Random edits of a run folder end in a message, or in the results of the run.

`FUZZ_EDITS` sets the number of edits of each command, `FUZZ_SEED` the seed. A tenth as
many are made to a run that was killed within a step.
"""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from bsce_keras import report
from tests.reliability.dying_train import trainings
from tests.reliability.edits import edit
from tests.reliability.forked_commands import COMMANDS, commands
from tests.reliability.outcomes import records

NUM_EDITS = int(os.environ.get("FUZZ_EDITS", "10"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
FLAGS = [
    *("--dataset=digits", "--num_base_classes=5", "--num_increments=1", "--epochs=1"),
    *("--batch_size=130", "--exemplars_per_class=4", "--precision=float32"),
    "--deterministic",
]
NUM_BASE_UPDATES = 5
# Files that a command reads; one that goes on with training reads all.
FILES = {
    "report": r"[^/]+$|pictures/",
    "evaluate": r"[^/]+\.jsonl?$|exports/",
    "predict": "exports/step_01/",
    "train": "",
}


def test_edited_records_are_reported_or_named(make_run, tmp_path, capsys):
    """A small part of the edits, which `make test` runs."""
    original, other = (make_run(seed=seed).run_dir for seed in (1, 2))
    rng, run_dir = np.random.default_rng(SEED), tmp_path / "edited"
    for _ in range(40):
        shutil.rmtree(run_dir, ignore_errors=True)
        shutil.copytree(original, run_dir)
        done = edit(run_dir, other, rng)
        code = report.main([str(run_dir)])
        assert _message_problem(code, capsys.readouterr().err) is None, done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def run(folder):
    """Function of a command in a process of its own, see `commands`."""
    with commands(folder) as function:
        yield function


@pytest.fixture(scope="module")
def finished(folder, run):
    """Finished runs of two seeds, and an image to classify."""
    folders = [folder / f"seed_{seed}" for seed in (1, 2)]
    for seed, run_dir in enumerate(folders, start=1):
        flags = [*FLAGS, f"--seed={seed}", f"--run_dir={run_dir}"]
        assert run("train", flags)[0] == 0
    Image.new("L", (8, 8), 99).save(folder / "image.png")
    return folders


def arguments_of(command, run_dir, rng):
    image = run_dir.parent / "image.png"
    report = [str(run_dir)]
    if rng.random() < 0.1:  # figures take most of the time
        report.append(f"--output={run_dir.parent / 'reported'}")
    return {
        "report": report,
        "evaluate": [f"--run_dir={run_dir}"],
        "predict": [f"--model={run_dir / 'exports/step_01'}", str(image)],
        "train": [*FLAGS, "--seed=1", f"--run_dir={run_dir}"],
    }[command]


def contents(run_dir):
    """Returns the bytes of every regular file by name; the lock may change."""
    return {
        str(path): path.read_bytes()
        for path in run_dir.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def unfinished(folder, finished):
    """The first finished run, as a kill in its increment leaves it."""
    run_dir = folder / "unfinished"
    flags = [*FLAGS, "--seed=1", "--save_minutes=0", f"--run_dir={run_dir}"]
    with trainings(folder / "trainings.log") as die:
        assert die(flags, "update", NUM_BASE_UPDATES + 3)
    assert len([*run_dir.glob("checkpoints/step_01_main_*.json")]) == 2
    return run_dir


@pytest.mark.faults
@pytest.mark.parametrize("command", COMMANDS)
def test_an_edited_run_ends_in_a_message_or_in_its_own_results(command, finished, run):
    rng = np.random.default_rng([SEED, COMMANDS.index(command)])
    check(command, finished[0], finished, run, rng, NUM_EDITS)


@pytest.mark.faults
def test_an_edited_unfinished_run_ends_in_a_message_or_in_its_own_results(
    unfinished, finished, run
):
    rng = np.random.default_rng([SEED, len(COMMANDS)])
    check("train", unfinished, finished, run, rng, max(1, NUM_EDITS // 10))


def check(command, source, finished, run, rng, num_edits):
    """Edits a run folder many times, and lists all failures of a command.

    Args:
        command: name of the command.
        source: folder of which a copy is edited.
        finished: finished run with the same configuration, and one of another seed.
        run: function of a command.
        rng: `numpy.random.Generator`.
        num_edits: number of copies that are edited, each once.
    """
    original, other = finished
    run_dir, failures = original.parent / "edited", []
    expected = run(command, arguments_of(command, original, rng))[1]
    for number in range(1, num_edits + 1):
        shutil.rmtree(run_dir, ignore_errors=True)
        shutil.copytree(source, run_dir)
        done = edit(run_dir, other, rng, FILES[command])
        before = contents(run_dir)
        code, out, err = run(command, arguments_of(command, run_dir, rng))
        print(f"edit {number} of {num_edits}: {done}, exit code {code}", flush=True)
        problem = _message_problem(code, err)
        if code == 2 and contents(run_dir) != before:
            problem = problem or "wrote into the folder that it refused"
        if code == 0 and command == "train":
            problem = problem or _difference(run_dir, original)
        if code == 0 and _scores(command, out) != _scores(command, expected):
            problem = problem or f"other results: {out}"
        if problem:
            failures.append(f"{command}, {done}: {problem}\n{err[-1500:]}")
            print(failures[-1], flush=True)
    assert not failures, "\n".join(failures)


def _scores(command, out):
    """Returns the results in the output of `evaluate` and `predict`.

    The column of scores that steps.jsonl records, which has no checksum, is left out.
    """
    if command not in ("evaluate", "predict"):
        return []
    lines = [line.split()[:6] for line in out.splitlines()]
    return [fields for fields in lines if fields and "differs" not in fields]


def _message_problem(code, err):
    if code not in (0, 1, 2):
        return f"exit code {code}"
    if "Traceback" in err:
        return "traceback"
    if code and "bsce_keras." not in err:
        return f"exit code {code} without a message"
    return None


def _difference(run_dir, original):
    """Returns the names of the records that differ from those of the original run.

    Damage to earlier checkpoints does not matter, because the last one suffices.
    """
    ours, theirs = records(run_dir), records(original)
    last = max(theirs["checkpoints"])
    read = {n: c for n, c in ours["checkpoints"].items() if c is not None or n == last}
    ours["checkpoints"] = theirs["checkpoints"] | {last: None} | read
    unequal = [name for name in theirs if ours[name] != theirs[name]]
    return f"other results: {unequal}" if unequal else None
