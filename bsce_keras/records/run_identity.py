"""Identity of a run folder: it belongs to one configuration, and refuses others."""

import hashlib
import json
import logging
import os
import pathlib
import secrets

from bsce_keras.methods.own_methods import own_source
from bsce_keras.records import schema
from bsce_keras.records.protocol import (
    outcome_differences,
    outcome_fields,
    protocol,
    resolved_as,
    shortened,
)
from bsce_keras.records.run_records import read_record
from bsce_keras.records.versions import DECISIVE_PACKAGES, now, provenance, versions
from bsce_keras.runtime.errors import RequestError, refuse
from bsce_keras.runtime.files import make_folder, write_atomically, write_json

_log = logging.getLogger(__name__)


def begin_run(run_dir, config, num_replicas, flagfile="", next_step=0):
    """Writes config.json, versions.json and flagfile.flags, before all other files.

    config.json names the run by a random `run_id`, drawn when the folder is begun and
    kept. versions.json describes the process that trains, keeps the time of the first
    start, and under `history` has an entry for every change of versions, machine or
    source of the user's own method, with the first step that is trained so. A run that
    is complete keeps the file as it is.

    Args:
        run_dir: the folder, made if it does not exist.
        config: the `ExperimentConfig`, checked by `check_same_run`.
        num_replicas: number of replicas that share a global batch.
        flagfile: text of flagfile.flags, which repeats the command. An empty text
            keeps an existing file.
        next_step: number of the first step that is still to be trained.
    """
    folder = pathlib.Path(run_dir)
    make_folder(folder)
    begun = read_record(folder / "config.json")
    fields = _spelled_as(begun or {}, config.to_json())
    # A folder of a version that drew no id goes on without one.
    run_id = secrets.token_hex(16) if begun is None else begun.get("run_id")
    answers = {"run_id": run_id, "protocol": protocol(config, num_replicas)}
    write_json(folder / "config.json", {**fields, **answers})
    if next_step <= len(config.stream.increments):
        _write_versions(folder, next_step, config.method.name)
    if flagfile or not (folder / "flagfile.flags").exists():
        write_atomically(folder / "flagfile.flags", flagfile)


def _write_versions(folder, next_step, method):
    path = folder / "versions.json"
    before = read_record(path) or {}
    facts = {**versions(), **provenance()}
    history, started = before.get("history", []), before.get("started")
    changes = _changes(before, facts)
    known = before.get("method_sha256")
    # A class without source may be the same one.
    source = own_source(method) or known
    other_source = known not in (None, source)
    if source is not None:
        facts["method_sha256"] = source
    if other_source:
        _log.warning(
            "%s goes on from step %d with another source of --method=%s than before. "
            "If the change decides what is learned, train in another --run_dir.",
            folder,
            next_step,
            method,
        )
    if changes:
        _log.warning(
            "%s goes on from step %d with other versions or another machine, so that "
            "results may differ by rounding: %s.",
            folder,
            next_step,
            "; ".join(changes),
        )
    if changes or other_source or not history:
        time = now()
        started = started or time
        history = [*history, {"from_step": next_step, "started": time, **facts}]
    times = {"started": started, "ended": before.get("ended")}
    write_json(path, {**facts, **times, "history": history})


def _changes(before, facts):
    """Texts that say which facts of versions.json changed."""
    return [
        f"{name} was {before[name]}, now {value}"
        for name, value in facts.items()
        # The memory varies by a little between starts of one machine.
        if name in before and before[name] != value and name != "memory_gb"
    ]


def end_run(run_dir):
    """Writes the time at which the last step was finished.

    Call it before summary.json is written, which marks the run as complete. A run that
    was complete before keeps its time.
    """
    folder = pathlib.Path(run_dir)
    if not (folder / "summary.json").exists():
        record = read_record(folder / "versions.json") or {}
        write_json(folder / "versions.json", {**record, "ended": now()})


def checkpoint_origin(run_dir, step):
    """Origin of the checkpoints that belong to one step of a run.

    Args:
        run_dir: the run folder.
        step: number of the step.

    Returns:
        A JSON-able dictionary: the `run_id` of config.json, and the SHA-256 of all
        fields that decide the outcome of the steps up to this one. It stays the same
        when the run grows. None for a folder whose config.json has no `run_id`.

    Raises:
        RequestError: config.json is damaged.
    """
    found = read_record(pathlib.Path(run_dir) / "config.json")
    if found is None or found.get("run_id") is None:
        return None
    fields = json.dumps(outcome_fields(shortened(found, step)), sort_keys=True)
    digest = hashlib.sha256(fields.encode()).hexdigest()
    return {"run_id": found["run_id"], "config_sha256": digest}


def check_same_run(run_dir, config):
    """Refuses a run folder that belongs to another configuration.

    A folder without config.json is free to use. A run with fewer increments may grow.
    Needs no TensorFlow: a field that is still `auto` is left to a later check.

    Raises:
        RequestError: the configuration or a major version differs. The message names
            every differing field that decides the outcome, and every differing
            version of `DECISIVE_PACKAGES`.
    """
    folder = pathlib.Path(run_dir)
    found = read_record(folder / "config.json", schema.CONFIG)
    if found is None:
        if (folder / "checkpoints").is_dir():
            raise RequestError(
                f"{run_dir} holds checkpoints but no config.json, so their "
                "configuration is unknown. Restore config.json from a copy, or use "
                "another --run_dir."
            )
        return
    num_increments = len(found["stream"]["increments"])
    ours = resolved_as(_spelled_as(found, config.to_json()), found)
    ours = shortened(ours, num_increments)
    differences = outcome_differences(found, ours)
    problems = _version_problems(run_dir)
    if differences:
        problems += [
            f"{run_dir} holds a run with another configuration. To continue that run, "
            "use its flags: flagfile.flags holds those that were given, config.json "
            "holds every value. Otherwise use another --run_dir. Differences:",
            *differences,
        ]
    refuse(problems)


def _spelled_as(found, config):
    """Returns a config whose `base_run_dir` is spelled as a run has it.

    The digest of a checkpoint depends on the text. Two paths of one folder differ in
    their text only.
    """
    ours, theirs = config["base_run_dir"], found.get("base_run_dir")
    if ours and theirs and os.path.realpath(ours) == os.path.realpath(theirs):
        return {**config, "base_run_dir": theirs}
    return config


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
        f"{run_dir} was made with {', '.join(changed)}. Install that version to "
        "continue the run, or use another --run_dir."
    ]


def _major(version):
    return str(version).partition(".")[0]
