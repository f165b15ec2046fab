"""The report command, from run folders to tables and files."""

import os
import types

import numpy as np
import pytest

from bsce_keras import make_config
from bsce_keras.records.run_identity import begin_run
from bsce_keras.records.run_records import RunRecords
from bsce_keras.records.step_record import StepRecord
from bsce_keras.report import _names, main


@pytest.fixture
def make_run(tmp_path):
    """A function that writes a run with 2 + 1 digits and returns its folder."""

    def make(name, num_steps=2, renamed=None, **request):
        run_dir = str(tmp_path / "runs" / name)
        config = make_config(
            "digits", num_base_classes=2, increments=[1], run_dir=run_dir, **request
        )
        begin_run(run_dir, config, num_replicas=1)
        records = RunRecords(run_dir, config)
        for step in range(num_steps):
            records.append(
                StepRecord(
                    step=step,
                    num_classes=2 + step,
                    num_old_classes=2 * step,
                    num_base_classes=2,
                    train_images=100,
                    confusion=4 * np.eye(2 + step, dtype=int),
                    epochs=1,
                    train_seconds=1.0,
                    images_per_second=100.0,
                    peak_memory_mb=100.0,
                    class_counts=[50] * (2 + step),
                    exemplars_per_class=[5] * (2 + step),
                )
            )
        if num_steps == 2:
            records.finish(records.summary())
        if renamed:
            os.renames(run_dir, tmp_path / "runs" / renamed)
            run_dir = str(tmp_path / "runs" / renamed)
        return run_dir

    return make


def test_one_run_prints_its_scores_and_its_steps(make_run, capsys):
    assert main([make_run("one")]) == 0
    printed = capsys.readouterr().out
    assert "IL-Baseline  Softmax   100.00" in printed
    assert "step  classes  images" in printed


