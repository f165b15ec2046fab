"""`python -m bsce_keras.reproduce FLAGFILE...`: trains flagfiles with several seeds."""

import contextlib
import dataclasses
import os
import sys

from bsce_keras.options.command_line import passed_on
from bsce_keras.options.flagfile_recipes import flagfiles_of
from bsce_keras.options.folders import has_base_step
from bsce_keras.options.matrix import Matrix, cell_folders, make_cells, matrix_problems
from bsce_keras.options.run_command import run_command
from bsce_keras.options.values import seeds_of
from bsce_keras.records.run_records import RunResult, read_run
from bsce_keras.reports.matrix_results import write_results
from bsce_keras.reports.paper_results import published_scores
from bsce_keras.reports.tables import text_table
from bsce_keras.reports.time_left import seconds_left
from bsce_keras.runtime.errors import Problems, RequestError, RunError
from bsce_keras.runtime.tensorflow_import import import_keras
from bsce_keras.runtime.text import duration


def main(argv=None):
    """Runs the command; see `run_command` for arguments and exit codes."""
    return run_command("reproduce", _reproduce, argv, check=_problems)


def _reproduce(values, flagfiles):
    matrix, problems = _matrix(values, flagfiles)
    if problems:
        raise RequestError(problems + matrix_problems(matrix))
    cells = make_cells(matrix)
    failures = {}
    _train(cells, matrix.runs_dir, failures)
    results = _record(cells, matrix.runs_dir, failures)
    print(f"\n{text_table(results, published_scores)}\n")
    for name in ("results.md", "results.json"):
        print(f"wrote {os.path.join(matrix.runs_dir, name)}")
    if not failures:
        return 0
    raise RunError(
        f"{len(failures)} of {len(cells)} cells failed and are missing in the table: "
        f"{', '.join(failures)}. Correct what their messages name and repeat the "
        "command. Finished work is kept."
    )


def _problems(values, flagfiles):
    """Returns every problem of the command's own flags and of all cells."""
    matrix, problems = _matrix(values, flagfiles)
    return problems + matrix_problems(matrix)


def _matrix(values, flagfiles):
    """Returns the `Matrix` of all valid arguments, and the problems of the others."""
    seeds, found = seeds_of(values.seeds)
    problems, named = Problems(found), []
    for text in flagfiles:
        named += problems.attempt(flagfiles_of, text) or []
    # A repeated flagfile is one experiment.
    unique = {os.path.realpath(flagfile): flagfile for flagfile in reversed(named)}
    matrix = Matrix(
        flagfiles=tuple(reversed(unique.values())),
        seeds=seeds or (1,),
        runs_dir=values.runs_dir,
        arguments=tuple(
            values[name].serialize() for name in passed_on("reproduce", values)
        ),
        share_base_steps=values.share_base_steps,
    )
    return matrix, problems


def _train(cells, runs_dir, failures):
    """Trains unfinished cells, notes failures and continues with the next cell."""
    if all(cell.is_finished for cell in cells):
        told = "the cell is" if len(cells) == 1 else f"all {len(cells)} cells are"
        print(f"{told} finished; to train anew, use another --runs_dir than {runs_dir}")
        return
    import_keras()
    import keras

    from bsce_keras.experiment import run_experiment

    for number, cell in enumerate(cells, 1):
        if cell.is_finished:
            continue
        where = f"cell {number} of {len(cells)}: {cell.name}"
        print(f"\n{where}; {_progress(cells)}", flush=True)
        try:
            _check_base_step(cell)
            run_experiment(cell.config, flagfile=cell.flags)
        except (RequestError, RunError) as error:
            # Cells take their folders from --runs_dir and refuse --run_dir.
            reason = str(error).replace("another --run_dir", "another --runs_dir")
            failures[cell.config.run_dir] = reason
            message = f"bsce_keras.reproduce: {cell.name} failed: {reason}"
            print(message, file=sys.stderr)
        finally:
            # Without this, Keras keeps every model of every cell.
            keras.backend.clear_session()
        _record(cells, runs_dir, failures)


def _progress(cells):
    finished = sum(cell.is_finished for cell in cells)
    left = seconds_left([cell.config for cell in cells])
    time = "time left unknown" if left is None else f"about {duration(left)} left"
    return f"finished {finished}; {time}"


def _check_base_step(cell):
    base = cell.config.base_run_dir
    if base and not (has_base_step(base) or has_base_step(cell.config.run_dir)):
        raise RunError(
            f"its base step is that of {base}, which did not finish it. Correct that "
            "cell first, or use --noshare_base_steps"
        )


def _record(cells, runs_dir, failures):
    """Writes the results so far and returns a `RunResult` for each cell.

    Runs of earlier commands in the same folder are written too, after the cells.
    Failures of cells that another process has finished meanwhile are removed.
    """
    for cell in cells:
        if cell.config.run_dir in failures and cell.is_finished:
            del failures[cell.config.run_dir]
    results = [_result(cell.config) for cell in cells]
    os.makedirs(runs_dir, exist_ok=True)
    ours = {os.path.realpath(cell.config.run_dir) for cell in cells}
    # A folder with a damaged record is named when its own cell is trained.
    earlier = [
        Problems().attempt(read_run, folder)
        for folder in cell_folders(runs_dir)
        if os.path.realpath(folder) not in ours
    ]
    write_results(runs_dir, results + [run for run in earlier if run], failures)
    return results


def _result(config):
    """Returns the `RunResult` of a run folder, or an empty one without a folder."""
    with contextlib.suppress(RequestError):
        # Training the cell writes a damaged record anew.
        return read_run(config.run_dir)
    from bsce_keras.runtime.devices import resolved

    # Resolve it as a run does, so that it shares a row with the finished seeds.
    config = dataclasses.replace(config, training=resolved(config.training))
    return RunResult(config.run_dir, config.to_json(), [], None, None, None)


if __name__ == "__main__":
    sys.exit(main())
