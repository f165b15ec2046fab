"""`bsce_keras.train` in a process that dies at a place or a time of one's choice.

    python -m tests.reliability.dying_train PLACE NUMBER FLAG...

PLACE is a key of `PLACES`, and NUMBER says at which passing of it the process kills
itself. With the place `clock` it dies after NUMBER seconds, whatever it is doing then;
with `nowhere` it lives. Importing TensorFlow is not on the clock, for nothing is
written meanwhile.
"""

import dataclasses
import functools
import importlib
import os
import re
import signal
import sys

CLOCK, NOWHERE = "clock", "nowhere"
# A timer of the kernel sends SIGALRM, not SIGKILL. Without a handler it ends the
# process as abruptly, within whatever operation of TensorFlow.
DEATHS = {-signal.SIGKILL, -signal.SIGALRM}
_SOON = 0.005


@dataclasses.dataclass(frozen=True)
class Place:
    """A function that a run calls.

    Args:
        module: where it is looked up.
        name: in the module, with dots as in Python.
        when: `before` or `after` its work, or `during`: 5 ms after it began.
        argument: pattern; only calls with such text among the arguments count.
    """

    module: str
    name: str
    when: str = "before"
    argument: str = ""


_PACKAGE = "bsce_keras"
_CHECKPOINTS = f"{_PACKAGE}.learner.checkpoints"
_LEARNER = f"{_PACKAGE}.learner.learner"
_LOOP = f"{_PACKAGE}.learner.loop"
PLACES = {
    # Inside a save: of progress in a phase, or of a finished step.
    "arrays not yet on the disk": Place("os", "fsync"),
    "progress without a manifest": Place(
        f"{_PACKAGE}.learner.checkpoint_files", "write_json", argument="_epoch_"
    ),
    "step without a manifest": Place(
        f"{_PACKAGE}.learner.checkpoint_files", "write_json", argument=r"step_\d+\.json"
    ),
    "manifest not renamed": Place("os", "replace", argument=r"checkpoints/.*json\.tmp"),
    "old progress half removed": Place(
        "pathlib", "Path.unlink", "after", r"_epoch_.*\.json$"
    ),
    "step saved, progress not removed": Place(
        _CHECKPOINTS, "Checkpoints._save", "after", r"step_\d+$"
    ),
    # Training.
    "growth of the head": Place(_LEARNER, "grow_classifier", "after"),
    "start of class vectors": Place(f"{_PACKAGE}.models.heads", "VectorHead.imprint"),
    "event files removed": Place(
        f"{_PACKAGE}.learner.progress", "tf.summary.create_file_writer"
    ),
    "update": Place(_LOOP, "EpochLoop._update", "during"),
    "meta update": Place(_LOOP, "EpochLoop._update", "during", "True"),
    "begin of fine-tuning": Place(_LEARNER, "Learner.finetune"),
    "herding": Place(f"{_PACKAGE}.memory.replay", "herding", "during"),
    # What a step leaves behind.
    "evaluation": Place(f"{_PACKAGE}.experiment", "evaluate", "during"),
    "export without checksums": Place(f"{_PACKAGE}.export", "write_json"),
    "export not renamed": Place("os", "replace", argument=r"exports/step_\d+$"),
    "step exported, not saved": Place(f"{_PACKAGE}.experiment", "_save"),
    "step saved, not recorded": Place(f"{_PACKAGE}.records.store", "RunRecords.append"),
    "arrays recorded, not the step": Place("os", "replace", argument=r"steps\.jsonl$"),
    "figures": Place("os", "replace", argument="accuracy.png"),
    "summary": Place("os", "replace", argument="summary.json"),
}


def main(place, number, *flags):
    """Trains with these flags; returns the exit code if it lives."""
    from bsce_keras import train
    from bsce_keras.quiet import import_tensorflow

    import_tensorflow()
    importlib.import_module(f"{_PACKAGE}.experiment")
    if place == CLOCK:
        signal.setitimer(signal.ITIMER_REAL, float(number))
    elif place != NOWHERE:
        _set_trap(PLACES[place], int(number))
    return train.main(flags)


def _set_trap(place, number):
    *owners, name = place.name.split(".")
    module = importlib.import_module(place.module)
    owner = functools.reduce(getattr, owners, module)
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
    sys.exit(main(*sys.argv[1:]))
