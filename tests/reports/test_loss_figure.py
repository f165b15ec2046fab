"""Figure of the loss and its terms, read back from Matplotlib."""

import pytest

from bsce_keras.reports import loss_figure as module
from bsce_keras.reports.loss_figure import has_losses, loss_figure


@pytest.fixture
def drawn(monkeypatch):
    """Figures that would have been written."""
    kept = []
    monkeypatch.setattr(module, "save", lambda figure, path: kept.append(figure))
    return kept


def test_every_step_has_a_line_of_each_of_its_terms(make_run, drawn):
    run = make_run()
    run.steps[0]["loss_by_epoch"] = {"loss": [2.0, 1.0]}
    run.steps[2]["loss_by_epoch"] = {"loss": [4.0, 3.0], "distillation": [0.5, 0.25]}
    loss_figure(run, "losses.png")
    [axes] = drawn[-1].axes
    points = [
        line.get_xydata().tolist() for line in axes.lines if len(line.get_xdata())
    ]
    assert points == [
        [[0.5, 2.0], [1.0, 1.0]],
        [[2.5, 4.0], [3.0, 3.0]],
        [[2.5, 0.5], [3.0, 0.25]],
    ]
    [legend] = drawn[-1].legends
    assert [text.get_text() for text in legend.get_texts()] == ["loss", "distillation"]


def test_empty_lists_are_drawn_without_a_legend(make_run, drawn):
    run = make_run()
    run.steps[0]["loss_by_epoch"] = {"loss": []}
    loss_figure(run, "losses.png")
    assert drawn[-1].legends == []


def test_a_run_that_trained_nothing_has_no_losses(make_run):
    assert not has_losses(make_run())
