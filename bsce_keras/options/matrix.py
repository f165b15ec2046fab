"""Matrix of experiments: flagfiles x seeds, with a run folder for every cell.

All cells are checked before training starts. The cells that share a base step are
chosen then as well. Imports no TensorFlow.
"""

import dataclasses
import itertools
import os
import pathlib

from bsce_keras.config import ExperimentConfig
from bsce_keras.methods.recipes import published
from bsce_keras.options.command_line import (
    flagfile_text,
    is_whole,
    parse,
    set_values,
    train_request,
)
from bsce_keras.options.folders import has_base_step, writable_problems
from bsce_keras.options.make_config import make_config, request_problems
from bsce_keras.options.train_options import OPTIONS
from bsce_keras.records.base_step import base_step_key, network_key, serves
from bsce_keras.records.run_identity import check_same_run
from bsce_keras.records.run_records import read_record
from bsce_keras.runtime.cluster import one_process_only
from bsce_keras.runtime.errors import Problems, RequestError, refuse
from bsce_keras.runtime.text import listed


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Flagfiles and seeds of a matrix, and options of all its cells.

    Args:
        flagfiles: paths of the flagfiles.
        seeds: seeds of every flagfile.
        runs_dir: folder of all run folders.
        arguments: flags of `train` for every cell, which override its flagfile.
        share_base_steps: train equal base steps only once.
    """

    flagfiles: tuple[str, ...]
    seeds: tuple[int, ...]
    runs_dir: str
    arguments: tuple[str, ...] = ()
    share_base_steps: bool = True


@dataclasses.dataclass(frozen=True)
class Cell:
    """One experiment of a matrix.

    Args:
        flagfile: path of its flagfile.
        config: its `ExperimentConfig`.
        flags: text of a flagfile that repeats only this cell.
    """

    flagfile: str
    config: ExperimentConfig
    flags: str

    @property
    def name(self):
        """Name of the cell in messages."""
        return f"{self.flagfile}, seed {self.config.training.seed}"

    @property
    def is_finished(self):
        """True if the summary exists, which a run writes last, and all steps do."""
        folder = pathlib.Path(self.config.run_dir)
        steps = folder / "steps.jsonl"
        if not ((folder / "summary.json").is_file() and steps.is_file()):
            return False
        # A run that is to grow has the summary of its earlier end.
        num_finished = steps.read_bytes().count(b"\n")
        return num_finished == 1 + len(self.config.stream.increments)


def make_cells(matrix):
    """Returns the complete, checked cells of a matrix in the order of training.

    The folder of a cell is `RUNS_DIR/scale_SCALE/FOLDER/STEM/seed_N` for the flagfile
    `FOLDER/STEM.flags`. The first of several cells with the same base step trains it,
    and the others name it as their `base_run_dir`. So do cells that train the same
    network by another method. A cell that was begun keeps its `base_run_dir`, so a
    matrix may grow.

    Args:
        matrix: `Matrix`.

    Returns:
        List of `Cell`s.

    Raises:
        RequestError: with every problem of every cell.
    """
    refuse(matrix_problems(matrix))
    cells, records, problems = [], [], Problems()
    for flagfile, values, _ in _drafts(matrix):
        # May fetch a data set, because all cells are correct.
        config = make_config(**train_request(values))
        cells.append(Cell(flagfile, config, flagfile_text(values)))
        records.append(problems.attempt(_own_record, config))
    if problems:
        raise RequestError(
            [
                *problems,
                "To train these cells anew, use another --runs_dir than "
                f"{matrix.runs_dir}, or flagfiles of other names.",
            ]
        )
    return _with_base_runs(cells, records, matrix.share_base_steps)


def cell_folders(runs_dir):
    """Returns the folders of all cells that were begun in a folder of runs, sorted."""
    found = pathlib.Path(runs_dir).glob("scale_*/*/*/seed_*/config.json")
    return sorted(str(path.parent) for path in found)


def matrix_problems(matrix):
    """Returns every problem of the requests of a matrix, as sentences.

    Fetches nothing.

    Args:
        matrix: `Matrix`.
    """
    found = writable_problems("--runs_dir", matrix.runs_dir)
    owners, flagfiles_with = {}, {}
    for flagfile, values, problems in _drafts(matrix):
        folder = os.path.dirname(values.run_dir)
        owner = owners.setdefault(folder, flagfile)
        if owner != flagfile:
            problems.append(
                f"{owner} has the same folder {folder}. Rename one of the flagfiles."
            )
        if is_whole(values):
            refused, request = one_process_only("reproduce", train_request(values))
            problems += refused + request_problems(**request)
        for problem in problems:
            if not (found and problem.startswith("--run_dir=")):
                flagfiles_with.setdefault(problem, {})[flagfile] = None
    # A mistake that several cells share is one problem.
    return found + [
        f"{listed(flagfiles, most=3)}: {problem}"
        for problem, flagfiles in flagfiles_with.items()
    ]


def _drafts(matrix):
    """Yields the flagfile, the flag values and their problems of each cell."""
    # Seed by seed, so that a long matrix fills a whole table early.
    for seed, flagfile in itertools.product(matrix.seeds, matrix.flagfiles):
        command_line = [f"--flagfile={flagfile}", *matrix.arguments]
        values, _, problems = parse("train", command_line)
        given = set_values(values)
        problems += [
            f"--{name} follows from --seeds and --runs_dir of the matrix. Remove it "
            "from the flagfile."
            for name, option in OPTIONS.items()
            if name in given and "reproduce" in option.set_by
        ]
        folder, stem = os.path.split(os.path.splitext(os.path.abspath(flagfile))[0])
        run_dir = os.path.join(
            matrix.runs_dir,
            f"scale_{values.schedule_scale}",
            os.path.basename(folder),
            stem,
            f"seed_{seed}",
        )
        own = [f"--seed={seed}", f"--run_dir={run_dir}"]
        values, *_ = parse("train", [*command_line, *own])
        yield flagfile, values, problems


def _own_record(config):
    """Returns config.json of a cell's folder, or None before the cell is begun.

    Raises:
        RequestError: the folder belongs to another configuration.
    """
    record = read_record(pathlib.Path(config.run_dir, "config.json"))
    base = (record or {}).get("base_run_dir")
    check_same_run(config.run_dir, dataclasses.replace(config, base_run_dir=base))
    return record


def _with_base_runs(cells, records, share):
    """Returns the cells with their `base_run_dir`, each after the cell it names."""
    trainers, networks = _trainers(cells, records) if share else ({}, {})
    ready, by_folder = [], {}
    for cell, record in zip(cells, records, strict=True):
        run_dir = cell.config.run_dir
        base = _network_for(cell.config, networks)
        base = base or trainers.get(base_step_key(cell.config), run_dir)
        base = None if base == run_dir else base
        if record:
            base = record.get("base_run_dir")
        flags = cell.flags + (f"--base_run_dir={base}\n" if base else "")
        config = dataclasses.replace(cell.config, base_run_dir=base)
        by_folder[run_dir] = dataclasses.replace(cell, config=config, flags=flags)
    for cell in by_folder.values():
        base = by_folder.get(cell.config.base_run_dir)
        ready += [one for one in (base, cell) if one and one not in ready]
    return ready


def _trainers(cells, records):
    """Returns the run folders that train each base step.

    Returns:
        `(trainers, networks)`: run folders by `base_step_key`, and lists of
        configurations by `network_key`.
    """
    trainers, networks = {}, {}
    for suits in (
        lambda cell, record: has_base_step(cell.config.run_dir),
        lambda cell, record: record and not record.get("base_run_dir"),
        lambda cell, record: True,
    ):
        for cell, record in zip(cells, records, strict=True):
            if suits(cell, record):
                config, run_dir = cell.config, cell.config.run_dir
                trainers.setdefault(base_step_key(config), run_dir)
                networks.setdefault(network_key(config), []).append(config)
    networks.pop(None, None)
    return trainers, networks


def _network_for(config, networks):
    """Returns the run folder whose network of step 0 a configuration takes, or None.

    A run that keeps the trained head comes first, because it serves every method.
    """
    found = [
        other
        for other in networks.get(network_key(config), ())
        if serves(other.method.name, config.method.name)
    ]
    found.sort(key=lambda other: published(other.method.name).solves_base_head)
    return found[0].run_dir if found else None
