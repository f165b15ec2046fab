"""Figures: what is drawn, read back from Matplotlib or from the pixels."""

import dataclasses

import numpy as np
import pytest
from matplotlib.image import imread

from bsce_keras.reports import confusion_figures, figures

NO_SCORES = {"accuracy", "base_accuracy", "old_accuracy", "new_accuracy"}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been written."""
    kept = []
    for module in (figures, confusion_figures):
        monkeypatch.setattr(module, "save", lambda figure, path: kept.append(figure))
    return kept


@pytest.fixture
def make_matrix(make_run):
    """A function from a confusion matrix and steps to a `RunResult`."""

    def make(confusion, boundaries=(2, 3), names=None):
        run = make_run()
        names = names or [f"c{i}" for i in range(len(confusion))]
        stream = {"class_names": names, "order": list(range(len(names)))}
        steps = [
            {**run.steps[0], "step": step, "num_classes": number}
            for step, number in enumerate(boundaries)
        ]
        config = {**run.config, "stream": {**run.config["stream"], **stream}}
        confusion = np.array(confusion)
        return dataclasses.replace(run, steps=steps, config=config, confusion=confusion)

    return make


def legend(figure):
    [legend] = figure.legends
    return [text.get_text().replace("\xa0", " ") for text in legend.get_texts()]


def ticks(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def test_a_line_goes_through_the_accuracy_of_every_step(make_run, drawn):
    figures.accuracy_over_steps([make_run()], "curve.png")
    line, chance = drawn[-1].axes[0].lines
    assert legend(drawn[-1]) == ["Fine-tuning + Softmax (37.50; 66.67)"]
    assert list(line.get_xdata()) == [2, 3, 4]
    assert list(line.get_ydata()) == [87.5, 75, 37.5]
    np.testing.assert_allclose(chance.get_ydata(), [50, 100 / 3, 25])


def test_seeds_are_one_line_of_means_in_a_band_of_deviations(make_run, drawn):
    runs = [make_run(seed=1), make_run(seed=2)]
    runs[1].steps[2]["accuracy"] = 0.625
    figures.accuracy_over_steps(runs, "curve.png")
    axes = drawn[-1].axes[0]
    line, _ = axes.lines
    assert list(line.get_ydata()) == [87.5, 75, 50]
    [band] = axes.collections
    edges = band.get_paths()[0].vertices
    at_the_end = edges[edges[:, 0] == 4][:, 1]
    deviation = 25 / 2**0.5
    assert at_the_end.min() == pytest.approx(50 - deviation)
    assert at_the_end.max() == pytest.approx(50 + deviation)
    assert legend(drawn[-1]) == ["Fine-tuning + Softmax (50.00; 70.83)"]
    assert "means of 2 runs" in drawn[-1].legends[0].get_title().get_text()


def test_a_run_that_stopped_early_is_left_out_of_the_mean_of_its_group(make_run, drawn):
    """Its accuracies would move the first points of the line, but not the last."""
    stopped = make_run(seed=2, num_steps=2)
    stopped.steps[1]["accuracy"] = 0.25
    figures.accuracy_over_steps([make_run(seed=1), stopped], "curve.png")
    line, _ = drawn[-1].axes[0].lines
    assert list(line.get_ydata()) == [87.5, 75, 37.5]
    assert legend(drawn[-1]) == ["Fine-tuning + Softmax (37.50; 66.67)"]
    assert "runs" not in drawn[-1].legends[0].get_title().get_text()


def test_numbers_of_runs_that_differ_are_told_beside_each_line(make_run, drawn):
    runs = [make_run(seed=1), make_run(seed=2), make_run("balanced_softmax")]
    figures.accuracy_over_steps(runs, "curve.png")
    assert [text.partition("), ")[2] for text in legend(drawn[-1])] == [
        "2 runs",
        "1 run",
    ]


@pytest.mark.parametrize("num_classes", [2, 16, 17, 100])
def test_the_name_of_chance_stays_off_the_axis(make_matrix, drawn, num_classes):
    run = make_matrix(np.eye(num_classes, dtype=int), (num_classes,))
    figures.accuracy_of_run(run, "curve.png")
    figure, axes = drawn[-1], drawn[-1].axes[0]
    figure.draw_without_rendering()
    [name] = [text for text in axes.texts if text.get_text() == "chance"]
    assert name.get_window_extent().y0 >= axes.get_window_extent().y0


def test_markers_at_100_percent_are_whole(make_run, drawn):
    figures.accuracy_of_groups([make_run()], "groups.png")
    lines = [line for axes in drawn[-1].axes for line in axes.lines]
    assert not any(line.get_clip_on() for line in lines)


def test_the_legend_is_sorted_by_the_last_value_and_takes_nothing_from_the_panel(
    make_run, drawn, tmp_path
):
    runs = [
        make_run("balanced_softmax", alpha=i / 16, run_dir=tmp_path / str(i))
        for i in range(1, 13)
    ]
    for number, run in enumerate(runs):
        run.steps[2]["accuracy"] = number / 16
    figures.accuracy_over_steps(runs, "curve.png")
    alphas = [text.split("alpha ")[1].split(" (")[0] for text in legend(drawn[-1])]
    assert alphas == [f"{i / 16:g}" for i in range(12, 0, -1)]

    def panel_height(figure):
        figure.draw_without_rendering()
        return figure.axes[0].get_window_extent().height

    figures.accuracy_over_steps(runs[:1], "curve.png")
    # Matplotlib 3.9 leaves other margins than later versions.
    assert panel_height(drawn[0]) == pytest.approx(panel_height(drawn[1]), rel=0.15)


def test_base_old_and_new_classes_have_curves(make_run, drawn):
    figures.accuracy_of_run(make_run(), "curve.png")
    lines = drawn[-1].axes[0].lines
    assert [list(line.get_ydata()) for line in lines[:4]] == [
        [87.5, 75, 37.5],
        [87.5, 62.5, 25],
        [62.5, 25],
        [87.5, 100, 75],
    ]
    figures.accuracy_of_groups([make_run()], "groups.png")
    panels = drawn[-1].axes
    assert [list(axes.lines[0].get_ydata()) for axes in panels] == [
        [87.5, 62.5, 25],
        [62.5, 25],
        [87.5, 100, 75],
    ]


def test_a_published_experiment_has_the_papers_average_as_a_line(
    make_run, drawn, monkeypatch
):
    figures.accuracy_of_run(make_run(), "curve.png")
    assert not any("paper" in text for text in legend(drawn[-1]))
    monkeypatch.setattr(figures, "published_average", lambda config: 62.22)
    run = make_run()
    run.config["training"]["schedule_scale"] = 0.1
    figures.accuracy_of_run(run, "curve.png")
    assert [62.22, 62.22] in [
        list(line.get_ydata()) for line in drawn[-1].axes[0].lines
    ]
    text = "paper's average over the steps, on the full schedule (62.22)"
    assert text in legend(drawn[-1])


def test_old_is_drawn_against_new_accuracy_with_a_dot_at_alpha_1(make_run, drawn):
    run = make_run()
    assert not figures.has_posthoc_alpha(run)
    run.steps[-1]["accuracy_by_alpha"] = {
        "alpha": [0.5, 1, 2],
        "accuracy": [0.3, 0.4, 0.5],
        "old_accuracy": [0.1, 0.2, 0.6],
        "new_accuracy": [0.9, 0.8, None],
    }
    assert figures.has_posthoc_alpha(run)
    figures.posthoc_alpha_figure(run, "curve.png")
    balance, over_alpha = drawn[-1].axes
    curve, dot = balance.lines
    np.testing.assert_allclose(curve.get_xdata(), [10, 20, 60])
    np.testing.assert_allclose(curve.get_ydata(), [90, 80, np.nan])
    np.testing.assert_allclose([dot.get_xdata(), dot.get_ydata()], [[20], [80]])
    np.testing.assert_allclose(over_alpha.lines[0].get_ydata(), [30, 40, 50])


def test_names_are_no_formulas(make_matrix, tmp_path):
    run = make_matrix(np.eye(2, dtype=int), (2,), [r"$\frac$", "b$_x$"])
    confusion_figures.confusion_figure(run, tmp_path / "a.png", r"cost$\frac$x")
    assert (tmp_path / "a.png").exists()


def test_titles_are_drawn_without_a_warning_of_letters_that_the_font_lacks(
    make_matrix, tmp_path, recwarn
):
    matrix = make_matrix([[1, 0], [0, 1]])
    confusion_figures.confusion_figure(matrix, tmp_path / "figure.png", "写真 run")
    assert [str(warning.message) for warning in recwarn] == []


def test_classes_have_their_names_up_to_30_and_steps_are_blocks_beyond_100(
    make_matrix, drawn
):
    names = [f"name{i}" for i in range(28)] + ["a name that is much too long", "猫"]
    run = make_matrix(np.eye(30, dtype=int), (20, 30), names)
    confusion_figures.share_figure(run, "confusion.png")
    axes = drawn[-1].axes[0]
    shown = [*names[:28], "a name that is much t…", "class 29"]
    assert ticks(axes.xaxis) == ticks(axes.yaxis) == shown

    confusion_figures.share_figure(
        make_matrix(np.eye(31, dtype=int), (20, 31)), "confusion.png"
    )
    assert "c0" not in ticks(drawn[-1].axes[0].xaxis)

    confusion = np.eye(101, dtype=int)
    confusion[0, 100] = 3
    run = make_matrix(confusion, (60, 101))
    confusion_figures.share_figure(run, "confusion.png")
    axes = drawn[-1].axes[0]
    assert ticks(axes.xaxis) == ["step 0", "step 1"]
    np.testing.assert_allclose(
        axes.images[0].get_array(), [[100 * 60 / 63, 100 * 3 / 63], [0, 100]]
    )


def test_shares_are_percent_of_the_true_class_and_grey_without_images(
    make_matrix, drawn
):
    run = make_matrix([[1, 3, 0], [0, 0, 0], [0, 1, 1]])
    confusion_figures.share_figure(run, "confusion.png")
    [image] = drawn[-1].axes[0].images
    shares = image.get_array()
    assert shares[0].tolist() == [25, 75, 0]
    assert shares.mask[1].all()
    white, grey = image.cmap(0.0), image.cmap(np.ma.masked)
    assert min(white[:3]) > 0.9 > max(grey[:3])
    # Shares of a few percent are seen, and numbers are white on dark cells only.
    np.testing.assert_allclose(image.norm([0, 4, 25, 100]), [0, 0.2, 0.5, 1])
    written = {text.get_text(): text.get_color() for text in drawn[-1].axes[0].texts}
    assert (written["25"], written["50"], written["75"]) == ("black", "white", "white")


def test_confusion_colours_go_from_zero_to_the_largest_class(make_matrix, drawn):
    run = make_matrix([[7, 2, 0], [1, 3, 0], [0, 0, 4]])
    confusion_figures.confusion_figure(run, "confusion.png")
    axes, bar = drawn[-1].axes
    image = axes.images[0]
    assert image.get_clim() == pytest.approx((0, np.log(1 + 9)))
    np.testing.assert_allclose(image.get_array(), np.log(1.0 + run.confusion))
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["0", "1", "9"]


def test_several_matrices_share_one_colour_scale_and_mark_every_block(drawn):
    confusions = {"few": np.eye(4, dtype=int), "many": 9 * np.eye(4, dtype=int)}
    confusion_figures.confusion_panels(confusions, [2, 3, 4], "confusions.png")
    few, many, _ = drawn[-1].axes
    assert [few.get_title(), many.get_title()] == ["few", "many"]
    for axes in (few, many):
        assert axes.images[0].get_clim() == pytest.approx((0, np.log(1 + 9)))
        across = [line for line in axes.lines if len(set(line.get_ydata())) == 1]
        assert [set(line.get_ydata()) for line in across] == [{1.5}, {2.5}]


def test_lines_part_base_classes_from_later_ones(make_matrix, drawn):
    run = make_matrix(np.eye(5, dtype=int), (3, 4, 5))
    confusion_figures.confusion_figure(run, "confusion.png")
    horizontal, vertical = drawn[-1].axes[0].lines
    assert set(horizontal.get_ydata()) == set(vertical.get_xdata()) == {2.5}


def test_a_lone_base_step_has_no_such_lines(make_matrix, drawn):
    run = make_matrix(np.eye(3, dtype=int), (3,))
    confusion_figures.confusion_figure(run, "confusion.png")
    assert not drawn[-1].axes[0].lines


def test_without_scores_or_test_images_a_figure_is_still_drawn(make_matrix, tmp_path):
    run = make_matrix(np.zeros((2, 2), int), (2,))
    run.steps[0].update(dict.fromkeys(run.steps[0].keys() & NO_SCORES))
    figures.accuracy_of_run(run, tmp_path / "accuracy.png")
    confusion_figures.confusion_figure(run, tmp_path / "confusion.png")
    confusion_figures.share_figure(run, tmp_path / "shares.png")
    assert len(list(tmp_path.glob("*.png"))) == 3


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


def test_a_fixed_alpha_is_not_drawn(make_run, tmp_path):
    run = make_run("balanced_softmax", alpha=0.5)
    run.steps[1]["alpha"] = 0.5
    assert not figures.learns_alpha(run)


def test_files_are_images_as_wide_as_a_page(make_run, tmp_path):
    figures.accuracy_over_steps([make_run()], tmp_path / "curve.png")
    height, width, _ = imread(tmp_path / "curve.png").shape
    assert width > height > 400
