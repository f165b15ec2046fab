"""Figures: what is drawn, read back from Matplotlib or from the pixels."""

import numpy as np
import pytest
from matplotlib.image import imread

from bsce_keras.reports import figures


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been written."""
    kept = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: kept.append(figure))
    return kept


def labelled_lines(figure):
    return {
        line.get_label(): line
        for line in figure.axes[0].lines
        if not line.get_label().startswith("_")
    }


def test_a_line_goes_through_the_accuracy_of_every_step(make_run, drawn):
    figures.accuracy_over_steps([make_run()], "curve.png")
    line = labelled_lines(drawn[-1])["finetune + softmax (66.67)"]
    assert list(line.get_xdata()) == [2, 3, 4]
    assert list(line.get_ydata()) == [87.5, 75, 37.5]


def test_seeds_share_a_colour_and_a_legend_entry(make_run, drawn):
    runs = [make_run(seed=1), make_run(seed=2), make_run("balanced_softmax")]
    figures.accuracy_over_steps(runs, "curve.png")
    lines = drawn[-1].axes[0].lines
    assert [line.get_color() for line in lines].count(lines[0].get_color()) == 2
    assert list(labelled_lines(drawn[-1])) == [
        "finetune + softmax (66.67), 2 runs",
        "finetune + balanced_softmax (66.67)",
    ]


def test_confusion_colours_go_from_zero_to_the_largest_class(drawn):
    confusion = np.array([[7, 2, 0], [1, 3, 0], [0, 0, 4]])
    figures.confusion_figure(confusion, 2, "confusion.png")
    axes, bar = drawn[-1].axes
    image = axes.images[0]
    assert image.get_clim() == pytest.approx((0, np.log(1 + 9)))
    np.testing.assert_allclose(image.get_array(), np.log(1.0 + confusion))
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["0", "1", "9"]


def test_several_matrices_share_one_colour_scale_and_mark_every_block(drawn):
    confusions = {"few": np.eye(4, dtype=int), "many": 9 * np.eye(4, dtype=int)}
    figures.confusion_panels(confusions, [2, 3, 4], "confusions.png")
    few, many, _ = drawn[-1].axes
    assert [few.get_title(), many.get_title()] == ["few", "many"]
    for axes in (few, many):
        assert axes.images[0].get_clim() == pytest.approx((0, np.log(1 + 9)))
        across = [line for line in axes.lines if len(set(line.get_ydata())) == 1]
        assert [set(line.get_ydata()) for line in across] == [{1.5}, {2.5}]


def test_lines_part_base_classes_from_later_ones(drawn):
    figures.confusion_figure(np.eye(5, dtype=int), 3, "confusion.png")
    horizontal, vertical = drawn[-1].axes[0].lines
    assert set(horizontal.get_ydata()) == set(vertical.get_xdata()) == {2.5}


def test_a_lone_base_step_has_no_such_lines(drawn):
    figures.confusion_figure(np.eye(3, dtype=int), 3, "confusion.png")
    assert not drawn[-1].axes[0].lines


def test_without_scores_or_test_images_a_figure_is_still_drawn(make_run, tmp_path):
    figures.alpha_figure([make_run()], tmp_path / "alpha.png")
    figures.confusion_figure(np.zeros((2, 2), int), 1, tmp_path / "confusion.png")
    assert (tmp_path / "alpha.png").exists() and (tmp_path / "confusion.png").exists()


def test_a_learned_alpha_is_drawn_with_its_gradient(make_run, drawn):
    run = make_run()
    run.steps[1]["alpha"] = 0.5
    run.steps[1]["alpha_by_epoch"] = {
        "alpha_updates": [2, 0, 1],
        "alpha": [0.75, None, 0.5],
        "alpha_gradient_mean": [0.25, None, 0.125],
        "alpha_gradient_std": [0.0625, None, 0.03125],
    }
    figures.alpha_figure([run], "alpha.png")
    _, alpha_axes, gradient_axes = drawn[-1].axes
    (alpha,) = alpha_axes.lines
    np.testing.assert_allclose(alpha.get_xydata(), [[1 / 3, 0.75], [1, 0.5]])
    _, mean = gradient_axes.lines
    np.testing.assert_allclose(mean.get_ydata(), [0.25, 0.125])
    (band,) = gradient_axes.collections
    edges = band.get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == (0.125 - 0.03125, 0.25 + 0.0625)


def test_a_fixed_alpha_has_no_gradient_to_draw(make_run, drawn):
    run = make_run()
    run.steps[1]["alpha"] = 0.5
    figures.alpha_figure([run], "alpha.png")
    assert len(drawn[-1].axes) == 1


def test_files_are_images_as_wide_as_a_page(make_run, tmp_path):
    figures.accuracy_over_steps([make_run()], tmp_path / "curve.png")
    height, width, _ = imread(tmp_path / "curve.png").shape
    assert width > height > 400
