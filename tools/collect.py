"""Collects records of runs in `results/`, without weights and paths.

`python -m tools.collect RUN...` writes `results/NAME` for each run folder, finished or
not. A record is itself a run folder of at most 100 kB, which `bsce_keras.report
results/NAME` reads. It holds config.json, versions.json, flagfile.flags, steps.jsonl,
summary.json, per_class_accuracy.npy and confusion.npy. record.json describes how the
run was made. Paths of the machine are left out. The same command updates the record of
a run that has continued.

`--with_network` keeps the checkpoint of step 0 too, so that `--base_run_dir` takes the
record. Its run keeps no exemplars, which makes it at most 2 MB.
"""

import argparse
import io
import json
import os
import pathlib
import sys

import numpy as np

from bsce_keras.config import MemoryConfig
from bsce_keras.config.backbones import BACKBONES
from bsce_keras.evaluation.confusion import smallest_type
from bsce_keras.records.protocol import outcome_differences, shortened
from bsce_keras.records.run_facts import recorded_flags, train_command
from bsce_keras.records.run_records import read_record, read_run
from bsce_keras.records.versions import iso_time
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.files import make_folder, write_atomically

LARGEST = 100_000  # bytes a record
LARGEST_NETWORK = 2_000_000  # bytes of a checkpoint and data.json
RESULTS = "results"

# Fields of steps.jsonl that grow with the number of epochs.
_BY_EPOCH = ("alpha_by_epoch", "loss_by_epoch")
# Flags with paths of the machine, and the placeholders that replace the paths.
_PATH_FLAGS = {
    "--data_dir": "DIR",
    "--cache_dir": "CACHE_DIR",
    "--run_dir": "RUN_DIR",
    "--base_run_dir": "BASE_RUN_DIR",
}


