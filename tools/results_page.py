"""Sections of records -> docs/results.md, and the figures that it shows."""

import functools
import pathlib

from bsce_keras.records.run_records import read_record
from bsce_keras.reports.groups import group_labels, group_runs
from bsce_keras.reports.paper_results import published_scores
from bsce_keras.reports.tables import (
    MEMORY,
    PAPER,
    comparison,
    markdown,
    notes,
    remarks,
)
from bsce_keras.runtime.text import counted, percent

# Beside results.md.
IMAGES = "images/results"

_INTRODUCTION = (
    "# Results",
    "`make results` writes this page and its figures from the records in `results/`. "
    "Do not edit it. `python -m tools.collect RUN` writes the record of a run. "
    "A heading gives the schedule and the seeds of its table.",
)
# The paper's Figures 2 and 3, from left to right.
_FIGURE_LOSSES = ("softmax", "meta_balanced_softmax", "balanced_softmax")
_README_COLUMNS = ("method", "loss", "average", "final", "base", "runs")


def page(sections):
    """The page, and what its figures are drawn by.

    Args:
        sections: `Section`s.

    Returns:
        `(text, figures)`: Markdown, and for the name of each figure a function that
        takes the path to write.
    """
    parts, figures, chapter = [*_INTRODUCTION], {}, None
    parts += notes((MEMORY, PAPER))
    for section in sections:
        if section.chapter != chapter:
            chapter = section.chapter
            parts.append(f"## {chapter}")
        parts.append(f"### {section.title}")
        parts += _table(section)
        if section.is_overview:
            parts += _steps(section)
            for text, own in (_confusions(section), _alpha(section)):
                parts += text
                figures |= own
    parts += ["## Records", *_records(sections)]
    return "\n\n".join(parts) + "\n", figures


def readme_table(sections):
    """The table of the README: the first setting whose finished runs compare losses.

    It has the methods that were trained with more than one loss. Without such a
    setting, it is the first one that has finished runs, with all of them.
    """
    overviews = [part for part in sections if part.is_overview and part.complete]
    if not overviews:
        return "No run is finished yet."
    section = next(filter(_compares_losses, overviews), overviews[0])
    losses = _losses_by_method(section)
    compared = {method for method in losses if len(losses[method]) > 1} or losses
    results = [
        record.result
        for record in section.complete
        if record.columns["method"] in compared
    ]
    _, head, rows = comparison(results, published_scores)
    kept = [i for i, name in enumerate(head) if name.split(" (")[0] in _README_COLUMNS]
    table = markdown([head[i] for i in kept], [[row[i] for i in kept] for row in rows])
    return (
        f"\n{section.title}; percent, more in [docs/results.md](docs/results.md):\n\n"
        f"{table}\n"
    )


def _compares_losses(section):
    return max(map(len, _losses_by_method(section).values())) > 1


def _losses_by_method(section):
    losses = {}
    for record in section.complete:
        columns = record.columns
        losses.setdefault(columns["method"], set()).add(columns["loss"])
    return losses


def _table(section):
    results = [record.result for record in section.complete]
    parts = []
    if results:
        common, head, rows = comparison(results, published_scores)
        parts += [f"All rows: {common}.", markdown(head, rows)]
        parts += remarks(results, published_scores)
    return parts + [
        f"Not complete, {record.made['steps']}: {_link(record)}. Accuracy after each "
        f"finished step: {_accuracies(record)}."
        for record in section.records
        if not record.is_complete
    ]


def _steps(section):
    """Accuracy on all seen classes after every step, a row a run."""
    complete = section.complete
    if not complete:
        return []
    numbers = [str(step["step"]) for step in complete[0].result.steps]
    groups = group_runs([record.result for record in complete])
    labels = {
        id(run): label
        for group, label in zip(groups, group_labels(groups), strict=True)
        for run in group.runs
    }
    rows = [
        [
            labels[id(record.result)],
            str(record.seed),
            *(percent(step["accuracy"]) for step in record.result.steps),
        ]
        for record in complete
    ]
    text = "Accuracy on all seen classes after every step, from step 0 on:"
    return [text, markdown(["system", "seed", *numbers], rows)]


def _accuracies(record):
    steps = [percent(step["accuracy"]) for step in record.result.steps]
    return ", ".join(steps) or "none yet"


def _confusions(section):
    """Figures 2 and 3: IL-Baseline's three losses on one colour scale."""
    chosen = {}
    for record in section.complete:
        method = record.result.config["method"]
        loss = method["classification_loss"]
        is_shown = method["name"] == "il_baseline" and loss in _FIGURE_LOSSES
        if is_shown and record.result.confusion is not None:
            # The first seed of each.
            chosen.setdefault(loss, record)
    ordered = [chosen[loss] for loss in _FIGURE_LOSSES if loss in chosen]
    if not ordered:
        return [], {}
    name = f"{section.slug}_confusion.png"
    lines = [f"- {_final_scores(record)}" for record in ordered]
    paper = ""
    if section.is_of_paper:
        paper = "The paper's Figures 2 and 3 show these on CIFAR-100 in 5 increments. "
    text = [
        f"![log(1 + x) of the confusion matrices of IL-Baseline]({IMAGES}/{name})",
        "Confusion matrices of the last step, log(1 + count) on one colour scale. "
        f"Lines separate the classes of each step. {paper}Accuracy on all classes and "
        "on base classes:",
        "\n".join(lines),
    ]
    return text, {name: functools.partial(_draw_confusions, ordered)}


