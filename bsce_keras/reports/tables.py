"""Runs in rows: mean and sample standard deviation over seeds, in percent."""

import csv
import io
import re
import statistics
import textwrap

from bsce_keras.reports.groups import HEADS, group_runs, in_words, varying_heads
from bsce_keras.reports.remarks import remarks
from bsce_keras.runtime.text import UNDEFINED, percent, width

# Characters with a meaning in LaTeX.
_LATEX = str.maketrans(
    {
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
    }
)
# A cell of a column of numbers.
_NUMBER = re.compile(rf"{UNDEFINED}|[-+]?\d[\d.,:]*(e[-+]?\d+)?( ± [\d.]+| of \d+)?")
# Column heads and the fields of summary.json they show.
SCORES = {
    "average": "average_incremental_accuracy",
    "final": "final_accuracy",
    "base": "final_base_accuracy",
    "old": "final_old_accuracy",
    "new": "final_new_accuracy",
    "forgetting": "forgetting",
}
_NOTE = (
    "Percent; mean ± sample standard deviation over runs that differ in their seed. "
    "average: unweighted mean of the accuracies after every step, the base step "
    "included. final, base, old, new: accuracy of the last step's model on all, base, "
    "earlier and last classes. Predictions are among all classes. Images are test "
    "images, or those held out. forgetting: for the classes of each earlier step, the "
    "best accuracy before the last step minus the last one; mean over these steps."
)
MEMORY = "memory, MB"
_MEMORY_NOTE = (
    "memory: what the method keeps of earlier classes after the last step, in millions "
    "of bytes: pixels of exemplars, state and teacher."
)
PAPER = "(paper, scale 1)"
_PAPER_NOTE = (
    f"{PAPER}: numbers of Jodelet et al., Tables 1 to 4 and Figure 2, who "
    "train the whole schedule. They are shown where all that decides the outcome is as "
    "published, seed and schedule scale aside. A row of another scale is another "
    "experiment. Those of icarl are quoted there from LUCIR's paper."
)


def text_table(results, published=None):
    """Returns the comparison of runs in aligned columns, for a terminal.

    Values that all rows share stand above the table. Incomplete runs are named below it
    and left out of the means.

    Args:
        results: `RunResult`s.
        published: for the runs of a matrix, a function from config.json to the paper's
            scores in percent, by the names of `SCORES`. Each of these scores gets a
            column beside the measured one. Incomplete rows stay, with gaps.
    """
    common, head, rows = comparison(results, published)
    filled = [textwrap.fill(note, 88) for note in notes(head)]
    paragraphs = [common, aligned(head, rows), *filled] if rows else []
    return "\n\n".join([*filter(None, paragraphs), *remarks(results, published)])


def markdown_table(results, published=None):
    """Returns `text_table` in Markdown."""
    common, head, rows = comparison(results, published)
    paragraphs = [common, markdown(head, rows), *notes(head)]
    return "\n\n".join([*filter(None, paragraphs), *remarks(results, published)])


