"""Checkpoints of a run: named arrays and a JSON state, written as a whole.

- `step_02`: step 2 is finished.
- `step_02_state`: large state of the method after step 2; kept for the last two steps.
- `step_02_main_epoch_0007`: its main phase continues with epoch 7.
- `step_02_main_epoch_0007_update_000012`: 12 updates of that epoch are done.

The last checkpoint of a phase stays until the step is finished. `array_files` defines
the files of a checkpoint and detects damage.
"""

import contextlib
import logging
import os
import re

from bsce_keras.records.run_identity import checkpoint_origin
from bsce_keras.records.step_states import PREFIX, pack_states, unpack_states
from bsce_keras.runtime import array_files
from bsce_keras.runtime.array_files import DamagedError
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.files import make_folder

_log = logging.getLogger(__name__)

_FILE = re.compile(
    r"(step_\d+(?:_state|_[a-z]+_epoch_\d+(?:_update_\d+)?)?)\.(?:json|npz)(?:\.tmp)?"
)

# First phase of every step.
_FIRST_PHASE = "main"


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
        # States of the finished steps; None until `finished_states` reads them.
        self._finished = None

    def exist(self):
        """Returns True if a checkpoint was saved; interrupted saves do not count."""
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
        """Number of steps up to the last one with a checkpoint, damaged or not."""
        return max((_step_of(name) + 1 for name in self._names()), default=0)

    def save_step(self, step, arrays, state):
        """Saves a finished step, then removes its progress checkpoints.

        The checkpoint carries the states of all steps before it, so that it suffices
        even if older ones are damaged. Checkpoints of later steps are removed first.
        They exist only if this step was damaged and trained again, so they do not
        continue it.

        Args:
            step: index of the step.
            arrays: named arrays, which only this checkpoint holds.
            state: dictionary of JSON values and vectors, see `pack_states`.

        Raises:
            ValueError: `step` is not the next step.
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
        packed, plain = pack_states([*earlier, state])
        self._save(_step_name(step), {**arrays, **packed}, plain)
        self._finished = [*earlier, state]
        for name in self._progress_names(step):
            self._remove(name)
        for name in self._names():
            if _is_state(name) and _step_of(name) < step - 1:
                self._remove(name)

    def save_state(self, step, arrays):
        """Saves the method's state after a step; call it before `save_step`.

        The state belongs to the step once the step is saved. States of the last two
        steps are kept, so that the last step can be trained again.
        """
        self._save(_state_name(step), arrays, None)

    def load_state(self, step):
        """Returns the arrays of the method's state after a step, or None."""
        self._before_use()
        loaded = self._load(_state_name(step))
        return loaded and loaded[0]

    def save_progress(self, step, phase, epoch, arrays, state, num_updates=0):
        """Saves the progress of a phase, and keeps the save before this one.

        Checkpoints of later progress are removed. Training did not continue from them,
        because they are damaged or follow damaged ones.

        Args:
            step: index of the step.
            phase: name of the phase.
            epoch: epoch that training continues with.
            arrays, state: contents of the checkpoint.
            num_updates: updates of this epoch that are done.
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
        """Returns `(arrays, state)` of a finished step, or None."""
        loaded = self._load_finished(_step_name(step))
        if loaded is None:
            return None
        arrays, states = loaded
        others = {n: value for n, value in arrays.items() if not n.startswith(PREFIX)}
        return others, states[-1]

    def load_progress(self, step, phase):
        """Returns `(arrays, state)` of the latest valid progress, or None."""
        self._before_use()
        for name in reversed(self._progress_names(step, phase)):
            loaded = self._load(name)
            if loaded is not None:
                return loaded
        return None

    def finished_states(self):
        """Returns the states of steps 0, 1, ... up to the last undamaged checkpoint.

        Damage to earlier checkpoints does not matter. A step whose method state is
        damaged counts as damaged.
        """
        self._finished = []
        for name in reversed(self._names()):
            loaded = self._load_finished(name, PREFIX) if _is_step(name) else None
            if loaded is not None and not self._has_damaged_state(_step_of(name)):
                self._finished = loaded[1]
                break
        return list(self._finished)

    def _has_damaged_state(self, step):
        name = _state_name(step)
        # No array begins with "/", so that none is read: only checksums are verified.
        return name in self._names() and self._load(name, prefix="/") is None

    def drop_leftovers(self):
        """Removes progress of finished steps that an interrupted `save_step` left."""
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
        """Returns the reason that a checkpoint is not of this run, or None."""
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

    def _load_finished(self, name, prefix=""):
        """Returns `(arrays, states)` of a finished step, as `_load`."""
        return self._load(name, prefix, unpack_states)

    def _load(self, name, prefix="", unpack=lambda arrays, state: state):
        """Returns `(arrays, unpack(arrays, state))`, or None; warns of damage.

        Args:
            name: name of the checkpoint.
            prefix: only arrays whose names begin with it are read.
            unpack: function of the arrays and the state.
        """
        if name not in self._names():
            return None
        try:
            arrays, state = array_files.read(self._path(name), prefix)
            with array_files.damage_of("its state"):
                return arrays, unpack(arrays, state)
        except DamagedError as error:
            _log.warning(
                "Checkpoint %s is damaged (%s) and is ignored. Training continues from "
                "the one before it, if there is one.",
                self._path(name),
                error,
            )
            return None

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _names(self):
        """Names of all checkpoints, complete or not, in order."""
        if not os.path.isdir(self.folder):
            return []
        files = (_FILE.fullmatch(file) for file in os.listdir(self.folder))
        return sorted({match[1] for match in files if match}, key=_numbers)

    def _progress_names(self, step, phase=""):
        prefix = f"{_step_name(step)}_{phase}"
        return [
            name
            for name in self._names()
            if name.startswith(prefix) and not _is_state(name)
        ]

    def _remove(self, name):
        array_files.remove(self._path(name))


def _step_name(step):
    return f"step_{step:02d}"


def _state_name(step):
    return f"{_step_name(step)}_state"


def _is_state(name):
    return name.endswith("_state")


def _step_of(name):
    return int(name.split("_")[1])


def _is_step(name):
    return name.count("_") == 1


def _numbers(name):
    """Sort key that places step 100 after step 99 and epoch 10000 after epoch 9999."""
    return [int(part) if part.isdigit() else part for part in name.split("_")]
