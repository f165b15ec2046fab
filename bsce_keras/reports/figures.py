"""Curves over steps, drawn with Matplotlib's object interface: no display, no globals.

Runs that differ in their seed are one line, their mean. A band of one sample standard
deviation to either side shows their spread. Runs with fewer finished steps than others
of their line are left out of it.
"""

import dataclasses
import statistics
import textwrap

import numpy as np
from matplotlib.figure import Figure

from bsce_keras.reports.drawing import COLORS, WIDTH, panel, save
from bsce_keras.reports.groups import group_labels, group_runs
from bsce_keras.reports.paper_results import published_average
from bsce_keras.runtime.text import counted, printable

# One fewer than the colours, so that the pairs repeat late.
_MARKERS = "osD^vP"
# Up to this many steps each has its own tick.
_MOST_TICKS = 12
# Inches: height of a panel, and of a line of the legend.
_PANEL, _LINE = 3.2, 0.21
_LEGEND_CHARACTERS = 66
# Percent: where the line of chance is lower, its name stands above it.
_LOW = 6
_GROUPS = {
    "accuracy": "all seen classes",
    "base_accuracy": "base classes",
    "old_accuracy": "old classes",
    "new_accuracy": "new classes",
}


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A line in a legend.

    Args:
        handle: the line.
        label: name of the line.
        last: its last value.
        mean: its mean over the steps that are drawn, to be written beside `last`. None
            writes neither.
        runs: number of runs whose mean it is.
    """

    handle: object
    label: str
    last: float
    mean: float | None = None
    runs: int = 1

    @property
    def text(self):
        """The label, and the values in brackets."""
        if self.mean is None:
            return self.label
        # No line ends between the two.
        values = f"{self.last:.2f};\N{NO-BREAK SPACE}{self.mean:.2f}"
        return f"{self.label} ({values})"


def accuracy_over_steps(results, path):
    """Draws the accuracy on all seen classes after every step, a line a group of runs.

    The legend is in the order of the last values. It gives them, and the mean over the
    steps that are drawn: the average incremental accuracy so far, unless steps without
    test images are left out.

    Args:
        results: `RunResult`s.
        path: PNG file to write.
    """
    figure, [axes] = _figure(["accuracy on all seen classes (%)"])
    entries = _draw_groups(axes, results, "accuracy", scale=100)
    _draw_chance(axes, results)
    _legend(figure, entries)
    save(figure, path)


def accuracy_of_groups(results, path):
    """Draws the accuracies on base, old and new classes, a panel each.

    Args:
        results: `RunResult`s.
        path: PNG file to write.
    """
    fields = list(_GROUPS)[1:]
    figure, panels = _figure([f"{_GROUPS[field]} (%)" for field in fields], 2)
    for axes, field in zip(panels, fields, strict=True):
        entries = _draw_groups(axes, results, field, scale=100)
        axes.set_ylim(-2, 102)
        axes.sharex(panels[0])
    _legend(figure, entries, " on new classes")
    save(figure, path)


def accuracy_of_run(result, path):
    """Draws the accuracies of one run on all, base, old and new classes.

    Args:
        result: `RunResult`.
        path: PNG file to write.
    """
    figure, [axes] = _figure(["accuracy (%)"])
    entries = [
        _draw_curve(axes, number, name, [_curve(result, field, 100)])
        for number, (field, name) in enumerate(_GROUPS.items())
    ]
    _set_ticks(axes, [result])
    _draw_chance(axes, [result])
    _legend(figure, [entry for entry in [*entries, _draw_paper(axes, result)] if entry])
    save(figure, path)


def posthoc_alpha_figure(result, path):
    """Draws accuracies of the last step after its old logits are moved by log(alpha).

    The first panel has old against new accuracy, with a dot at alpha 1. The second has
    both and the accuracy on all classes over alpha.

    Args:
        result: `RunResult` for which `has_posthoc_alpha` is True.
        path: PNG file to write.
    """
    curve = result.steps[-1]["accuracy_by_alpha"]
    alphas = curve["alpha"]
    figure, [balance, axes] = _figure(["accuracy on new classes (%)", "accuracy (%)"])
    entries = []
    for number, (field, name) in enumerate(_GROUPS.items()):
        if field in curve:
            values = _percent(curve[field])
            [line] = axes.plot(alphas, values, color=COLORS[number])
            entries.append(_Entry(line, name, values[-1]))
    axes.axvline(1, color="0.5", linewidth=1, linestyle="--")
    axes.set_xscale("log", base=2)
    axes.set_xticks([1 / 16, 1 / 4, 1, 4, 16], ["1/16", "1/4", "1", "4", "16"])
    axes.set_ylim(-2, 102)
    axes.set_xlabel("alpha after training")
    old, new = _percent(curve["old_accuracy"]), _percent(curve["new_accuracy"])
    balance.plot(old, new, color="0.3", marker=".")
    if 1 in alphas:
        place = alphas.index(1)
        balance.plot(old[place], new[place], "o", color=COLORS[1], markersize=9)
        balance.annotate(
            "alpha 1",
            (old[place], new[place]),
            xytext=(8, 8),
            textcoords="offset points",
            color=COLORS[1],
        )
    balance.set_xlabel("accuracy on old classes (%)")
    _legend(figure, entries, " at alpha 32")
    save(figure, path)


def has_posthoc_alpha(result):
    """Returns True if the last step has accuracies by alphas after training."""
    return bool(result.steps and result.steps[-1].get("accuracy_by_alpha"))


def alpha_figure(results, path):
    """Draws the course of alpha in the runs that learn it.

    The first panel has alpha at the end of every step, the second alpha after every
    epoch of every increment, the third its gradient: the mean over the updates of each
    epoch, in a band of one standard deviation to either side. A mean near 0 says that
    alpha rests at a root. A mean that shrinks with the learning rate says that it is
    frozen.

    Args:
        results: `RunResult`s.
        path: PNG file to write.
    """
    learning = [result for result in results if learns_alpha(result)]
    titles = ["alpha, weight of the old classes", "alpha after every epoch"]
    titles.append("gradient of alpha, mean ± deviation")
    figure, panels = _figure(titles, 2.8)
    end_axes, alpha_axes, gradient_axes = panels
    entries = _draw_groups(end_axes, learning, "alpha", scale=1)
    end_axes.axhline(1, color="0.5", linewidth=1, linestyle="--")
    end_axes.set_ylim(bottom=0, top=1.05 * end_axes.get_ylim()[1])
    end_axes.set_xlabel("classes seen")
    gradient_axes.sharex(alpha_axes)
    gradient_axes.set_xlabel("increments trained")
    gradient_axes.axhline(0, color="0.5", linewidth=1, linestyle="--")
    for number, group in enumerate(group_runs(learning)):
        for run in group.runs:
            _draw_alpha_by_epoch(alpha_axes, gradient_axes, number, run)
    _legend(figure, entries)
    save(figure, path)


def learns_alpha(result):
    """Returns True if a run learned alpha."""
    return any(step.get("alpha_by_epoch") for step in result.steps)


def _draw_groups(axes, results, field, scale):
    """Draws a line a group of runs; returns the `_Entry` of each."""
    groups = group_runs(results)
    entries = []
    for number, (group, label) in enumerate(
        zip(groups, group_labels(groups), strict=True)
    ):
        # Runs that stopped early would be in the mean of the first steps only.
        most = max(len(run.steps) for run in group.runs)
        furthest = [run for run in group.runs if len(run.steps) == most]
        curves = [_curve(run, field, scale) for run in furthest]
        entries.append(_draw_curve(axes, number, label, curves))
    _set_ticks(axes, results)
    return [entry for entry in entries if entry]


def _draw_curve(axes, number, label, curves):
    """Draws the mean of curves, dictionaries by classes seen; None if all are empty."""
    curves = [curve for curve in curves if curve]
    if not curves:
        return None
    points = sorted(set().union(*curves))
    values = [[curve[x] for curve in curves if x in curve] for x in points]
    means = [statistics.fmean(some) for some in values]
    color = COLORS[number % len(COLORS)]
    [line] = axes.plot(
        points,
        means,
        color=color,
        marker=_MARKERS[number % len(_MARKERS)],
        markeredgecolor="white",
        markersize=7,
        # A marker at 100 % stays whole.
        clip_on=False,
    )
    if len(curves) > 1:
        spreads = [statistics.stdev(some) if len(some) > 1 else 0 for some in values]
        low, high = (
            [mean + sign * s for mean, s in zip(means, spreads, strict=True)]
            for sign in (-1, 1)
        )
        axes.fill_between(points, low, high, color=color, alpha=0.2, linewidth=0)
    return _Entry(line, label, means[-1], statistics.fmean(means), len(curves))


def _draw_chance(axes, results):
    """Draws the accuracy of guessing, 1 / classes, and fixes the scale of percent."""
    seen = sorted({step["num_classes"] for run in results for step in run.steps})
    axes.plot(seen, [100 / number for number in seen], color="0.5", linestyle=":")
    # Below the line: accuracies are rarely there. A low line leaves no room.
    is_low = 100 / seen[0] < _LOW
    axes.annotate(
        "chance",
        (seen[0], 100 / seen[0]),
        xytext=(0, 2 if is_low else -3),
        textcoords="offset points",
        va="bottom" if is_low else "top",
        fontsize="x-small",
        color="0.4",
    )
    axes.set_ylim(0, 102)


def _draw_paper(axes, result):
    """Draws the paper's average as a line; None if the run is not a published cell."""
    average = published_average(result.config)
    if average is None:
        return None
    line = axes.axhline(average, color="0.3", linewidth=1, linestyle="--")
    scale = result.config["training"]["schedule_scale"]
    schedule = "" if scale == 1 else ", on the full schedule"
    label = f"paper's average over the steps{schedule} ({average:.2f})"
    return _Entry(line, label, average)


