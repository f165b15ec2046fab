"""Checks of the folders that a request names. Imports no TensorFlow."""

import os
import pathlib

from bsce_keras.data.folder_listing import lies_among_classes
from bsce_keras.runtime.errors import refuse


def folder_problems(asked):
    """Returns a sentence for every folder of a `Request` that cannot be used."""
    run_dir, base = asked.resolved_run_dir, asked.base_run_dir
    found = writable_problems("--run_dir", run_dir)
    found += writable_problems("--cache_dir", asked.cache_dir)
    if asked.dataset == "folder" and asked.data_dir:
        found += [
            f"--{name}={folder} lies among the class folders of --data_dir="
            f"{asked.data_dir} and would be read as images. Name a folder elsewhere."
            for name, folder in (("run_dir", run_dir), ("cache_dir", asked.cache_dir))
            if folder and lies_among_classes(folder, asked.data_dir)
        ]
    if not base or has_base_step(run_dir):
        return found
    if os.path.realpath(base) == os.path.realpath(run_dir):
        found.append(
            f"--base_run_dir={base} is --run_dir itself. Name another run, or omit "
            "--base_run_dir to train the base step here."
        )
    elif not os.path.isfile(os.path.join(base, "config.json")):
        found.append(
            f"--base_run_dir={base} is not a run folder, because it holds no "
            "config.json. Name the --run_dir of a run with a finished base step."
        )
    elif not _has_finished_step(base):
        found.append(
            f"The run in --base_run_dir={base} has not finished its base step yet. "
            "Let it finish, or omit --base_run_dir."
        )
    return found


def has_base_step(run_dir):
    """Returns True if a run folder holds the checkpoint of a finished step 0."""
    return os.path.isfile(os.path.join(run_dir, "checkpoints", "step_00.json"))


def writable_problems(flag, folder):
    """Returns a sentence if a folder cannot be made or written.

    Args:
        flag: flag that names the folder, for the message.
        folder: path of a new or existing folder, or None.
    """
    if not folder:
        return []
    impossible = _impossible(folder)
    if impossible:
        return [f"{flag}={folder} cannot be made: {impossible}. Name another folder."]
    existing = _nearest_existing(folder)
    if not os.path.exists(existing):
        return [
            f"{flag}={folder} cannot be made: {existing} is a symbolic link to a place "
            "that does not exist. Make or mount that place, or name another folder."
        ]
    if not os.path.isdir(existing):
        return [
            f"{flag}={folder} cannot be made: {existing} is a file. Name a new folder, "
            "or that of a run."
        ]
    if not os.access(existing, os.W_OK):
        return [
            f"{flag}={folder} cannot be written: {existing} is read-only, or its "
            "permissions forbid it. Change them, or name another folder."
        ]
    return []


def output_problems(folder):
    """Returns a sentence if the folder that `--output` names cannot be used.

    Args:
        folder: path of a new or existing folder, or None.
    """
    if folder and os.path.isfile(folder):
        return [f"--output must name a folder. Received the file {folder}"]
    return writable_problems("--output", folder)


def made_output(folder):
    """Returns the path of the folder that `--output` names, and makes it.

    Raises:
        RequestError: it cannot be made or written.
    """
    refuse(output_problems(folder))
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _impossible(path):
    """Reason why a path of this name cannot exist, or None."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except OSError as error:
        return error.strerror
    return None


def _nearest_existing(path):
    """Returns the path or the nearest of its parents that is there, also a link."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _has_finished_step(run_dir):
    path = os.path.join(run_dir, "steps.jsonl")
    return os.path.isfile(path) and os.path.getsize(path) > 0
