"""Tables over seeds, with means and deviations worked out by hand."""

import csv
import dataclasses
import io

import numpy as np
import pytest

from bsce_keras.evaluation import forgetting
from bsce_keras.records.protocol import names_by_arrival
from bsce_keras.reports.groups import arrivals, group_labels, group_runs
from bsce_keras.reports.tables import (
    aligned,
    csv_table,
    further_rows,
    latex_table,
    markdown,
    markdown_table,
    numeric_columns,
    step_rows,
    step_table,
    text_table,
)

# As in the worked example, but 8 of 16 images right at the last step.
BETTER = np.array([[2, 0, 1, 1], [0, 2, 0, 2], [0, 0, 1, 3], [1, 0, 0, 3]])


def row(table, name):
    return next(line for line in table.splitlines() if name in line)


def test_seeds_share_a_row_with_mean_and_sample_deviation(make_run):
    runs = [make_run(seed=1), make_run(seed=2, confusion=BETTER)]
    # Final 37.5 and 50: mean 43.75, deviation 12.5 / sqrt(2) = 8.84.
    # Base 25 and 50: 37.5 and 25 / sqrt(2) = 17.68. New 75 twice: 0.
    line = row(text_table(runs), "Fine-tuning")
    assert "43.75 ± 8.84" in line
    assert "37.50 ± 17.68" in line
    assert "75.00 ± 0.00" in line
    assert line.endswith(" 2")


def test_seeds_with_base_steps_of_their_own_share_a_row(make_run):
    runs = [make_run(seed=seed) for seed in (1, 2)]
    for run in runs:
        run.config["base_run_dir"] = f"base_{run.config['training']['seed']}"
    assert len(group_runs(runs)) == 1


def test_classes_of_each_step_are_told_in_short():
    told = [arrivals(50, sizes) for sizes in ([], [10], [10, 10], [10, 20])]
    assert told == ["50", "50 + 10", "50 + 2 x 10", "50 + 10 + 20"]


def test_one_run_has_no_spread(make_run):
    cells = row(text_table([make_run()]), "Fine-tuning").split()
    assert cells == [
        *("Fine-tuning", "Softmax"),
        *("66.67", "37.50", "25.00", "25.00", "75.00", "68.75", "1"),
    ]
    # 4 of 8 images of base classes, and 5 of 12 of old ones.
    final, base, old = row(text_table([make_run(confusion=BETTER)]), "Softmax").split()[
        3:6
    ]
    assert (final, base, old) == ("50.00", "50.00", "41.67")


def test_losses_and_alphas_have_rows_of_their_own(make_run, tmp_path):
    table = text_table(
        [
            make_run("softmax"),
            make_run("balanced_softmax"),
            make_run("balanced_softmax", alpha=0.25, run_dir=tmp_path / "quarter"),
        ]
    )
    assert "Fine-tuning  Softmax " in table
    assert "Fine-tuning  Balanced Softmax  " in table
    assert "Fine-tuning  Balanced Softmax, alpha 0.25" in table


def test_corrections_are_told_beside_the_loss_though_no_other_row_lacks_them(make_run):
    run = make_run()
    training = {
        **run.config["training"],
        "replay_sampling": "memory_oversampling",
        "finetuning": {"epochs": 20, "learning_rate": 0.01},
    }
    config = {**run.config, "training": training}
    (group,) = group_runs([dataclasses.replace(run, config=config)])
    assert group.columns["loss"] == "Softmax, memory oversampling, fine-tuned"
    assert [group.columns["other"] for group in group_runs([run, group.runs[0]])] == [
        "",
        "",
    ]


def test_the_paper_s_column_names_its_tables(make_run):
    runs = [make_run(), make_run(seed=2, num_steps=2)]
    table = text_table(runs, published=lambda config: {"average": 49.75})
    assert "Jodelet et al., Tables 1 to 4" in table
    line = row(table, "Fine-tuning")
    assert line.split()[2:4] == ["66.67", "49.75"]
    # A matrix keeps the cells that it has not finished.
    assert line.endswith(" 1 of 2")
    without = text_table([make_run()], published=lambda config: {})
    assert "paper" not in without