def _draw_alpha_by_epoch(alpha_axes, gradient_axes, number, run):
    color = COLORS[number % len(COLORS)]
    for position, alpha, mean, std in _alpha_by_increment(run):
        alpha_axes.plot(position, alpha, color=color)
        gradient_axes.plot(position, mean, color=color)
        gradient_axes.fill_between(
            position, mean - std, mean + std, color=color, alpha=0.2, linewidth=0
        )


def _alpha_by_increment(run):
    """Arrays for each increment that learned alpha, without epochs that did not.

    Returns:
        List of `(position, alpha, mean, deviation)`, the first in increments trained,
        such as 1.5 halfway through the second one.
    """
    curves = []
    for step in run.steps:
        epochs = step.get("alpha_by_epoch")
        if epochs is None:
            continue
        columns = ("alpha", "alpha_gradient_mean", "alpha_gradient_std")
        values = [np.array(epochs[name], dtype=float) for name in columns]
        position = step["step"] - 1 + np.arange(1, len(values[0]) + 1) / len(values[0])
        known = ~np.isnan(values[0])
        curves.append([array[known] for array in (position, *values)])
    return curves


def _percent(shares):
    return 100 * np.array(shares, dtype=float)


def _curve(run, field, scale):
    return {
        step["num_classes"]: scale * step[field]
        for step in run.steps
        if step[field] is not None
    }


