"""A run folder belongs to one configuration, and to one process at a time."""

import contextlib
import os
import pathlib
import shutil

from bsce_keras.records import schema
from bsce_keras.records.protocol import (
    DECISIVE_PACKAGES,
    outcome_differences,
    protocol,
    shortened,
    versions,
)
from bsce_keras.records.run_records import read_record
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.file_lock import try_lock
from bsce_keras.runtime.files import make_folder, write_atomically, write_json

_LOCK = ".lock"


def begin_run(run_dir, config, num_replicas, flagfile=""):
    """Writes what was asked and with what it runs, before anything that depends on it.

    Args:
        run_dir: the folder, made if it does not exist.
        config: the `ExperimentConfig`, checked by `check_same_run`.
        num_replicas: that share a global batch.
        flagfile: text of flagfile.flags, the command to ask again; nothing keeps what
            is there.
    """
    folder = pathlib.Path(run_dir)
    make_folder(folder)
    answers = protocol(config, num_replicas)
    write_json(folder / "config.json", {**config.to_json(), "protocol": answers})
    write_json(folder / "versions.json", versions())
    if flagfile or not (folder / "flagfile.flags").exists():
        write_atomically(folder / "flagfile.flags", flagfile)


def check_same_run(run_dir, config):
    """Refuses to go on in a run folder that belongs to another configuration.

    A folder without config.json is free to use, and one with fewer increments may grow.

    Raises:
        RequestError: naming every field that decides the outcome and differs, and
            every decisive package whose major version differs.
    """
    folder = pathlib.Path(run_dir)
    found = read_record(folder / "config.json", schema.CONFIG)
    if found is None:
        if (folder / "checkpoints").is_dir():
            raise RequestError(
                f"{run_dir} holds checkpoints but no config.json, so nobody knows what "
                "they are of. Restore config.json from a copy, or give another "
                "--run_dir."
            )
        return
    num_increments = len(found["stream"]["increments"])
    differences = outcome_differences(
        found, shortened(config.to_json(), num_increments)
    )
    problems = _version_problems(run_dir)
    if differences:
        problems += [
            f"{run_dir} holds a run of another configuration. Give its flags to go on "
            "with it (its flagfile.flags has those that were given, its config.json "
            "every value), or another --run_dir. What differs:",
            *differences,
        ]
    if problems:
        raise RequestError(problems)


@contextlib.contextmanager
def run_lock(run_dir, flag="--run_dir"):
    """Keeps a folder to one process; the kernel releases a dead one's lock.

    A folder made here that holds nothing but the lock in the end is removed again.

    Raises:
        RequestError: if another process holds it, naming that process.
        OSError: the folder cannot be made or its file system has no locks.
    """
    is_new = not os.path.isdir(run_dir)
    with _locked_file(run_dir, flag) as file:
        # Only the message of a process that is refused needs the number.
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        try:
            yield
        finally:
            if is_new and os.listdir(run_dir) == [_LOCK]:
                shutil.rmtree(run_dir)


def _locked_file(run_dir, flag):
    """The lock file of a folder, open and locked."""
    path = os.path.join(run_dir, _LOCK)
    while True:
        make_folder(run_dir)
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(open(path, "a+", encoding="utf-8"))
                if not try_lock(file):
                    file.seek(0)
                    raise RequestError(
                        f"{run_dir} is in use by process {file.read().strip()}. Wait "
                        f"for it, stop it, or give another {flag}."
                    )
                # A lock on a file that its last holder removed would keep nobody out.
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    stack.pop_all()
                    return file
            except FileNotFoundError:
                continue


def _version_problems(run_dir):
    theirs = read_record(pathlib.Path(run_dir) / "versions.json") or {}
    ours = versions()
    changed = [
        f"{name} {theirs[name]} (here {ours[name]})"
        for name in DECISIVE_PACKAGES
        if theirs.get(name) and _major(theirs[name]) != _major(ours[name])
    ]
    if not changed:
        return []
    return [
        f"{run_dir} was made with {', '.join(changed)}. Install that version to go "
        "on, or give another --run_dir."
    ]


def _major(version):
    return str(version).partition(".")[0]
