"""Checkpoints: named arrays and a JSON state, whole or not there.

A checkpoint NAME is `NAME.npz` and, written after it, the manifest `NAME.json` with
the state and the SHA-256 of both. One without a valid manifest does not exist.
`step_02` is a finished step; `step_02_main_epoch_0007` one whose main phase goes on
with epoch 7. The end of a phase stays until the step is finished.
"""

import hashlib
import io
import json
import logging
import os
import pathlib
import re
import zipfile

import numpy as np

from bsce_keras.files import read_json, sha256, write_atomically, write_json

_log = logging.getLogger(__name__)

_NAME = re.compile(r"(step_\d+(?:_[a-z]+_epoch_\d+)?)\.json")

# What reading a damaged file raises.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


class Checkpoints:
    """The `checkpoints/` folder of a run.

    Args:
        run_dir: the run folder.
    """

    def __init__(self, run_dir):
        self.folder = os.path.join(run_dir, "checkpoints")

    def exist(self):
        """Whether anything was saved."""
        return os.path.isdir(self.folder) and bool(os.listdir(self.folder))

    def save_step(self, step, arrays, state):
        """Saves a finished step, then drops what led to it.

        Later steps, left over where this one was damaged and trained again, do not
        descend from it: they go first.
        """
        for name in self._names():
            if int(name.split("_")[1]) > step:
                self._remove(name)
        self._save(f"step_{step:02d}", arrays, state)
        for name in self._progress_names(step):
            self._remove(name)

    def save_progress(self, step, phase, epoch, arrays, state):
        """Saves a phase that is to go on with `epoch`; the one before stays too."""
        self._save(f"step_{step:02d}_{phase}_epoch_{epoch:04d}", arrays, state)
        for name in self._progress_names(step, phase)[:-2]:
            self._remove(name)

    def load_step(self, step):
        """`(arrays, state)` of a finished step, or None."""
        return self._load(f"step_{step:02d}")

    def load_progress(self, step, phase):
        """`(arrays, state)` of the furthest valid progress in a phase, or None."""
        for name in reversed(self._progress_names(step, phase)):
            loaded = self._load(name)
            if loaded is not None:
                return loaded
        return None

    def finished_states(self):
        """States of the finished steps 0, 1, ... up to the first missing one."""
        states = []
        while (loaded := self.load_step(len(states))) is not None:
            states.append(loaded[1])
        return states

    def _save(self, name, arrays, state):
        os.makedirs(self.folder, exist_ok=True)
        path = os.path.join(self.folder, name)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        write_atomically(f"{path}.npz", buffer.getvalue())
        manifest = {
            "sha256": hashlib.sha256(buffer.getbuffer()).hexdigest(),
            "state_sha256": _state_sha256(state),
            "state": state,
        }
        write_json(f"{path}.json", manifest)

    def _load(self, name):
        path = os.path.join(self.folder, name)
        if not os.path.exists(f"{path}.json"):
            return None
        try:
            manifest = read_json(f"{path}.json")
            if sha256(f"{path}.npz") != manifest["sha256"]:
                raise ValueError("its SHA-256 is not the one in the manifest")
            if _state_sha256(manifest["state"]) != manifest["state_sha256"]:
                raise ValueError("the state in the manifest was altered")
            with np.load(f"{path}.npz", allow_pickle=False) as file:
                return dict(file), manifest["state"]
        except _DAMAGE as error:
            _log.warning(
                "Checkpoint %s is damaged (%s). Going back to the one before.",
                path,
                error if not isinstance(error, json.JSONDecodeError) else "not JSON",
            )
            return None

    def _names(self):
        """Names of all checkpoints, in order."""
        if not os.path.isdir(self.folder):
            return []
        files = (_NAME.fullmatch(file) for file in os.listdir(self.folder))
        return sorted(match[1] for match in files if match)

    def _progress_names(self, step, phase=""):
        prefix = f"step_{step:02d}_{phase}"
        return [name for name in self._names() if name.startswith(prefix)]

    def _remove(self, name):
        # The manifest goes first: without it the checkpoint does not exist.
        for ending in (".json", ".npz"):
            pathlib.Path(self.folder, name + ending).unlink(missing_ok=True)


def _state_sha256(state):
    canonical = json.dumps(state, sort_keys=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def pack(prefix, values):
    """A list of arrays as named arrays."""
    return {f"{prefix}/{i:04d}": np.asarray(value) for i, value in enumerate(values)}


def unpack(prefix, arrays):
    """The list that `pack` was given."""
    names = sorted(name for name in arrays if name.startswith(f"{prefix}/"))
    return [arrays[name] for name in names]
