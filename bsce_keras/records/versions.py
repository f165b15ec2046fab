"""Commit, machine and times of a run: what versions.json says beside versions."""

import datetime
import functools
import os
import pathlib
import subprocess
import sys

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def provenance():
    """Facts about this process that decide speed, and the code that it runs.

    Returns:
        JSON-able dictionary: `commit`, `cores`, `memory_gb` and `gpus`, the names of
        the devices that TensorFlow sees, None where it is not loaded.
    """
    return {
        "commit": commit(),
        "cores": _num_cores(),
        "memory_gb": round(_total_memory() / 2**30, 1),
        "gpus": _gpus(),
    }


def now():
    """The time in UTC as ISO 8601 text, to the second."""
    return iso_time(datetime.datetime.now(datetime.UTC).timestamp())


def iso_time(seconds):
    """ISO 8601 text, to the second, of a time in seconds since 1970."""
    time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return time.isoformat(timespec="seconds")


@functools.cache
def commit(root=_ROOT):
    """Commit of the checkout that holds this package.

    Returns:
        The hash, with `-dirty` after it where tracked files differ from it. None
        outside of a checkout, or without git.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    # A package inside the .venv of another repository is not of its commit.
    if top is None or pathlib.Path(top).resolve() != pathlib.Path(root).resolve():
        return None
    head = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{head}-dirty" if head and changed else head


def _git(root, *arguments):
    """Output of a git command; None if it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", root, *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _num_cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _total_memory():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gpus():
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return None
    devices = tensorflow.config.list_physical_devices("GPU")
    details = map(tensorflow.config.experimental.get_device_details, devices)
    return [detail.get("device_name", "GPU") for detail in details]