def test_runs_that_differ_in_an_unshown_setting_are_not_averaged(make_run, tmp_path):
    runs = [make_run(), make_run(learning_rate=0.5, run_dir=tmp_path / "fast")]
    groups = group_runs(runs)
    assert [group.columns["other"] for group in groups] == [
        "learning rate 0.1",
        "learning rate 0.5",
    ]
    assert "learning rate 0.5" in text_table(runs)
    assert group_labels(groups)[1] == "Fine-tuning + Softmax, learning rate 0.5"


def test_long_settings_that_begin_alike_are_told_apart(make_run):
    first, other = make_run(), make_run(seed=2)
    orders = [list(range(40)), [*range(38), 39, 38]]
    runs = [
        dataclasses.replace(
            run,
            config={**run.config, "stream": {**run.config["stream"], "order": order}},
        )
        for run, order in zip((first, other), orders, strict=True)
    ]
    one, two = (group.columns["other"] for group in group_runs(runs))
    assert one != two and max(len(one), len(two)) < 60


def test_what_a_published_recipe_explains_is_not_told(make_run, tmp_path):
    """IL-Baseline publishes finetune's schedule, LUCIR another of its own."""
    first = make_run()
    long = make_run(epochs=20, weight_decay=5e-4, run_dir=tmp_path / "long")

    def as_method(name):
        method = {**long.config["method"], "name": name, "parameters": {"margin": 0.5}}
        return dataclasses.replace(long, config={**long.config, "method": method})

    def told(other):
        return [group.columns["other"] for group in group_runs([first, other])]

    assert told(as_method("lucir")) == ["", ""]
    assert told(as_method("il_baseline")) == [
        "epochs 10, weight decay 0.0",
        "epochs 20, weight decay 0.0005",
    ]


def test_what_differs_from_the_recipe_is_told_even_where_all_rows_agree(make_run):
    """LUCIR's recipe for CIFAR has 160 epochs, drops at 80 and 120 and decay 5e-4."""
    run = make_run()
    recipe = {
        "epochs": 160,
        "batch_size": 128,
        "milestones": [80, 120],
        "weight_decay": 5e-4,
    }

    def told(**changes):
        config = {
            **run.config,
            "stream": {**run.config["stream"], "kind": "cifar"},
            "method": {**run.config["method"], "name": "lucir"},
            "training": {**run.config["training"], **recipe, **changes},
        }
        (group,) = group_runs([dataclasses.replace(run, config=config)])
        return group.columns["other"]

    assert told() == ""
    assert told(weight_decay=2e-4) == "weight decay 0.0002"
    half = {"epochs": 80, "milestones": [40, 60]}
    assert told(**half, schedule_scale=0.5) == ""
    # Drops that follow from the epochs are not told.
    assert told(**half) == "epochs 80"
    assert told(milestones=[40]) == "milestones [40]"


def test_a_memory_is_not_told_where_a_method_keeps_none_by_default(make_run):
    run = make_run()

    def kept(method, number, has_exemplars=True):
        memory = run.config["memory"]
        use = {**memory["use"], "has_exemplars": has_exemplars}
        config = {
            **run.config,
            "method": {**run.config["method"], "name": method},
            "memory": {**memory, "use": use, "exemplars_per_class": number},
        }
        return dataclasses.replace(run, config=config)

    def told(*runs):
        return ["exemplars" in group.columns["other"] for group in group_runs(runs)]

    without = kept("lwf", 0, has_exemplars=False)
    assert told(kept("finetune", 20), without) == [False, False]
    assert told(kept("finetune", 20), kept("finetune", 5), without) == [
        True,
        True,
        False,
    ]
    assert told(kept("finetune", 20), kept("il_baseline", 0)) == [True, True]


