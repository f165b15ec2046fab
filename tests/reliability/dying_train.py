"""Trains with `bsce_keras.train` in processes that die at a given place or time.

Every input line is a JSON list of PLACE, NUMBER and the list of flags. A forked child
trains with these flags. The output is its exit code, or the negative number of the
signal that ended it. PLACE is a key of `PLACES`. The child kills itself at the
NUMBER-th call of that place. With the place `clock` it dies after NUMBER seconds, with
`nowhere` it lives.

TensorFlow is imported once, which takes half of the time of a short training. Nothing
is computed before a fork, because a fork does not copy TensorFlow's threads.
"""

import contextlib
import dataclasses
import functools
import importlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

CLOCK, NOWHERE = "clock", "nowhere"
# A timer of the kernel sends SIGALRM, not SIGKILL. Without a handler, it ends the
# process just as abruptly, within any operation of TensorFlow.
_DEATHS = {-signal.SIGKILL, -signal.SIGALRM}
_SOON = 0.005
_ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Place:
    """Function that a run calls.

    Args:
        module: module that holds the function.
        name: name in the module, with dots as in Python.
        when: `before` or `after` its work, or `during`: 5 ms after it began.
        argument: pattern. Only calls with a matching argument count.
    """

    module: str
    name: str
    when: str = "before"
    argument: str = ""


_PACKAGE = "bsce_keras"
_CHECKPOINTS = f"{_PACKAGE}.records.checkpoints"
_LOOP = f"{_PACKAGE}.learner.epoch_loop"
PLACES = {
    # Inside a save of progress in a phase, or of a finished step.
    "arrays not yet on the disk": Place("os", "fsync"),
    "progress without a manifest": Place(
        f"{_PACKAGE}.runtime.array_files", "write_json", argument="_epoch_"
    ),
    "step without a manifest": Place(
        f"{_PACKAGE}.runtime.array_files", "write_json", argument=r"step_\d+\.json"
    ),
    "manifest not renamed": Place("os", "replace", argument=r"checkpoints/.*json\.tmp"),
    "old progress half removed": Place(
        "pathlib", "Path.unlink", "after", r"_epoch_.*\.json$"
    ),
    "step saved, progress not removed": Place(
        _CHECKPOINTS, "Checkpoints._save", "after", r"step_\d+$"
    ),
    # Training.
    "growth of the head": Place(
        f"{_PACKAGE}.learner.growth", "grow_classifier", "after"
    ),
    "start of class vectors": Place(f"{_PACKAGE}.models.heads", "VectorHead.imprint"),
    "event files removed": Place(
        f"{_PACKAGE}.learner.progress", "tf.summary.create_file_writer"
    ),
    "update": Place(_LOOP, "EpochLoop._update", "during"),
    "meta update": Place(_LOOP, "EpochLoop._update", "during", "True"),
    "optimisation of pixels": Place(
        f"{_PACKAGE}.learner.exemplar_pixels", "PixelOptimizer.optimized", "during"
    ),
    "begin of fine-tuning": Place(
        f"{_PACKAGE}.learner.finetuning_phase", "FinetuningPhase.run"
    ),
    "herding": Place(f"{_PACKAGE}.memory.selection_policies", "herding", "during"),
    "edges of the graph": Place(f"{_PACKAGE}.memory.graph", "hebbian_edges", "during"),
    # Results of a step.
    "evaluation": Place(f"{_PACKAGE}.experiment", "step_scores", "during"),
    "step scored, not saved": Place(
        f"{_PACKAGE}.records.run_folder", "RunFolder.finish_step"
    ),
    "step saved, not recorded": Place(
        f"{_PACKAGE}.records.run_records", "RunRecords.append"
    ),
    "arrays recorded, not the step": Place("os", "replace", argument=r"steps\.jsonl$"),
    "export without checksums": Place(
        f"{_PACKAGE}.exports.step_export", "write_json", argument=r"checksums\.json$"
    ),
    "export not renamed": Place("os", "replace", argument=r"exports/step_\d+$"),
    "figures": Place("os", "replace", argument="accuracy.png"),
    "summary": Place("os", "replace", argument="summary.json"),
}


@contextlib.contextmanager
def trainings(log):
    """Yields a function that trains, and returns True if the training died.

    Its arguments are the flags, and the place and number of the death; by default the
    training lives.

    Args:
        log: `pathlib.Path` of a file for the output of the trainings.
    """
    with (
        open(log, "w") as printed,
        subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.dying_train"],
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            text=True,
        ) as process,
    ):

        def die(flags, place=NOWHERE, number=0):
            print(json.dumps([place, number, flags]), file=process.stdin, flush=True)
            code = int(process.stdout.readline())
            assert code in {0, *_DEATHS}, log.read_text()
            return code != 0

        yield die


def _main():
    from bsce_keras.runtime.tensorflow_import import import_tensorflow

    import_tensorflow()
    importlib.import_module(f"{_PACKAGE}.experiment")
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        place, number, flags = json.loads(line)
        child = os.fork()
        if child == 0:
            sys.exit(_train(place, number, flags))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(answers, f"{code}\n".encode())


def _train(place, number, flags):
    from bsce_keras import train

    if place == CLOCK:
        signal.setitimer(signal.ITIMER_REAL, number)
    elif place != NOWHERE:
        _set_trap(PLACES[place], number)
    return train.main(flags)


def owner_of(place):
    """Returns the module or class that has the function of a `Place`, and its name."""
    *owners, name = place.name.split(".")
    module = importlib.import_module(place.module)
    return functools.reduce(getattr, owners, module), name


def _set_trap(place, number):
    owner, name = owner_of(place)
    original = getattr(owner, name)
    passings = 0

    def trapped(*args, **kwargs):
        nonlocal passings
        text = " ".join(str(a) for a in args if isinstance(a, str | os.PathLike | bool))
        passings += bool(re.search(place.argument, text))
        is_here = passings == number and re.search(place.argument, text)
        if is_here and place.when == "before":
            _die()
        if is_here and place.when == "during":
            signal.setitimer(signal.ITIMER_REAL, _SOON)
        result = original(*args, **kwargs)
        if is_here and place.when == "after":
            _die()
        return result

    setattr(owner, name, trapped)


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _main()