def main(argv=None):
    """Runs the command.

    Args:
        argv: arguments without the name of the program; those of the process by
            default.

    Returns:
        Exit code: 0, or 2 if a run cannot be collected. The other runs are collected.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tools.collect", description=__doc__.splitlines()[0]
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--results", default=RESULTS, help="folder of all records")
    parser.add_argument(
        "--name", help="name of the record, for one run; by default its settings"
    )
    parser.add_argument(
        "--commit", help="commit of runs whose versions.json does not name it"
    )
    parser.add_argument(
        "--with_network", action="store_true", help="keep the network of step 0 too"
    )
    asked = parser.parse_args(argv)
    if asked.name and len(asked.runs) > 1:
        parser.error("--name needs exactly one RUN. Give one RUN, or omit --name.")
    code = 0
    for run_dir in asked.runs:
        try:
            folder = collect(
                run_dir, asked.results, asked.name, asked.commit, asked.with_network
            )
        except RequestError as error:
            print(error, file=sys.stderr)
            code = 2
            continue
        record = read_record(folder / "record.json")
        print(f"wrote {folder}: {record['steps']}")
    return code


def collect(run_dir, results_dir=RESULTS, name=None, commit=None, with_network=False):
    """Writes the record of a run.

    Args:
        run_dir: run folder, finished or not.
        results_dir: folder of all records, made if it does not exist.
        name: name of the record; by default `record_name`.
        commit: commit of the run, used if the run does not name its own.
        with_network: True to keep what `--base_run_dir` reads of step 0.

    Returns:
        `pathlib.Path` of the record's folder.

    Raises:
        RequestError: `run_dir` is damaged or not a run folder, the record is too
            large, or another experiment has its name.
    """
    run = read_run(run_dir)
    config = _without_paths(run.config)
    folder = pathlib.Path(results_dir, name or record_name(run.config))
    config["run_dir"] = folder.name
    _refuse_other_experiment(folder, config)
    files = _fitting_files(run, config, commit)
    if with_network:
        files |= _network(run_dir)
    make_folder(folder)
    for old in folder.rglob("*"):
        if old.is_file() and str(old.relative_to(folder)) not in files:
            old.unlink()
    for file_name, data in files.items():
        make_folder((folder / file_name).parent)
        write_atomically(folder / file_name, data)
    return folder


def record_name(config):
    """Returns a name that distinguishes the runs of the paper's tables.

    Args:
        config: config.json.
    """
    stream, method, training = config["stream"], config["method"], config["training"]
    dataset = stream["dataset"].replace(":", "-").replace("/", "-")
    parts = [
        f"{dataset}_{len(stream['increments'])}steps",
        method["name"],
        method["classification_loss"],
    ]
    if method["classification_loss"] == "balanced_softmax" and method["alpha"] != 1:
        parts.append(f"alpha{method['alpha']:g}")
    if training["replay_sampling"] != "uniform":
        parts.append(training["replay_sampling"])
    if training.get("finetuning"):
        parts.append("finetuned")
    exemplars = config["memory"].get("exemplars_per_class")
    if exemplars not in (None, MemoryConfig.exemplars_per_class):
        parts.append(f"{exemplars}exemplars")
    if config["model"]["backbone"] not in BACKBONES:
        parts.append("pretrained")
    if training["schedule_scale"] != 1:
        parts.append(f"scale{training['schedule_scale']:g}")
    return "_".join([*parts, f"seed{training['seed']}"])


def _without_paths(config):
    """Returns config.json without paths of the machine that wrote it."""
    base = config.get("base_run_dir")
    return _placeless(config) | {
        "stream": _placeless(config["stream"]) | {"data_dir": None, "cache_dir": None},
        "base_run_dir": base and os.path.basename(os.path.normpath(base)),
    }


def _placeless(value):
    """Replaces every absolute path in a JSON value by its last part."""
    if isinstance(value, dict):
        return {name: _placeless(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_placeless(part) for part in value]
    if isinstance(value, str) and os.path.isabs(value):
        return os.path.basename(value)
    return value


def _refuse_other_experiment(folder, config):
    there = read_record(folder / "config.json")
    if there is None:
        return
    # A run may grow, and its base step may move.
    begun = shortened(config, len(there["stream"]["increments"]))
    differences = [
        line for line in outcome_differences(there, begun) if "base_run_dir" not in line
    ]
    if differences:
        raise RequestError(
            [
                f"{folder} is the record of another experiment. Use another --name for "
                "this run. Differences:",
                *differences,
            ]
        )


def _fitting_files(run, config, commit):
    """Returns the files of a record by name, as bytes, thinned out until they fit."""
    longest = max((_num_epochs(step) for step in run.steps), default=0)
    for every in range(1, max(longest, 1) + 1):
        files = _files(run, config, commit, every)
        size = sum(map(len, files.values()))
        if size <= LARGEST:
            return files
    sizes = ", ".join(f"{name} {len(data)}" for name, data in files.items())
    raise RequestError(
        f"The record of {run.run_dir} would have {size} bytes, more than {LARGEST}: "
        f"{sizes}."
    )


def _network(run_dir):
    """Returns the files of step 0 by name, as bytes."""
    names = ("data.json", "checkpoints/step_00.json", "checkpoints/step_00.npz")
    try:
        files = {name: pathlib.Path(run_dir, name).read_bytes() for name in names}
    except OSError as error:
        raise RequestError(
            f"{run_dir} has no network of step 0 to keep: {error}."
        ) from error
    size = sum(map(len, files.values()))
    if size > LARGEST_NETWORK:
        raise RequestError(
            f"Step 0 of {run_dir} has {size} bytes, more than {LARGEST_NETWORK}. Train "
            "it with --exemplars_per_class=0, or take it by --base_run_dir."
        )
    return files


def _files(run, config, commit, every):
    steps = [_thinned(step, every) for step in run.steps]
    folder = pathlib.Path(run.run_dir)
    versions = read_record(folder / "versions.json") or {}
    record = {**_record(run, folder, versions, commit), "alpha_epochs_kept": every}
    texts = {
        "config.json": _json(config),
        "versions.json": _json(versions),
        "record.json": _json(record),
        "flagfile.flags": "".join(f"{flag}\n" for flag in _flags(folder)),
        "steps.jsonl": "".join(
            json.dumps(step, separators=(",", ":")) + "\n" for step in steps
        ),
    }
    if run.summary:
        texts["summary.json"] = _json(_placeless(run.summary))
    files = {name: text.encode() for name, text in texts.items()}
    if run.per_class_accuracy is not None:
        files["per_class_accuracy.npy"] = _npy(run.per_class_accuracy)
    if run.confusion is not None:
        files["confusion.npy"] = _npy(smallest_type(run.confusion))
    return files


def _record(run, folder, versions, commit):
    """Returns the origin of a run, and marks values that the run does not name."""
    own_times = "started" in versions
    started, ended = versions.get("started"), versions.get("ended")
    if not own_times:
        started = iso_time(min(path.stat().st_mtime for path in _own_files(folder)))
        summary = folder / "summary.json"
        ended = iso_time(summary.stat().st_mtime) if run.summary else None
    num_steps = 1 + len(run.config["stream"]["increments"])
    flags = _flags(folder)
    return {
        "steps": f"{len(run.steps)} of {num_steps} steps",
        "complete": run.summary is not None,
        "command": train_command(flags),
        "commit": versions.get("commit") or commit,
        "commit_from": "the run" if versions.get("commit") else "tools.collect",
        "hardware": {
            name: versions.get(name) for name in ("cpu", "cores", "memory_gb", "gpus")
        },
        "started": started,
        "ended": ended,
        "times_from": "the run" if own_times else "times of its files",
    }


def _own_files(folder):
    return [path for path in folder.iterdir() if path.is_file()]


def _flags(folder):
    """Returns the flags of a run, without paths of the machine."""
    return [_anonymous(flag) for flag in recorded_flags(folder)]


def _anonymous(flag):
    name, _, value = flag.partition("=")
    if name in _PATH_FLAGS:
        return f"{name}={_PATH_FLAGS[name]}"
    return f"{name}={_placeless(value)}" if value else flag


def _num_epochs(step):
    tables = [step.get(name) or {} for name in _BY_EPOCH]
    return max((len(values) for one in tables for values in one.values()), default=0)


def _thinned(step, every):
    """Keeps every n-th epoch of `_BY_EPOCH`, counted back from the last one."""
    thinned = dict(step)
    for field in _BY_EPOCH:
        if step.get(field):
            columns = step[field].items()
            thinned[field] = {n: vs[::-1][::every][::-1] for n, vs in columns}
    return thinned


def _json(value):
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
