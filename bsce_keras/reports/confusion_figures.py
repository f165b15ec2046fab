"""Confusion matrices: the paper's log(1 + count), and shares of each true class."""

import dataclasses

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bsce_keras.reports.class_tables import seen_names
from bsce_keras.reports.drawing import names_on_axis, save
from bsce_keras.runtime.text import printable

# Classes with a name each; beyond _MOST_CLASSES those of a step are one block.
_MOST_NAMES = 30
_MOST_CLASSES = 100
# Blocks and classes whose cells have their number written in them.
_MOST_WRITTEN = 12
# Percent: ticks of the colours of shares, and the share from which cells are dark.
_SHARES = (0, 1, 5, 10, 20, 40, 60, 80, 100)
_DARK = 36


@dataclasses.dataclass(frozen=True)
class _Matrix:
    """A confusion matrix as it is drawn.

    Args:
        counts: int, shape `(n, n)`, rows are true.
        labels: of rows and columns; None for their numbers.
        ends: rows and columns that a line follows.
        unit: of a row.
    """

    counts: np.ndarray
    labels: list | None
    ends: list
    unit: str = "class"

    @property
    def guess(self):
        """Label of the columns."""
        if self.unit == "step":
            return "any class of the predicted step"
        return f"predicted {self.unit}, in order of arrival"


def confusion_figure(result, path, title=None):
    """Draws log(1 + count) of the last confusion matrix of a run.

    Classes are in the order of arrival, with their names if there are at most 30.
    Beyond 100 classes, the classes of a step are one row. Thin lines part the base
    classes from later ones.

    Args:
        result: `RunResult` with a confusion matrix.
        path: PNG file to write.
        title: above the image, if given.
    """
    _draw_logs({title or "": _matrix_of(result)}, path)


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
    matrices = {
        title: _Matrix(confusion, None, block_ends)
        for title, confusion in confusions.items()
    }
    _draw_logs(matrices, path)


def share_figure(result, path, title=None):
    """Draws the share of each true class that is taken for each class, in percent.

    Rows, names and lines are those of `confusion_figure`. The colour goes with the
    square root, so that shares of a few percent are seen. A class without test images
    is grey.

    Args:
        result, path, title: as of `confusion_figure`.
    """
    matrix = _matrix_of(result)
    images = matrix.counts.sum(axis=1, keepdims=True)
    shares = np.where(images > 0, 100 * matrix.counts / np.maximum(images, 1), np.nan)
    figure = Figure(figsize=_size(1, matrix), layout="compressed")
    axes = figure.subplots()
    colors = colormaps["Blues"].with_extremes(bad="0.85")
    roots = PowerNorm(0.5, vmin=0, vmax=100)
    image = axes.imshow(shares, cmap=colors, norm=roots, interpolation="nearest")
    _label(axes, matrix, line_color="0.5")
    axes.set_ylabel(f"true {matrix.unit}, in order of arrival")
    axes.set_title(printable(title or ""), fontsize="medium")
    if len(shares) <= _MOST_WRITTEN:
        _write_shares(axes, shares)
    bar = figure.colorbar(image, ax=axes, ticks=_SHARES, shrink=0.9)
    bar.set_label(f"% of the images of the true {matrix.unit}")
    save(figure, path)


def _matrix_of(result):
    boundaries = [step["num_classes"] for step in result.steps]
    if boundaries[-1] <= _MOST_CLASSES:
        names = seen_names(result) if boundaries[-1] <= _MOST_NAMES else None
        labels = names and names_on_axis(names)
        return _Matrix(result.confusion, labels, boundaries[:1])
    starts = [0, *boundaries[:-1]]
    rows = np.add.reduceat(result.confusion, starts, axis=0)
    labels = [f"step {step['step']}" for step in result.steps]
    return _Matrix(
        np.add.reduceat(rows, starts, axis=1),
        labels if len(labels) <= _MOST_NAMES else None,
        [1],
        "step",
    )


def _draw_logs(matrices, path):
    most = max(int(one.counts.sum(axis=1).max()) for one in matrices.values())
    first = next(iter(matrices.values()))
    figure = Figure(figsize=_size(len(matrices), first), layout="compressed")
    panels = figure.subplots(1, len(matrices), sharey=True, squeeze=False)[0]
    for axes, (title, matrix) in zip(panels, matrices.items(), strict=True):
        image = axes.imshow(
            np.log1p(matrix.counts),
            cmap=colormaps["magma"],
            vmin=0,
            vmax=np.log1p(most),
            interpolation="nearest",
        )
        _label(axes, matrix, line_color="white")
        axes.set_title(printable(title), fontsize="medium")
    panels[0].set_ylabel(f"true {first.unit}, in order of arrival")
    counts = _round_counts(most)
    bar = figure.colorbar(image, ax=panels, ticks=np.log1p(counts), shrink=0.9)
    bar.ax.set_yticklabels([str(count) for count in counts])
    bar.set_label("images, coloured by log(1 + count)")
    save(figure, path)


def _size(num_panels, matrix):
    """Width and height in inches; names take room on both sides."""
    room = 0.07 * max(map(len, matrix.labels)) if matrix.labels else 0.0
    return 1.2 + 4.8 * num_panels + room, 5 + room


def _label(axes, matrix, line_color):
    for end in matrix.ends:
        if end < len(matrix.counts):
            for line in (axes.axhline, axes.axvline):
                line(end - 0.5, color=line_color, linewidth=0.8)
    axes.set_xlabel(matrix.guess)
    if matrix.labels is None:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        return
    places = range(len(matrix.labels))
    axes.set_yticks(places, matrix.labels, fontsize="small")
    longest = max(map(len, matrix.labels))
    axes.set_xticks(
        places, matrix.labels, fontsize="small", rotation=90 if longest > 2 else 0
    )


def _write_shares(axes, shares):
    for row, values in enumerate(shares):
        for column, value in enumerate(values):
            if value > 0:
                axes.text(
                    column,
                    row,
                    f"{value:.0f}",
                    ha="center",
                    va="center",
                    fontsize="x-small",
                    color="white" if value > _DARK else "black",
                )


def _round_counts(largest):
    """0, powers of ten, and the largest count.

    A power above half of the largest count is left out; its label would touch the last.
    """
    powers = [10**i for i in range(len(str(largest))) if 2 * 10**i <= largest]
    return [0, *powers, largest]
