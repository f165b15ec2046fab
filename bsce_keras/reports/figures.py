"""Plots of runs, drawn with Matplotlib's object interface: no display, no globals."""

import io

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from bsce_keras.reports.tables import group_labels, group_runs
from bsce_keras.runtime.files import write_atomically
from bsce_keras.runtime.text import printable

# Okabe and Ito: told apart by colour-blind readers, and in print with the markers.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# One fewer than the colours, so that the pairs repeat late.
_MARKERS = "osD^vP"
# Up to this many steps each has its own tick.
_MOST_TICKS = 12


def accuracy_over_steps(results, path):
    """Draws the accuracy on all seen classes after every step, one line per run.

    Runs that differ in their seed share a colour and one entry of the legend, which
    gives the mean over the steps that are drawn: their average incremental accuracy so
    far, unless steps without test images are left out.

    Args:
        results: `RunResult`s.
        path: PNG file to write.
    """
    figure, axes = _figure("accuracy on all seen classes (%)")
    _draw_runs(axes, results, "accuracy", scale=100)
    axes.set_ylim(0, 102)
    _save(figure, path)


def alpha_figure(results, path):
    """Draws alpha at the end of every step, for the runs that have one.

    Where alpha is learned, a second panel shows it after every epoch of every
    increment, and a third its gradient: the mean over the updates of each epoch, in a
    band of one standard deviation to either side. A mean near 0 says that alpha rests
    at a root; a mean that shrinks with the learning rate, that it is frozen.

    Args:
        results: `RunResult`s.
        path: PNG file to write.
    """
    figure, axes = _figure("alpha, weight of the old classes")
    _draw_runs(axes, results, "alpha", scale=1)
    axes.axhline(1, color="0.5", linewidth=1, linestyle="--")
    axes.set_ylim(bottom=0, top=1.05 * axes.get_ylim()[1])
    learned = [_alpha_by_increment(result) for result in results]
    if any(learned):
        figure.set_figheight(2.2 * figure.get_figheight())
        axes.set_subplotspec(figure.add_gridspec(3, 1)[0])
        _draw_alpha_by_epoch(figure, group_runs(results))
    _save(figure, path)


def has_alpha(result):
    """Whether a run has an alpha to draw."""
    return any(step["alpha"] is not None for step in result.steps)


def confusion_figure(confusion, num_base_classes, path, title=None):
    """Draws log(1 + count) of a confusion matrix, classes in arrival order.

    The colour scale goes from 0 to log(1 + test images of the largest class), so
    that matrices on the same test images compare. Thin lines part the base classes
    from those that came later.

    Args:
        confusion: int, shape `(N, N)`, rows are true classes.
        num_base_classes: classes of step 0.
        path: PNG file to write.
        title: above the image, if given.
    """
    confusion_panels({title or "": confusion}, [num_base_classes], path)


def confusion_panels(confusions, block_ends, path):
    """Draws log(1 + count) of several confusion matrices on one colour scale.

    The scale goes from 0 to log(1 + test images of the largest class). Thin lines part
    the blocks of classes that arrived together.

    Args:
        confusions: int, shape `(N, N)`, by the title above each; rows are true classes
            in arrival order.
        block_ends: classes seen after each step that a line follows.
        path: PNG file to write.
    """
    most_images = max(int(matrix.sum(axis=1).max()) for matrix in confusions.values())
    figure = Figure(figsize=(1.2 + 4.8 * len(confusions), 5), layout="compressed")
    panels = figure.subplots(1, len(confusions), sharey=True, squeeze=False)[0]
    for axes, (title, confusion) in zip(panels, confusions.items(), strict=True):
        image = _draw_confusion(axes, confusion, block_ends, most_images)
        axes.set_title(printable(title), fontsize="medium")
    panels[0].set_ylabel("true class, in order of arrival")
    counts = _round_counts(most_images)
    bar = figure.colorbar(image, ax=panels, ticks=np.log1p(counts), shrink=0.9)
    bar.ax.set_yticklabels([str(count) for count in counts])
    bar.set_label("images, coloured by log(1 + count)")
    _save(figure, path)


def _draw_confusion(axes, confusion, block_ends, most_images):
    image = axes.imshow(
        np.log1p(confusion),
        cmap=colormaps["magma"],
        vmin=0,
        vmax=np.log1p(most_images),
        interpolation="nearest",
    )
    for end in block_ends:
        if end < len(confusion):
            for line in (axes.axhline, axes.axvline):
                line(end - 0.5, color="white", linewidth=0.8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("predicted class, in order of arrival")
    return image


def _draw_runs(axes, results, field, scale):
    """One line per run through a field of its steps, where that is defined."""
    groups = group_runs(results)
    ticks = set()
    for i, (group, label) in enumerate(zip(groups, group_labels(groups), strict=True)):
        curves = [_curve(run, field, scale) for run in group.runs]
        curves = [curve for curve in curves if curve]
        for j, curve in enumerate(curves):
            axes.plot(
                list(curve.keys()),
                list(curve.values()),
                label=_legend_entry(label, curves) if j == 0 else None,
                color=_COLORS[i % len(_COLORS)],
                marker=_MARKERS[i % len(_MARKERS)],
                markeredgecolor="white",
                markersize=7,
            )
            ticks.update(curve)
    if not ticks:
        return
    if len(ticks) <= _MOST_TICKS:
        axes.set_xticks(sorted(ticks))
    # Below the axes: labels of runs that differ in much are long.
    axes.figure.legend(
        loc="outside lower center",
        title="in brackets: mean over the steps that are drawn",
        title_fontsize="small",
        fontsize="small",
        frameon=False,
    )


def _draw_alpha_by_epoch(figure, groups):
    """Adds two panels: alpha, and its gradient's mean and deviation, by epoch."""
    grid = figure.axes[0].get_gridspec()
    alpha_axes = _panel(figure, grid[1], "alpha after every epoch")
    gradient_axes = _panel(figure, grid[2], "gradient of alpha, mean ± deviation")
    gradient_axes.sharex(alpha_axes)
    gradient_axes.set_xlabel("increments trained")
    gradient_axes.axhline(0, color="0.5", linewidth=1, linestyle="--")
    for i, group in enumerate(groups):
        color = _COLORS[i % len(_COLORS)]
        curves = [curve for run in group.runs for curve in _alpha_by_increment(run)]
        for position, alpha, mean, std in curves:
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


def _curve(run, field, scale):
    return {
        step["num_classes"]: scale * step[field]
        for step in run.steps
        if step[field] is not None
    }


def _legend_entry(label, curves):
    mean = np.mean([np.mean(list(curve.values())) for curve in curves])
    several = f", {len(curves)} runs" if len(curves) > 1 else ""
    return f"{label} ({mean:.2f}){several}"


def _round_counts(largest):
    """0, the powers of ten below the largest count, and the largest count."""
    powers = [10**i for i in range(len(str(largest))) if 2 * 10**i <= largest]
    return [0, *powers, largest]


def _figure(ylabel):
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = _panel(figure, figure.add_gridspec(1, 1)[0], ylabel)
    axes.set_xlabel("classes seen")
    return figure, axes


def _panel(figure, place, ylabel):
    axes = figure.add_subplot(place)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(ylabel)
    return axes


def _save(figure, path):
    for text in figure.findobj(Text):
        # Names come from users: a dollar sign is a dollar sign.
        text.set_parse_math(False)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, dpi=130, format="png")
    write_atomically(path, buffer.getbuffer())
