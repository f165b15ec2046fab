"""Content of versions.json: versions, commit, machine and times of a run.

Imports no TensorFlow.
"""

import datetime
import functools
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
import time

from bsce_keras import __version__
from bsce_keras.runtime.machine import cpu_facts
from bsce_keras.runtime.tensorflow_import import uses_onednn

# Upgrades of these packages may change numbers or the checkpoint format. `onednn` is
# not listed: like another CPU, another setting changes rounding only.
DECISIVE_PACKAGES = ("bsce_keras", "tensorflow", "keras")

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def versions():
    """Versions and machine of this process; None for a package that is not installed.

    `onednn` is true if TensorFlow computes with oneDNN in this process, and None if
    TensorFlow is not loaded.
    """
    return {
        "python": platform.python_version(),
        "bsce_keras": __version__,
        "tensorflow": installed("tensorflow", "tensorflow-cpu"),
        "keras": installed("keras"),
        "numpy": installed("numpy"),
        "tensorflow_datasets": installed("tensorflow-datasets"),
        "platform": platform.platform(),
        "cpu": cpu_facts().get("model name")
        or platform.processor()
        or platform.machine(),
        "onednn": uses_onednn(),
    }


def installed(*distributions):
    """Version of the first of these packages that is installed, or None."""
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def provenance():
    """Commit of the code, and the hardware that decides its speed.

    Returns:
        JSON-able dictionary with `commit`, `cores`, `memory_gb` and `gpus`: the names
        of the GPUs that TensorFlow sees, None if it is not loaded.
    """
    return {
        "commit": commit(),
        "cores": _num_cores(),
        "memory_gb": round(_total_memory() / 2**30, 1),
        "gpus": _gpus(),
    }


def now():
    """Current time in UTC as ISO 8601 text, to the second."""
    return iso_time(time.time())


def iso_time(seconds):
    """Converts seconds since 1970 to ISO 8601 text, to the second."""
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return at.isoformat(timespec="seconds")


@functools.cache
def commit(root=_ROOT):
    """Commit of the checkout that holds this package.

    Returns:
        The hash, followed by `-dirty` if tracked files differ from it. None outside
        of a checkout or without git.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    # The .venv of another repository may hold this package; ignore that commit.
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