def _final_scores(record):
    summary, paper = record.result.summary, published_scores(record.result.config)
    told = [
        f"{words} {percent(summary[field])}"
        + (f" (paper, scale 1: {paper[score]:.2f})" if score in paper else "")
        for words, score, field in (
            ("final", "final", "final_accuracy"),
            ("base", "base", "final_base_accuracy"),
        )
    ]
    return f"{record.columns['loss']}, seed {record.seed}: {', '.join(told)}"


def _draw_confusions(records, path):
    # Matplotlib takes a second to load: not before it is needed.
    from bsce_keras.reports import confusion_figures

    block_ends = [step["num_classes"] for step in records[0].result.steps]
    confusions = {
        f"{record.columns['loss']}: final {percent(summary['final_accuracy'])}, "
        f"base {percent(summary['final_base_accuracy'])}": record.result.confusion
        for record in records
        for summary in [record.result.summary]
    }
    confusion_figures.confusion_panels(confusions, block_ends, path)


def _alpha(section):
    """The course of alpha in runs that learn it."""
    learned = [
        record
        for record in section.complete
        if record.result.config["method"]["classification_loss"]
        == "meta_balanced_softmax"
    ]
    if not learned:
        return [], {}
    name = f"{section.slug}_alpha.png"
    head = ["record", "step", "alpha at its end", "updates of alpha", "at a bound"]
    head += ["gradient, mean", "deviation", "mean / deviation"]
    rows = [
        [record.name, *_alpha_cells(step)]
        for record in learned
        for step in record.result.steps
        if step["alpha"] is not None
    ]
    text = [
        f"![alpha and its gradient]({IMAGES}/{name})",
        "Mean and deviation are over the updates of a step that measured the gradient "
        "of alpha. A mean near 0, small beside its deviation, says that alpha rests at "
        "a root. If the mean keeps its share of the deviation while both shrink with "
        "the learning rate, alpha is frozen on its way.",
        markdown(head, rows),
    ]
    return text, {name: functools.partial(_draw_alpha, learned)}


def _alpha_cells(step):
    mean, deviation = step.get("alpha_gradient_mean"), step.get("alpha_gradient_std")
    ratio = mean / deviation if mean is not None and deviation else None
    return [
        str(step["step"]),
        f"{step['alpha']:.3f}",
        _text(step.get("alpha_updates")),
        _text(step.get("alpha_clips")),
        *("-" if value is None else f"{value:.3g}" for value in (mean, deviation)),
        "-" if ratio is None else f"{ratio:.2f}",
    ]


def _draw_alpha(records, path):
    from bsce_keras.reports import figures

    figures.alpha_figure([record.result for record in records], path)


def _records(sections):
    """How each run was made, a row a record."""
    records = {record.name: record for part in sections for record in part.records}
    head = ["record", "steps", "precision", "commit", "machine", "images/s", "hours"]
    head += ["started", "ended"]
    text = (
        "`record.json` of each folder has its command. Hours are those of training, a "
        "base step taken from another run included; images/s is the mean over them. A "
        "run that continued with another commit or machine names all of them."
    )
    rows = [_record_row(records[name]) for name in sorted(records)]
    return [text, markdown(head, rows)]


def _record_row(record):
    made, origins = record.made, _origins(record)
    steps = record.result.steps
    seconds = sum(step["train_seconds"] or 0 for step in steps)
    images = sum(
        (step["train_seconds"] or 0) * (step["images_per_second"] or 0)
        for step in steps
    )
    return [
        _link(record),
        made["steps"],
        record.columns["precision"],
        _once(_commit(origin["commit"]) for origin in origins),
        _once(map(_machine, origins)),
        f"{images / seconds:.0f}" if seconds else "-",
        f"{seconds / 3600:.2f}" if seconds else "-",
        _text(made["started"]),
        _text(made["ended"]),
    ]


def _origins(record):
    """Commit and machine of every part of a run, in order; a run may move to others."""
    versions = read_record(pathlib.Path(record.result.run_dir, "versions.json")) or {}
    last = {**record.made["hardware"], "commit": record.made["commit"]}
    return [*versions.get("history", []), last]


def _once(texts):
    return ", then ".join(dict.fromkeys(texts))


def _machine(origin):
    cores = [counted(origin["cores"], "core")] if origin["cores"] else []
    return ", ".join([origin["cpu"], *cores, *(origin["gpus"] or [])])


def _commit(commit):
    """The first digits, and the mark of a checkout that differed from it."""
    number, mark, changed = (commit or "-").partition("-dirty")
    return f"{number[:10] or '-'}{mark}{changed}"


def _link(record):
    return f"[{record.name}](../results/{record.name})"


def _text(value):
    return "-" if value is None else str(value)
