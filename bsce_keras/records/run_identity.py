"""Identity of a run folder: it belongs to one configuration, and refuses others."""

import pathlib

from bsce_keras.records import schema
from bsce_keras.records.protocol import outcome_differences, protocol, shortened
from bsce_keras.records.run_records import read_record
from bsce_keras.records.versions import (
    DECISIVE_PACKAGES,
    now,
    provenance,
    versions,
)
from bsce_keras.runtime.errors import RequestError
from bsce_keras.runtime.files import make_folder, write_atomically, write_json


def begin_run(run_dir, config, num_replicas, flagfile=""):
    """Writes config.json, versions.json and flagfile.flags, before all other files.

    versions.json keeps the time of the first start.

    Args:
        run_dir: the folder, made if it does not exist.
        config: the `ExperimentConfig`, checked by `check_same_run`.
        num_replicas: number of replicas that share a global batch.
        flagfile: text of flagfile.flags, which repeats the command. An empty text
            keeps an existing file.
    """
    folder = pathlib.Path(run_dir)
    make_folder(folder)
    answers = protocol(config, num_replicas)
    write_json(folder / "config.json", {**config.to_json(), "protocol": answers})
    before = read_record(folder / "versions.json") or {}
    times = {"started": before.get("started") or now(), "ended": before.get("ended")}
    write_json(folder / "versions.json", {**versions(), **provenance(), **times})
    if flagfile or not (folder / "flagfile.flags").exists():
        write_atomically(folder / "flagfile.flags", flagfile)


def end_run(run_dir):
    """Writes the time at which the last step was finished.

    Call it before summary.json is written, which marks the run as complete. A run that
    was complete before keeps its time.
    """
    folder = pathlib.Path(run_dir)
    if not (folder / "summary.json").exists():
        record = read_record(folder / "versions.json") or {}
        write_json(folder / "versions.json", {**record, "ended": now()})


def check_same_run(run_dir, config):
    """Refuses a run folder that belongs to another configuration.

    A folder without config.json is free to use. A run with fewer increments may grow.

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
    differences = outcome_differences(
        found, shortened(config.to_json(), num_increments)
    )
    problems = _version_problems(run_dir)
    if differences:
        problems += [
            f"{run_dir} holds a run with another configuration. To continue that run, "
            "use its flags: flagfile.flags holds those that were given, config.json "
            "holds every value. Otherwise use another --run_dir. Differences:",
            *differences,
        ]
    if problems:
        raise RequestError(problems)


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
