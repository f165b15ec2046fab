"""`python -m bsce_keras.report RUN_DIR...`: tables and figures from run folders."""

import os
import pathlib
import sys
import time

from bsce_keras.options.folders import made_output, output_problems
from bsce_keras.options.run_command import run_command
from bsce_keras.records.run_records import read_run
from bsce_keras.reports import page, tables
from bsce_keras.runtime.errors import Problems, RequestError, refuse
from bsce_keras.runtime.files import write_atomically
from bsce_keras.runtime.text import duration, printable

_TABLES = {
    "text": tables.text_table,
    "markdown": tables.markdown_table,
    "csv": tables.csv_table,
    "latex": tables.latex_table,
}
# Formats for people, to which further tables of text are added.
_READABLE = ("text", "markdown")


def main(argv=None):
    """Runs the command; see `run_command` for arguments and exit codes."""
    return run_command("report", _report, argv, check=_problems)


def write_report(results, folder):
    """Writes the tables, the comparison figures, each run's confusion matrix, one page.

    Args:
        results: `RunResult`s.
        folder: made if it does not exist.

    Returns:
        The paths written; the last is report.html, which holds all of them.

    Raises:
        RequestError: if `folder` is a file.
    """
    # Matplotlib takes a second to load, so it is not loaded before it is needed.
    from bsce_keras.reports import figures, run_figures

    folder = made_output(folder)
    written = [folder / "table.md", folder / "table.csv"]
    write_atomically(written[0], tables.markdown_table(results))
    write_atomically(written[1], tables.csv_table(results))
    begun = [result for result in results if result.steps]
    shared, own = {}, {id(result): {} for result in results}
    if len(begun) > 1:
        shared[page.ACCURACY] = folder / "accuracy.png"
        shared[page.GROUPS] = folder / "accuracy_groups.png"
        figures.accuracy_over_steps(begun, shared[page.ACCURACY])
        figures.accuracy_of_groups(begun, shared[page.GROUPS])
        if any(map(figures.learns_alpha, begun)):
            shared[page.ALPHA] = folder / "alpha.png"
            figures.alpha_figure(begun, shared[page.ALPHA])
    begin = time.perf_counter()
    for number, (name, result) in enumerate(_names(begun).items(), start=1):
        own[id(result)] = run_figures.draw_run(
            result, lambda figure, name=name: folder / f"{figure}-{name}.png", name
        )
        if len(begun) > 1:
            passed = time.perf_counter() - begin
            left = duration(passed / number * (len(begun) - number))
            line = f"figures of {number} of {len(begun)} runs, {left} left"
            print(line, file=sys.stderr)
    pictures_of_runs = list(own.values())
    text = page.html_page(
        "Class-incremental learning", results, shared, pictures_of_runs
    )
    write_atomically(folder / "report.html", text)
    for pictures in (shared, *pictures_of_runs):
        written += pictures.values()
    return [*written, folder / "report.html"]


def _problems(values, run_dirs):
    return _wrong_options(values) + _read_all(run_dirs)[1]


def _wrong_options(values):
    problems = output_problems(values.output)
    if values.scores and values.format not in _READABLE:
        problems.append(
            f"--scores adds tables of text, which --format={values.format} does not "
            f"take. Omit --scores, or use --format={' or '.join(_READABLE)}."
        )
    return problems


def _report(values, run_dirs):
    """Reports the runs that can be read, also if others are damaged."""
    if _wrong_options(values):
        raise RequestError(_problems(values, run_dirs))
    # A folder given twice must not count as two seeds.
    unique = {os.path.realpath(run_dir): run_dir for run_dir in run_dirs}
    results, problems = _read_all(unique.values())
    if results:
        _show(values, results)
    refuse(problems)


def _show(values, results):
    print(_TABLES[values.format](results))
    is_one = len(results) == 1 and results[0].steps
    if is_one and values.format in _READABLE:
        print(f"\n{tables.step_table(results[0])}")
    if values.scores:
        for result in results:
            further = tables.aligned(*tables.further_rows(result))
            print(f"\n{printable(result.run_dir)}\n{further}")
    if values.output:
        for path in write_report(results, values.output):
            print(f"wrote {printable(path)}")


def _read_all(run_dirs):
    """Returns the runs that can be read, and the problems of the others."""
    problems = Problems()
    read = [problems.attempt(read_run, run_dir) for run_dir in run_dirs]
    return [result for result in read if result], problems


def _names(results):
    """Returns results by names for files: the parts of their folders that differ."""
    paths = [pathlib.Path(os.path.realpath(result.run_dir)).parts for result in results]
    length = 1
    while len({path[-length:] for path in paths}) < len(paths):
        length += 1
    names = ["_".join(path[-length:]).strip("/") for path in paths]
    # `a_b/c` and `a/b_c` have one name.
    twice = {name for name in names if names.count(name) > 1}
    return {
        f"{name}_{number}" if name in twice else name: result
        for number, (name, result) in enumerate(zip(names, results, strict=True), 1)
    }


if __name__ == "__main__":
    sys.exit(main())
