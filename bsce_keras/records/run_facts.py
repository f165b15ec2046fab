"""Command, versions, machine and times of a run, read back from its folder."""

import pathlib
import shlex

from bsce_keras.records.run_records import read_record
from bsce_keras.runtime.text import counted, duration

_PACKAGES = ("bsce_keras", "tensorflow", "keras", "numpy", "python")


def recorded_flags(run_dir):
    """Returns the flags of flagfile.flags, one string each; empty without a file."""
    path = pathlib.Path(run_dir, "flagfile.flags")
    if not path.is_file():
        return []
    lines = path.read_text("utf-8", errors="surrogateescape").splitlines()
    return [line.strip() for line in lines if line.startswith("--")]


def train_command(flags):
    """Returns the command line that repeats a run; None without flags."""
    if not flags:
        return None
    return shlex.join(["python", "-m", "bsce_keras.train", *flags])


def run_facts(result):
    """Returns the facts that repeat a run, by title; unknown ones are left out.

    Args:
        result: the `RunResult`.

    Returns:
        Dictionary of texts.

    Raises:
        RequestError: versions.json is damaged.
    """
    known = read_record(pathlib.Path(result.run_dir, "versions.json")) or {}
    names = [name for name in _PACKAGES if known.get(name)]
    facts = {
        "command": train_command(recorded_flags(result.run_dir)),
        "seed": result.config["training"]["seed"],
        "training time": _training_time(result),
        "started": known.get("started"),
        "ended": known.get("ended"),
        "versions": ", ".join(f"{name} {known[name]}" for name in names),
        "commit": known.get("commit"),
        "machine": _machine(known),
    }
    return {title: str(fact) for title, fact in facts.items() if fact not in (None, "")}


def _training_time(result):
    seconds = [step.get("train_seconds") or 0 for step in result.steps]
    if not sum(seconds):
        return None
    told = duration(sum(seconds))
    if result.config.get("base_run_dir"):
        told += f", of which {duration(seconds[0])} in the base step that runs share"
    return told


def _machine(known):
    gpus = known.get("gpus")
    parts = [
        known.get("cpu"),
        known.get("cores") and counted(known["cores"], "core"),
        known.get("memory_gb") and f"{known['memory_gb']} GiB",
        *(gpus if isinstance(gpus, list) else []),
        known.get("platform"),
    ]
    return ", ".join(str(part) for part in parts if part)
