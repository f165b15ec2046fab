"""Figure of the loss and its terms over the epochs of a run."""

from matplotlib.figure import Figure

from bsce_keras.reports.drawing import COLORS, WIDTH, panel, save
from bsce_keras.runtime.text import printable

# The first line is the loss, in black.
_COLORS = (COLORS[-1], *COLORS[:-1])
_HEIGHT = 3.6  # inches
_TOTAL = "loss"


def has_losses(result):
    """Returns True if a step of a `RunResult` has losses by epoch."""
    return any(step.get("loss_by_epoch") for step in result.steps)


def loss_figure(result, path):
    """Draws the means of the loss and of its terms over every epoch.

    Terms are as they are logged: not multiplied by their weights. Steps stand side by
    side, each of width 1, and lines end with a step.

    Args:
        result: `RunResult` for which `has_losses` is True.
        path: PNG file to write.
    """
    figure = Figure(figsize=(WIDTH, _HEIGHT), layout="constrained")
    axes = panel(figure, figure.add_gridspec(1, 1)[0], "mean over the epoch")
    axes.set_xlabel("steps trained")
    tables = [step.get("loss_by_epoch") or {} for step in result.steps]
    names = dict.fromkeys(name for table in tables for name in table)
    for number, name in enumerate(names):
        is_named = False
        for step, table in enumerate(tables):
            values = table.get(name, ())
            places = [step + (i + 1) / len(values) for i in range(len(values))]
            [line] = axes.plot(
                places,
                values,
                color=_COLORS[number % len(_COLORS)],
                linewidth=2 if name == _TOTAL else 1,
                # A point where a step has one epoch only.
                marker="." if len(values) == 1 else None,
            )
            if len(values) and not is_named:
                line.set_label(printable(name))
                is_named = True
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    # Empty lists of a damaged record have no line.
    if axes.get_legend_handles_labels()[1]:
        figure.legend(
            loc="outside lower center", ncols=3, frameon=False, fontsize="small"
        )
    save(figure, path)
