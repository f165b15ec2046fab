"""Checkpoints: named arrays and a JSON state, whole or not there.

`step_02` is a finished step; `step_02_main_epoch_0007` one whose main phase goes on
with epoch 7, `step_02_main_epoch_0007_update_000012` one that has done 12 updates of
it. The end of a phase stays until the step is finished. `checkpoint_files` says what
files a checkpoint is and how damage is found.
"""

import contextlib
import json
import logging
import os
import re

import numpy as np

from bsce_keras.records.run_identity import checkpoint_origin
from bsce_keras.runtime import array_files
from bsce_keras.runtime.array_files import DamagedError
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.files import make_folder

_log = logging.getLogger(__name__)

_FILE = re.compile(
    r"(step_\d+(?:_[a-z]+_epoch_\d+(?:_update_\d+)?)?)\.(?:json|npz)(?:\.tmp)?"
)

# The phase of a step that every other one follows.
_FIRST_PHASE = "main"

# Among a finished step's arrays: the states of the steps before it, as JSON. With them
# the last checkpoint is enough, whatever became of older ones.
_EARLIER = "earlier_states"


class Checkpoints:
    """The `checkpoints/` folder of a run.

    Args:
        run_dir: the run folder.
        before_use: called before every save, and before progress is loaded; raises if
            the folder must not be used any more.
    """

    def __init__(self, run_dir, before_use=lambda: None):
        self.folder = os.path.join(run_dir, "checkpoints")
        self._run_dir = run_dir
        self._before_use = before_use
        # States of the finished steps, once they were asked for.
        self._finished = None

    def exist(self):
        """Whether anything was saved; the rest of a save cut short is nothing."""
        return any(os.path.exists(f"{self._path(name)}.json") for name in self._names())

    def refuse_strangers(self):
        """Refuses checkpoints of another run, and steps that do not follow each other.

        Every manifest names its run and the checksum of the finished step before it.
        Reads manifests only; damaged ones are left to `finished_states`.

        Raises:
            RequestError: naming every checkpoint that does not belong here, and why.
        """
        manifests = {}
        for name in self._names():
            with contextlib.suppress(DamagedError):
                manifests[name] = array_files.read_origin(self._path(name))
        problems = [
            f"{self._path(name)} {problem}"
            for name, (origin, _) in manifests.items()
            if (problem := self._origin_problem(name, origin, manifests))
        ]
        if problems:
            raise RequestError(
                [
                    f"{self.folder} holds checkpoints that do not belong to this run. "
                    "Move their .json and .npz files elsewhere, or put the run's own "
                    "there. Nothing was changed.",
                    *problems,
                ]
            )

    def num_begun_steps(self):
        """Steps up to the last one that anything was saved of, be it damaged now."""
        return max((_step_of(name) + 1 for name in self._names()), default=0)

    def save_step(self, step, arrays, state):
        """Saves a finished step, then drops what led to it.

        Later steps, left over where they and this one were damaged and this one was
        trained again, do not descend from it: they go first.

        Raises:
            ValueError: if it is not the step that comes next.
        """
        if self._finished is None:
            self.finished_states()
        earlier = self._finished[:step]
        if len(earlier) != step:
            raise ValueError(
                f"Expected step {len(earlier)}, which comes next. Received: {step}"
            )
        for name in self._names():
            if _step_of(name) > step:
                self._remove(name)
        encoded = np.frombuffer(json.dumps(earlier).encode(), np.uint8)
        self._save(_step_name(step), {**arrays, _EARLIER: encoded}, state)
        self._finished = [*earlier, state]
        for name in self._progress_names(step):
            self._remove(name)

    def save_progress(self, step, phase, epoch, arrays, state, num_updates=0):
        """Saves a phase that has done `num_updates` of an epoch; the save before stays.

        What lies further on was damaged, or came after what was: training would not be
        here otherwise. It goes, as it does not descend from this.
        """
        saved = f"{_step_name(step)}_{phase}_epoch_{epoch:04d}"
        if num_updates:
            saved += f"_update_{num_updates:06d}"
        self._save(saved, arrays, state)
        names = self._progress_names(step, phase)
        place = names.index(saved)
        obsolete = names[: max(place - 1, 0)] + names[place + 1 :]
        if phase == _FIRST_PHASE:
            obsolete += [n for n in self._progress_names(step) if n not in names]
        for name in obsolete:
            self._remove(name)

    def load_step(self, step):
        """`(arrays, state)` of a finished step, or None."""
        loaded = self._load(_step_name(step))
        if loaded:
            loaded[0].pop(_EARLIER, None)
        return loaded

    def load_progress(self, step, phase):
        """`(arrays, state)` of the furthest valid progress in a phase, or None."""
        self._before_use()
        for name in reversed(self._progress_names(step, phase)):
            loaded = self._load(name)
            if loaded is not None:
                return loaded
        return None

    def finished_states(self):
        """States of the steps 0, 1, ... up to the last whose checkpoint is whole.

        Damage to checkpoints before that one is of no consequence.
        """
        self._finished = []
        for name in reversed(self._names()):
            loaded = self._load(name, [_EARLIER]) if _is_step(name) else None
            if loaded is not None:
                arrays, state = loaded
                self._finished = [*json.loads(arrays[_EARLIER].tobytes()), state]
                break
        return list(self._finished)

    def drop_leftovers(self):
        """Removes what led to finished steps, where a kill kept `save_step` from it."""
        if self._finished is None:
            self.finished_states()
        for step in range(len(self._finished)):
            for name in self._progress_names(step):
                self._remove(name)

    def _save(self, name, arrays, state):
        self._before_use()
        make_folder(self.folder)
        origin = checkpoint_origin(self._run_dir, _step_of(name))
        if origin:
            origin["predecessor"] = self._checksum_before(name)
        array_files.write(self._path(name), arrays, state, origin)

    def _checksum_before(self, name):
        """Checksum of the finished step that a checkpoint follows, None without it."""
        with contextlib.suppress(DamagedError):
            before = _step_name(_step_of(name) - 1)
            return array_files.read_origin(self._path(before))[1]
        return None

    def _origin_problem(self, name, origin, manifests):
        """Why a checkpoint does not belong to this run, or None."""
        step = _step_of(name)
        expected = checkpoint_origin(self._run_dir, step) or {}
        origin = origin or {}
        if origin.get("run_id") != expected.get("run_id"):
            return (
                f"is of run {origin.get('run_id')}, and {self._run_dir} is run "
                f"{expected.get('run_id')}"
            )
        if origin.get("config_sha256") != expected.get("config_sha256"):
            return "was trained with another configuration than config.json tells"
        _, before = manifests.get(_step_name(step - 1), (None, None))
        predecessor = origin.get("predecessor")
        if before and predecessor and predecessor != before:
            return f"does not follow the {_step_name(step - 1)} that is there"
        return None

    def _load(self, name, wanted=None):
        if name not in self._names():
            return None
        try:
            return array_files.read(self._path(name), wanted)
        except DamagedError as error:
            _log.warning(
                "Checkpoint %s is damaged (%s) and is not used; the one before it is, "
                "if there is one.",
                self._path(name),
                error,
            )
            return None

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _names(self):
        """Names of all checkpoints and of what is left of one, in order."""
        if not os.path.isdir(self.folder):
            return []
        files = (_FILE.fullmatch(file) for file in os.listdir(self.folder))
        return sorted({match[1] for match in files if match}, key=_numbers)

    def _progress_names(self, step, phase=""):
        prefix = f"{_step_name(step)}_{phase}"
        return [name for name in self._names() if name.startswith(prefix)]

    def _remove(self, name):
        array_files.remove(self._path(name))


def _step_name(step):
    return f"step_{step:02d}"


def _step_of(name):
    return int(name.split("_")[1])


def _is_step(name):
    return name.count("_") == 1


def _numbers(name):
    """Sorts step 100 after step 99, and epoch 10000 after epoch 9999."""
    return [int(part) if part.isdigit() else part for part in name.split("_")]
