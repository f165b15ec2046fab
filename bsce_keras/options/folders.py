"""Checks of the folders that a request names. Imports no TensorFlow."""

import os


def folder_problems(asked):
    """What is wrong with the folders that a `Request` names for writing."""
    run_dir, base = asked.resolved_run_dir, asked.base_run_dir
    found = writable_problems("--run_dir", run_dir)
    if asked.cache_dir:
        found += writable_problems("--cache_dir", asked.cache_dir)
    found += _class_folder_problems(asked)
    if not base or has_base_step(run_dir):
        return found
    if os.path.realpath(base) == os.path.realpath(run_dir):
        found.append(
            f"--base_run_dir={base} is --run_dir itself. Name another run, or leave "
            "--base_run_dir out to train the base step here."
        )
    elif not os.path.isfile(os.path.join(base, "config.json")):
        found.append(
            f"--base_run_dir={base} is no run folder: it holds no config.json. Name "
            "the --run_dir of a run with a finished base step."
        )
    elif not _has_finished_step(base):
        found.append(
            f"The run in --base_run_dir={base} has not finished its base step yet. "
            "Let it finish, or leave --base_run_dir out."
        )
    return found


def _class_folder_problems(asked):
    """Problems of folders that would become classes of a folder data set."""
    if asked.dataset != "folder" or not asked.data_dir:
        return []
    data_dir = os.path.expanduser(asked.data_dir)
    splits = [os.path.join(data_dir, name) for name in ("train", "test", "val")]
    named = {"run_dir": asked.resolved_run_dir, "cache_dir": asked.cache_dir}
    return [
        f"--{name}={folder} lies in {split}, where every folder is a class. Name a "
        "folder elsewhere."
        for name, folder in named.items()
        for split in splits
        if folder and _lies_in(folder, split)
    ]


def _lies_in(folder, above):
    folder, above = os.path.realpath(folder), os.path.realpath(above)
    return os.path.commonpath([folder, above]) == above


def has_base_step(run_dir):
    """Whether a run folder holds the checkpoint of a finished step 0."""
    return os.path.isfile(os.path.join(run_dir, "checkpoints", "step_00.json"))


def writable_problems(flag, folder):
    """Why a folder, new or not, cannot be written into."""
    impossible = _impossible(folder)
    if impossible:
        return [f"{flag}={folder} cannot be made: {impossible}. Name another folder."]
    existing = _nearest_existing(folder)
    if not os.path.isdir(existing):
        return [
            f"{flag}={folder} cannot be made: {existing} is a file. Name a folder, new "
            "or of a run."
        ]
    if not os.access(existing, os.W_OK):
        return [
            f"{flag}={folder} cannot be written: {existing} is read-only, or its "
            "permissions forbid it. Mend that or name another folder."
        ]
    return []


def _impossible(path):
    """Why there cannot be a path of this name, or None."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except OSError as error:
        return error.strerror
    return None


def _nearest_existing(path):
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _has_finished_step(run_dir):
    path = os.path.join(run_dir, "steps.jsonl")
    return os.path.isfile(path) and os.path.getsize(path) > 0