def test_another_augmentation_is_another_setting_even_without_others(make_run):
    run = make_run()
    stream = run.config["stream"]
    image = {**stream["image"], "augmentation": "trivial"}
    config = {**run.config, "stream": {**stream, "image": image}}
    other = dataclasses.replace(run, config=config)
    groups = group_runs([run, other])
    assert [group.columns["data set"] for group in groups] == [
        "letters",
        "letters, augmentation trivial",
    ]
    assert [group.columns["other"] for group in groups] == ["", ""]
    assert text_table([other]).startswith("data set letters, augmentation trivial")


def test_a_class_order_is_told_by_its_name(make_run, tmp_path):
    first, other = make_run(), make_run(seed=2)
    stream = {**other.config["stream"], "class_order": "sorted", "order": [0, 1, 2, 3]}
    other = dataclasses.replace(other, config={**other.config, "stream": stream})
    assert [group.columns["other"] for group in group_runs([first, other])] == [
        "class order seed:3",
        "class order sorted",
    ]


def test_what_all_rows_share_is_said_once(make_run):
    table = text_table([make_run("softmax"), make_run("balanced_softmax")])
    common = "data set letters, classes 2 + 2 x 1, scale 1, precision auto"
    assert table.startswith(common)
    assert table.count("letters") == 1


def test_an_unfinished_run_is_named_and_left_out(make_run):
    table = text_table([make_run("softmax"), make_run("balanced_softmax", num_steps=2)])
    assert "Balanced Softmax" not in table.partition("Percent")[0]
    assert "balanced_softmax_1 (2 of 3 steps)" in table


def test_images_that_a_run_left_out_are_counted_below_the_table(make_run):
    runs = [make_run("softmax"), make_run("balanced_softmax")]
    runs[1].summary["skipped_images"] = ["train/a/1.png", "train/a/2.png"]
    table = " ".join(text_table(runs).split())
    assert "balanced_softmax_1: 2 image files could not be decoded" in table
    assert table.count("image files") == 1


def test_classes_without_images_to_score_are_named_below_the_table(make_run):
    runs = [make_run("softmax"), make_run("balanced_softmax")]
    runs[1].per_class_accuracy[1:, 0] = np.nan
    table = " ".join(text_table(runs).split())
    name = names_by_arrival(runs[1].config["stream"])[0]
    assert "balanced_softmax_1: accuracies leave out classes without" in table
    assert f"{name} (from step 1 on)" in table
    assert table.count("leave out") == 1


def test_latex_names_unfinished_runs_in_a_comment(make_run):
    lines = latex_table(
        [make_run("softmax"), make_run("balanced_softmax", num_steps=2)]
    )
    comments = [line for line in lines.splitlines() if line.startswith("% ")]
    assert any("(2 of 3 steps)" in comment for comment in comments)


def test_a_bar_in_a_name_does_not_end_a_cell_of_markdown():
    assert markdown(["other"], [["classes a|b"]]).endswith("| classes a\\|b |")