def markdown(head, rows):
    """Returns a Markdown table of column heads and rows of text cells."""
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in (head, *rows)]
    lines = [escaped[0], ["---"] * len(head), *escaped[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def latex_table(results):
    """Returns the comparison as a LaTeX `tabular` with the rules of booktabs.

    Comments before it have the values that all rows share, and the incomplete runs.
    """
    common, head, rows = comparison(results)
    columns = "".join("r" if right else "l" for right in numeric_columns(head, rows))
    lines = [
        *(f"% {line}" for line in [common, *remarks(results)] if line),
        f"\\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_row(head),
        r"\midrule",
        *map(_latex_row, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def _latex_row(cells):
    return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"


def csv_table(results):
    """Returns the comparison as CSV: a line a group, fractions that are not rounded.

    Every score has a second column, `NAME_deviation`: the sample standard deviation
    over seeds. Undefined values are empty.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [part for name in SCORES.values() for part in (name, f"{name}_deviation")]
    writer.writerow([*HEADS, *names, "memory_bytes", "runs"])
    for group in group_runs([result for result in results if result.summary]):
        numbers = [
            number
            for name in SCORES.values()
            for number in mean_and_deviation(
                [run.summary.get(name) for run in group.runs]
            )
        ]
        cells = [group.columns[head] for head in HEADS]
        memory = memory_bytes(group.runs[0])
        writer.writerow([*cells, *numbers, memory, len(group.runs)])
    return file.getvalue()


def mean_and_deviation(values):
    """Mean and sample standard deviation; None where they are undefined."""
    if not values or None in values:
        return None, None
    mean = statistics.fmean(values)
    return mean, statistics.stdev(values) if len(values) > 1 else None


def step_table(result):
    """Returns a table of one run with a line for each finished step."""
    return aligned(*step_rows(result))


def step_rows(result):
    """Returns `step_table` before it is laid out: heads, and a list of cells a step.

    Chance is the accuracy of guessing, 1 / classes. Alpha has a column where the loss
    has it, and the trained head where the method predicts by another one.
    """
    has_alpha = _knows(result, "alpha")
    has_two_heads = _knows(result, "head_accuracy")
    head = [
        *("step", "classes", "images", "accuracy", "base", "old", "new"),
        *(["alpha"] if has_alpha else []),
        "chance",
        *(["trained head"] if has_two_heads else []),
    ]
    rows = [
        [
            str(step["step"]),
            str(step["num_classes"]),
            str(step["train_images"]),
            percent(step["accuracy"]),
            percent(step["base_accuracy"]),
            percent(step["old_accuracy"]),
            percent(step["new_accuracy"]),
            *([_rounded(step["alpha"], ".3f")] if has_alpha else []),
            percent(1 / step["num_classes"]),
            *([percent(step["head_accuracy"])] if has_two_heads else []),
        ]
        for step in result.steps
    ]
    return head, rows


def further_rows(result):
    """Returns scores beside accuracy: column heads, and a list of cells a step.

    The temperature has a column where one was fitted.
    """
    has_temperature = _knows(result, "temperature")
    head = [
        *("step", "top-5", "harmonic mean", "calibration error"),
        *("calibration error, old", "calibration error, new"),
        *("old called new", "new called old"),
        *(["temperature"] if has_temperature else []),
    ]
    names = [
        *("top5_accuracy", "harmonic_accuracy", "calibration_error"),
        *("old_calibration_error", "new_calibration_error"),
        *("old_called_new", "new_called_old"),
    ]
    rows = [
        [
            str(step["step"]),
            *(percent(step.get(name)) for name in names),
            *([_rounded(step.get("temperature"), ".3g")] if has_temperature else []),
        ]
        for step in result.steps
    ]
    return head, rows


def _knows(result, name):
    """Returns True if a step of the run has a value of that name."""
    return any(step.get(name) is not None for step in result.steps)


def _rounded(value, form):
    return UNDEFINED if value is None else format(value, form)


def comparison(results, published=None):
    """Returns the comparison of runs before it is laid out.

    Args:
        results, published: as of `text_table`.

    Returns:
        `(common, head, rows)`: values that all groups share, in words; column heads;
        and a list of cells a group. All of them are text.
    """
    shown = [result for result in results if result.summary or published]
    groups = group_runs(shown)
    varying = varying_heads(groups)
    heads = [head for head in HEADS if head in varying or head in ("method", "loss")]
    common = ", ".join(
        in_words(head, groups[0].columns[head])
        for head in HEADS
        if groups and head not in heads and groups[0].columns[head]
    )
    papers = [published(group.runs[0].config) if published else {} for group in groups]
    told = [score for score in SCORES if any(score in paper for paper in papers)]
    scores = []
    for score in SCORES:
        # Beside the column that it is to be compared with.
        scores += [score, f"{score} {PAPER}"] if score in told else [score]
    memories = [_megabytes(group.finished) for group in groups]
    has_memory = any(memory != UNDEFINED for memory in memories)
    rows = [
        [group.columns[head] for head in heads]
        + _scores(group, paper, told)
        + ([memory] if has_memory else [])
        + [_number_of_runs(group)]
        for group, paper, memory in zip(groups, papers, memories, strict=True)
    ]
    return common, [*heads, *scores, *([MEMORY] if has_memory else []), "runs"], rows


def _megabytes(runs):
    """Text of the largest memory of some runs, in millions of bytes."""
    known = [memory for run in runs if (memory := memory_bytes(run)) is not None]
    return f"{max(known) / 1e6:.2f}" if known else UNDEFINED


def memory_bytes(run):
    """Bytes that the method of a complete run keeps after the last step, or None."""
    parts = run.summary.get("memory_bytes")
    return None if parts is None else sum(parts.values())


def _scores(group, paper, told):
    """Returns cells of measured scores; those in `told` are followed by the paper's."""
    cells = []
    for score, field in SCORES.items():
        cells.append(_mean_and_spread(group.finished, field))
        if score in told:
            cells.append(f"{paper[score]:.2f}" if score in paper else UNDEFINED)
    return cells


def _number_of_runs(group):
    finished, wanted = len(group.finished), len(group.runs)
    return str(wanted) if finished == wanted else f"{finished} of {wanted}"


def notes(heads):
    """Returns explanations of these column heads of `comparison`, a paragraph each."""
    found = [_NOTE, _MEMORY_NOTE] if MEMORY in heads else [_NOTE]
    return [*found, _PAPER_NOTE] if any(PAPER in head for head in heads) else found


def _mean_and_spread(runs, score):
    mean, deviation = mean_and_deviation([run.summary.get(score) for run in runs])
    spread = "" if deviation is None else f" ± {percent(deviation)}"
    return f"{percent(mean)}{spread}"


def aligned(head, rows):
    """Returns a table as text, with columns of numbers aligned to the right."""
    lines = [head, *rows]
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    numeric = numeric_columns(head, rows)
    return "\n".join(
        "  ".join(
            _filled(cell, columns, right)
            for cell, columns, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def _filled(cell, columns, right):
    """Returns a cell with spaces up to a number of columns of a terminal."""
    spaces = " " * (columns - width(cell))
    return spaces + cell if right else cell + spaces


def numeric_columns(head, rows):
    """Returns True for each column whose text cells are numbers.

    >>> numeric_columns(["a", "b", "c"], [["1.5 ± 0.1", "2 of 3", "50 + 5 x 10"]])
    [True, True, False]
    """
    return [
        all(row[i] == "" or _NUMBER.fullmatch(row[i]) for row in rows)
        for i in range(len(head))
    ]