def _set_ticks(axes, results):
    seen = sorted({step["num_classes"] for run in results for step in run.steps})
    if 0 < len(seen) <= _MOST_TICKS:
        axes.set_xticks(seen)


def _legend(figure, entries, where=""):
    """Adds a legend below the panels, and as much height as it needs.

    Args:
        figure: the figure.
        entries: `_Entry` of each line.
        where: what the last values are of, after a space.
    """
    if not entries:
        return
    entries = sorted(entries, key=lambda entry: -entry.last)
    title = []
    if len(entries) > 1:
        title.append(f"sorted by the last value{where}")
    if any(entry.mean is not None for entry in entries):
        title.append("in brackets: last value; mean over the steps that are drawn")
    runs = {entry.runs for entry in entries}
    labels = [entry.text for entry in entries]
    if len(runs) > 1:
        labels = [
            f"{label}, {counted(entry.runs, 'run')}"
            for label, entry in zip(labels, entries, strict=True)
        ]
    elif runs != {1}:
        title.append(f"lines: means of {runs.pop()} runs; bands: ± 1 deviation")
    labels = [textwrap.fill(printable(one), _LEGEND_CHARACTERS) for one in labels]
    num_lines = 1 + len(title) + sum(1 + label.count("\n") for label in labels)
    figure.set_figheight(figure.get_figheight() + _LINE * num_lines)
    figure.legend(
        [entry.handle for entry in entries],
        labels,
        loc="outside lower center",
        title="\n".join(title),
        title_fontsize="small",
        fontsize="small",
        frameon=False,
    )


def _figure(ylabels, height=_PANEL):
    """Returns a figure and its panels, one below the other."""
    figure = Figure(figsize=(WIDTH, height * len(ylabels)), layout="constrained")
    grid = figure.add_gridspec(len(ylabels), 1)
    panels = [panel(figure, grid[i], label) for i, label in enumerate(ylabels)]
    panels[-1].set_xlabel("classes seen")
    return figure, panels
