"""Checkpoints of a run: named arrays and a JSON state, written as a whole.

- `step_02`: step 2 is finished.
- `step_02_main_epoch_0007`: its main phase continues with epoch 7.
- `step_02_main_epoch_0007_update_000012`: 12 updates of that epoch are done.

The last checkpoint of a phase stays until the step is finished. `array_files` defines
the files of a checkpoint and detects damage.
"""

import json
import logging
import os
import re

import numpy as np

from bsce_keras.runtime import array_files
from bsce_keras.runtime.array_files import DamagedError
from bsce_keras.runtime.files import make_folder

_log = logging.getLogger(__name__)

_FILE = re.compile(
    r"(step_\d+(?:_[a-z]+_epoch_\d+(?:_update_\d+)?)?)\.(?:json|npz)(?:\.tmp)?"
)

# First phase of every step.
_FIRST_PHASE = "main"

# Array of a finished step that holds the states of earlier steps as JSON. The last
# checkpoint therefore suffices, even if older ones are damaged.
_EARLIER = "earlier_states"


class Checkpoints:
    """The `checkpoints/` folder of a run.

    Args:
        run_dir: the run folder.
    """

    def __init__(self, run_dir):
        self.folder = os.path.join(run_dir, "checkpoints")
        # States of the finished steps; None until `finished_states` reads them.
        self._finished = None

    def exist(self):
        """Returns True if a checkpoint was saved; interrupted saves do not count."""
        return any(os.path.exists(f"{self._path(name)}.json") for name in self._names())

    def num_begun_steps(self):
        """Number of steps up to the last one with a checkpoint, damaged or not."""
        return max((int(name.split("_")[1]) + 1 for name in self._names()), default=0)

    def save_step(self, step, arrays, state):
        """Saves a finished step, then removes its progress checkpoints.

        Checkpoints of later steps are removed first. They exist only if this step was
        damaged and trained again, so they do not continue it.

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
            if int(name.split("_")[1]) > step:
                self._remove(name)
        encoded = np.frombuffer(json.dumps(earlier).encode(), np.uint8)
        self._save(_step_name(step), {**arrays, _EARLIER: encoded}, state)
        self._finished = [*earlier, state]
        for name in self._progress_names(step):
            self._remove(name)

    def save_progress(self, step, phase, epoch, arrays, state, num_updates=0):
        """Saves the progress of a phase, and keeps the save before this one.

        Checkpoints of later progress are removed. They are damaged or follow damaged
        ones, because training would have continued from them otherwise.

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
        loaded = self._load(_step_name(step))
        if loaded:
            loaded[0].pop(_EARLIER, None)
        return loaded

    def load_progress(self, step, phase):
        """Returns `(arrays, state)` of the latest valid progress, or None."""
        for name in reversed(self._progress_names(step, phase)):
            loaded = self._load(name)
            if loaded is not None:
                return loaded
        return None

    def finished_states(self):
        """Returns the states of steps 0, 1, ... up to the last undamaged checkpoint.

        Damage to earlier checkpoints does not matter.
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
        """Removes progress of finished steps that an interrupted `save_step` left."""
        if self._finished is None:
            self.finished_states()
        for step in range(len(self._finished)):
            for name in self._progress_names(step):
                self._remove(name)

    def _save(self, name, arrays, state):
        make_folder(self.folder)
        array_files.write(self._path(name), arrays, state)

    def _load(self, name, wanted=None):
        if name not in self._names():
            return None
        try:
            return array_files.read(self._path(name), wanted)
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
        return [name for name in self._names() if name.startswith(prefix)]

    def _remove(self, name):
        array_files.remove(self._path(name))


def _step_name(step):
    return f"step_{step:02d}"


def _is_step(name):
    return name.count("_") == 1


def _numbers(name):
    """Sort key that places step 100 after step 99 and epoch 10000 after epoch 9999."""
    return [int(part) if part.isdigit() else part for part in name.split("_")]