@pytest.mark.parametrize("form", ["csv", "latex"])
def test_tables_for_programs_take_no_scores_in_text(make_run, capsys, form):
    assert main([make_run("one"), "--scores", f"--format={form}"]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert "Omit --scores, or use --format=text or markdown" in printed.err


def test_a_report_of_many_runs_tells_how_far_it_is(make_run, tmp_path, capsys):
    runs = [make_run("one"), make_run("two", seed=2)]
    assert main([*runs, f"--output={tmp_path / 'out'}"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "figures of 1 of 2 runs",
        "figures of 2 of 2 runs",
    ]


def test_latex_is_a_table_with_its_characters_escaped(make_run, capsys):
    runs = [make_run("one"), make_run("two", seed=2)]
    assert main([*runs, "--format=latex"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("% data set digits")
    assert lines[1:3] == [r"\begin{tabular}{llrrrrrrr}", r"\toprule"]
    assert lines[5].startswith(r"IL-Baseline & Softmax & 100.00 $\pm$ 0.00 & ")
    assert lines[5].endswith(r" & 2 \\")
    assert lines[6:] == [r"\bottomrule", r"\end{tabular}"]


def test_a_run_given_twice_counts_once(make_run, capsys):
    run_dir = make_run("one")
    assert main([run_dir, run_dir + "/", "--format=markdown"]) == 0
    assert "| 100.00 | 0.00 | 1 |" in capsys.readouterr().out


def test_output_holds_the_table_and_the_figures(make_run, tmp_path, capsys):
    """A run called `groups` has a figure beside that of the groups of classes."""
    runs = [make_run("one"), make_run("groups", classification_loss="balanced_softmax")]
    output = tmp_path / "report"
    assert main([*runs, f"--output={output}"]) == 0
    names = sorted(path.name for path in output.iterdir())
    assert names == [
        "accuracy-groups.png",
        "accuracy-one.png",
        "accuracy.png",
        "accuracy_groups.png",
        "confusion-groups.png",
        "confusion-one.png",
        "confusion_shares-groups.png",
        "confusion_shares-one.png",
        "report.html",
        "table.csv",
        "table.md",
    ]
    assert "| IL-Baseline | Balanced Softmax |" in (output / "table.md").read_text()
    assert all(str(output / name) in capsys.readouterr().out for name in names[:1])


def test_what_is_gone_from_a_run_leaves_out_its_figure_alone(make_run, tmp_path):
    run_dir = make_run("one")
    os.unlink(os.path.join(run_dir, "confusion.npy"))
    assert main([run_dir, f"--output={tmp_path / 'out'}"]) == 0
    assert sorted(os.listdir(tmp_path / "out")) == [
        "accuracy-one.png",
        "report.html",
        "table.csv",
        "table.md",
    ]


def test_runs_of_the_same_name_keep_their_own_figures(make_run, tmp_path):
    runs = [make_run("a/seed1"), make_run("b/seed1", seed=2)]
    main([*runs, f"--output={tmp_path / 'report'}"])
    assert (tmp_path / "report/confusion-a_seed1.png").exists()
    assert (tmp_path / "report/confusion-b_seed1.png").exists()


def test_an_unfinished_run_is_reported_as_such(make_run, capsys):
    assert main([make_run("half", num_steps=1)]) == 0
    assert "not complete" in capsys.readouterr().out


def test_a_run_without_a_finished_step_gets_no_empty_table(make_run, capsys):
    assert main([make_run("begun", num_steps=0)]) == 0
    shown = capsys.readouterr().out.strip()
    assert shown.startswith("Left out, not complete")
    assert "\n" not in shown


def test_every_folder_that_is_no_run_is_named_and_nothing_written(tmp_path, capsys):
    output = tmp_path / "report"
    wrong = [str(tmp_path / "no"), str(tmp_path / "neither")]
    assert main([*wrong, f"--output={output}"]) == 2
    message = capsys.readouterr().err
    assert all(f"{run_dir} is not a run folder" in message for run_dir in wrong)
    assert not output.exists()


def test_output_must_not_be_a_file(make_run, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert main([make_run("one"), f"--output={tmp_path / 'file'}"]) == 2
    assert "must name a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "name",
    [
        "price_$5_and_$6",
        r"cost$\frac$x",
        os.fsdecode(b"caf\xe9"),
        "a\nb\x1b[2Jc",
        "\u2028",
    ],
)
def test_a_report_is_written_whatever_the_folder_is_called(
    make_run, tmp_path, name, capsys
):
    # Without a summary the folder is named below the table too.
    runs = [
        make_run("1", renamed=f"{name}/1"),
        make_run("2", num_steps=1, renamed=f"{name}/2", seed=2),
    ]
    output = tmp_path / "out" / name
    assert main([*runs, f"--output={output}"]) == 0
    assert (output / "report.html").read_text("utf-8")
    printed = capsys.readouterr().out
    wrote = [line for line in printed.splitlines() if line.startswith("wrote ")]
    assert len(wrote) == len(os.listdir(output))
    assert "\x1b" not in printed
    printed.encode("utf-8")


def test_a_damaged_run_is_named_and_the_others_are_reported(make_run, tmp_path, capsys):
    bad = make_run("bad", renamed="bad\n", seed=2)
    os.truncate(os.path.join(bad, "confusion.npy"), 100)
    output = tmp_path / "out"
    assert main([make_run("good"), bad, f"--output={output}"]) == 2
    printed = capsys.readouterr()
    assert "IL-Baseline  Softmax   100.00" in printed.out
    assert r"runs/bad\n/confusion.npy is damaged" in printed.err
    assert (output / "confusion-good.png").exists()


def test_no_run_folder_is_a_wrong_request(capsys):
    assert main([]) == 2
    assert "RUN_DIR" in capsys.readouterr().err


def test_figures_of_every_run_have_names_of_their_own(tmp_path):
    """Two of these folders are called `a_b_c` once their parts are joined."""
    folders = [str(tmp_path / name) for name in ("a_b/c", "a/b_c", "z/c")]
    runs = [types.SimpleNamespace(run_dir=folder) for folder in folders]
    assert [run.run_dir for run in _names(runs).values()] == folders