def test_markdown_has_as_many_cells_in_every_row(make_run):
    runs = [make_run("softmax"), make_run("balanced_softmax")]
    rows = [line for line in markdown_table(runs).splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert {line.count("|") for line in rows} == {10}


def test_the_table_says_how_its_average_is_taken(make_run):
    assert "unweighted mean" in " ".join(text_table([make_run()]).split())


def test_step_table_has_a_line_a_step(make_run):
    lines = [line.split() for line in step_table(make_run()).splitlines()]
    assert lines[1:] == [
        ["0", "2", "100", "87.50", "87.50", "-", "87.50", "50.00"],
        ["1", "3", "100", "75.00", "62.50", "62.50", "100.00", "33.33"],
        ["2", "4", "100", "37.50", "25.00", "25.00", "75.00", "25.00"],
    ]


def test_alpha_and_temperature_have_a_column_where_there_is_one(make_run):
    run = make_run()
    assert "alpha" not in step_rows(run)[0]
    assert "temperature" not in further_rows(run)[0]
    run.steps[1].update(alpha=0.5, temperature=1.25)
    for (head, rows), name, value in (
        (step_rows(run), "alpha", "0.500"),
        (further_rows(run), "temperature", "1.25"),
    ):
        assert [row[head.index(name)] for row in rows] == ["-", value, "-"]


def test_every_further_score_has_its_own_column(make_run):
    run = make_run()
    columns = {
        "top-5": "top5_accuracy",
        "harmonic mean": "harmonic_accuracy",
        "calibration error": "calibration_error",
        "calibration error, old": "old_calibration_error",
        "calibration error, new": "new_calibration_error",
        "old called new": "old_called_new",
        "new called old": "new_called_old",
    }
    run.steps[1].update({name: i / 100 for i, name in enumerate(columns.values())})
    head, rows = further_rows(run)
    expected = {head: f"{i}.00" for i, head in enumerate(columns)}
    assert dict(zip(head, rows[1], strict=True)) == {"step": "1", **expected}


def test_names_that_begin_with_a_digit_are_no_numbers():
    cells = [
        "0012_tram",
        "50 + 10 + 40",
        "2 doors",
        "1.5 ± 0.1",
        "2 of 3",
        "-",
        "1e-05",
    ]
    assert numeric_columns(cells, [cells]) == 3 * [False] + 4 * [True]


def test_a_trained_head_that_does_not_predict_has_a_column_of_its_own(make_run):
    run = make_run()
    steps = [{**step, "head_accuracy": 0.125} for step in run.steps]
    lines = step_table(dataclasses.replace(run, steps=steps)).splitlines()
    assert lines[0].endswith("chance  trained head")
    assert all(line.endswith("12.50") for line in lines[1:])


def test_no_forgetting_has_no_sign(make_run):
    """One group gains what another loses; floats leave -1.4e-17 of it."""
    run = make_run()
    run.summary["forgetting"] = forgetting([[0.1] * 3, [0.1, 0.6, 0], [0.2, 0.5, 0.5]])
    assert -1e-16 < run.summary["forgetting"] < 0
    assert row(text_table([run]), "Fine-tuning").split()[-2] == "0.00"


def test_columns_are_aligned_beside_wide_and_combined_letters():
    """As of class names in Chinese, or as macOS writes accents."""
    rows = [["\u8c61", "1"], ["ant", "2"], ["e\u0301tude", "3"]]
    lines = aligned(["class", "images"], rows).splitlines()
    assert lines == [
        "class  images",
        "\u8c61          1",
        "ant         2",
        "e\u0301tude       3",
    ]


def test_csv_is_for_computing(make_run):
    runs = [make_run(seed=1), make_run(seed=2, confusion=BETTER)]
    text = csv_table([*runs, make_run("balanced_softmax", num_steps=2)])
    (line,) = csv.DictReader(io.StringIO(text))
    assert (line["method"], line["loss"], line["runs"]) == (
        "Fine-tuning",
        "Softmax",
        "2",
    )
    assert float(line["final_accuracy"]) == pytest.approx(0.4375)
    assert float(line["final_accuracy_deviation"]) == pytest.approx(0.125 / 2**0.5)
    del runs[0].summary["forgetting"]
    (line,) = csv.DictReader(io.StringIO(csv_table(runs[:1])))
    assert line["forgetting"] == ""
    assert line["final_accuracy_deviation"] == ""


def test_memory_has_a_column_where_runs_tell_it(make_run):
    run = make_run()
    assert "memory" not in text_table([run])
    run.summary["memory_bytes"] = {"exemplars": 6144000, "state": 0, "teacher": 1856000}
    head, line = text_table([run]).splitlines()[2:4]
    assert head.split()[-3:] == ["memory,", "MB", "runs"]
    assert line.split()[-2:] == ["8.00", "1"]
    (line,) = csv.DictReader(io.StringIO(csv_table([run])))
    assert line["memory_bytes"] == "8000000"
    smaller = make_run(seed=2)
    smaller.summary["memory_bytes"] = {"exemplars": 0, "state": 0, "teacher": 0}
    assert row(text_table([run, smaller]), "Fine-tuning").split()[-2:] == ["8.00", "2"]
