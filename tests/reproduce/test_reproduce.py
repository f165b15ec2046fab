"""The command `reproduce`: resuming, refusals and the table."""

import json
import os
import pathlib
import sys
import types

import numpy as np
import pytest

from bsce_keras import reproduce
from bsce_keras.runtime.errors import RequestError
from tests.reproduce.matrix import (
    BALANCED,
    TINY,
    folders,
    rows_of_results,
    write_flagfiles,
    write_run,
)

ROOT = pathlib.Path(reproduce.__file__).parents[1]


def test_a_matrix_shares_its_base_step_survives_a_failure_and_resumes(
    capfd, monkeypatch
):
    """Only this test of the module trains."""
    paths = write_flagfiles(
        softmax=TINY,
        wild=TINY + "--learning_rate=1e30\n",
        balanced=TINY + BALANCED,
    )
    assert reproduce.main([*paths, "--precision=float32"]) == 1
    output = capfd.readouterr()
    assert "tiny/wild.flags, seed 1 failed: Training stopped in step 0" in output.err
    assert "1 of 3 cells failed" in output.err
    soft, balanced = (
        pathlib.Path(f"runs/reproduce/scale_1.0/tiny/{name}/seed_1")
        for name in ("softmax", "balanced")
    )
    config = json.loads((balanced / "config.json").read_text())
    assert config["base_run_dir"] == str(soft)
    base_lines = [
        (folder / "steps.jsonl").read_text().splitlines()[0]
        for folder in (soft, balanced)
    ]
    assert base_lines[0] == base_lines[1]
    ours, theirs = (
        np.load(folder / "checkpoints/step_00.npz") for folder in (balanced, soft)
    )
    for name in theirs.files:
        np.testing.assert_array_equal(ours[name], theirs[name])
    # The failed cell has an empty row.
    gap = next(row for row in rows_of_results() if "e+30" in row)
    assert gap.endswith("| - | - | - | - | - | - | 0 of 1 |")
    assert "float32" in pathlib.Path("runs/reproduce/results.md").read_text()

    def no_tensorflow():
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr(reproduce, "import_keras", no_tensorflow)
    assert reproduce.main([paths[0], paths[2], "--precision=float32"]) == 0
    assert "all 2 cells are finished" in capfd.readouterr().out


def test_an_interrupted_matrix_continues_and_keeps_finished_cells(
    trained, monkeypatch, capsys
):
    paths = write_flagfiles(one=TINY, two=TINY + BALANCED)
    whole = sys.modules["bsce_keras.experiment"].run_experiment

    def killed_at_two(config, flagfile):
        if "two" in config.run_dir:
            raise KeyboardInterrupt
        whole(config, flagfile)

    monkeypatch.setattr(
        sys.modules["bsce_keras.experiment"], "run_experiment", killed_at_two
    )
    assert reproduce.main([*paths, "--seeds=1,2"]) == 130
    assert folders(trained) == ["scale_1.0/tiny/one/seed_1"]
    # The table holds the results so far.
    assert any("1 of 2" in row for row in rows_of_results())
    monkeypatch.setattr(sys.modules["bsce_keras.experiment"], "run_experiment", whole)
    assert reproduce.main([*paths, "--seeds=1,2"]) == 0
    assert folders(trained[1:]) == [
        "scale_1.0/tiny/two/seed_1",
        "scale_1.0/tiny/one/seed_2",
        "scale_1.0/tiny/two/seed_2",
    ]
    assert [line.rsplit("| ", 1)[1] for line in rows_of_results()[2:]] == ["2 |"] * 2


def test_results_keep_the_cells_of_earlier_commands(trained, capsys):
    """The table that is printed has the cells of the command only."""
    paths = write_flagfiles(one=TINY, two=TINY + BALANCED)
    assert reproduce.main([*paths, "--seeds=1,2"]) == 0
    results = pathlib.Path("runs/reproduce/results.json")
    before = json.loads(results.read_text())
    capsys.readouterr()
    assert reproduce.main([paths[1], f"--runs_dir={results.absolute().parent}"]) == 0
    assert [line.rsplit("| ", 1)[1] for line in rows_of_results()[2:]] == ["2 |"] * 2
    rows = json.loads(results.read_text())["rows"]
    assert sorted(map(str, rows)) == sorted(map(str, before["rows"]))
    printed = capsys.readouterr().out
    assert "the cell is finished; to train anew" in printed
    assert "Balanced Softmax" in printed and "IL-Baseline  Softmax" not in printed


def test_every_cell_prints_the_progress_of_the_matrix(trained, capsys):
    other = "--exemplars_per_class=10\n--weight_decay=1e-3\n"
    paths = write_flagfiles(one=TINY, two=TINY + other, three=TINY + BALANCED)
    assert reproduce.main(paths) == 0
    lines = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("cell")
    ]
    assert lines == [
        "cell 1 of 3: tiny/one.flags, seed 1; finished 0; time left unknown",
        # 120 s for 1340 images; left are 1380 of the second and, its base step being
        # there, 300 of the third.
        "cell 2 of 3: tiny/two.flags, seed 1; finished 1; about 2:30 left",
        "cell 3 of 3: tiny/three.flags, seed 1; finished 2; about 0:27 left",
    ]


def test_a_matrix_may_grow_at_the_front(trained):
    """Begun cells keep their base step, and new cells share it."""
    soft, balanced, late = write_flagfiles(
        softmax=TINY, balanced=TINY + BALANCED, late=TINY + "--num_increments=2\n"
    )
    assert reproduce.main([balanced]) == 0
    assert reproduce.main([soft, balanced]) == 0
    assert reproduce.main([late, soft]) == 0
    bases = [config.base_run_dir for config in trained]
    folder = "runs/reproduce/scale_1.0/tiny/{}/seed_1"
    assert bases == [None, folder.format("balanced"), folder.format("softmax")]


def test_a_finished_cell_goes_on_when_its_stream_has_grown(trained, capsys):
    """Its summary.json is that of the shorter run."""

    def add(names):
        for name in names:
            for split in ("train", "test"):
                os.makedirs(f"photos/{split}/{name}")
                pathlib.Path(f"photos/{split}/{name}/1.png").touch()

    flags = "--dataset=folder\n--data_dir=photos\n--num_increments="
    add("abcd")
    assert reproduce.main(write_flagfiles(photos=f"{flags}1\n")) == 0
    add("ef")
    paths = write_flagfiles(photos=f"{flags}2\n")
    assert reproduce.main(paths) == 0
    assert [config.stream.increments for config in trained] == [(2,), (2, 2)]
    assert reproduce.main(paths) == 0
    assert "the cell is finished" in capsys.readouterr().out


def test_a_cell_that_another_process_finishes_meanwhile_has_not_failed(
    monkeypatch, capsys
):
    paths = write_flagfiles(one=TINY, two=TINY + BALANCED)
    refused = []

    def run_experiment(config, flagfile):
        if "one" in config.run_dir:
            refused.append(config)
            raise RequestError(
                f"{config.run_dir} is in use by process 7. Wait for it, stop it, or "
                "use another --run_dir."
            )
        write_run(refused[0])
        write_run(config)

    experiment = types.SimpleNamespace(run_experiment=run_experiment)
    monkeypatch.setitem(sys.modules, "bsce_keras.experiment", experiment)
    assert reproduce.main([*paths, "--noshare_base_steps"]) == 0
    assert "or use another --runs_dir." in capsys.readouterr().err
    results = pathlib.Path("runs/reproduce/results.json").read_text()
    assert [cell["error"] for cell in json.loads(results)["cells"]] == [None, None]
    assert "Failed" not in pathlib.Path("runs/reproduce/results.md").read_text()


def test_two_scales_never_share_a_folder(trained):
    paths = write_flagfiles(one=TINY.replace("--epochs=1\n", ""))
    assert reproduce.main(paths) == 0
    assert reproduce.main([*paths, "--schedule_scale=0.5"]) == 0
    assert folders(trained) == [
        "scale_1.0/tiny/one/seed_1",
        "scale_0.5/tiny/one/seed_1",
    ]
    assert [config.training.epochs for config in trained] == [16, 8]


def test_flags_for_every_cell_win_over_the_flagfile_and_repeat_with_it(trained):
    paths = write_flagfiles(one=TINY + "--precision=float32\n--export\n")
    assert reproduce.main([*paths, "--precision=mixed_bfloat16"]) == 0
    [config] = trained
    assert (config.training.precision, config.export) == ("mixed_bfloat16", False)
    text = pathlib.Path(config.run_dir, "flagfile.flags").read_text().splitlines()
    assert {"--precision=mixed_bfloat16", "--seed=1", "--dataset=digits"} < set(text)


def test_a_flagfile_given_twice_is_one_cell(trained):
    [path] = write_flagfiles(one=TINY)
    assert reproduce.main([path, f"./{path}"]) == 0
    assert len(trained) == 1


def test_the_table_holds_the_paper_s_number_and_the_measured_mean(
    trained, tmp_path, capsys
):
    version = tmp_path / "tfds/cifar100/3.0.2"
    version.mkdir(parents=True)
    (version / "dataset_info.json").write_text('{"splits": []}')
    (version / "features.json").write_text("{}")
    (version / "label.labels.txt").write_text("\n".join(map(str, range(100))))
    flags = str(ROOT / "flags/cifar100_5steps/il_baseline_bsce.flags")
    command = [flags, "--seeds=1,2", "--data_dir=tfds", "--schedule_scale=0.04"]
    assert reproduce.main(command) == 0
    head, _, row = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in rows_of_results()
    )
    told = dict(zip(head, row, strict=True))
    assert told["average"] == "100.00 ± 0.00"
    assert told["average (paper, scale 1)"] == "62.22"
    assert told["final (paper, scale 1)"] == "54.55"
    assert "old (paper, scale 1)" not in told
    assert told["runs"] == "2"
    assert "classes 50 + 5 x 10, scale 0.04" in capsys.readouterr().out
    [row] = json.loads(pathlib.Path("runs/reproduce/results.json").read_text())["rows"]
    assert row["average_incremental_accuracy"] == {"mean": 1, "standard_deviation": 0}
    assert row["paper_average_incremental_accuracy"] == 0.6222
    assert (row["schedule_scale"], row["paper_schedule_scale"]) == (0.04, 1.0)


def test_problems_of_all_cells_are_reported_together(capsys, tmp_path):
    paths = write_flagfiles(
        unknown=TINY + "--epoch=3\n",
        wrong=TINY + "--alpha=2\n",
        wrong_too=TINY + "--alpha=2\n",
        seeded=TINY + "--seed=4\n",
    )
    before = sorted(tmp_path.rglob("*"))
    command = [*paths, "tiny/none.flags", "--seeds=1,1", "--precison=float32"]
    assert reproduce.main(command) == 2
    lines = capsys.readouterr().err.splitlines()
    for fragment in (
        "Unknown flag --precison. Did you mean --precision?",
        "--seeds must be different whole numbers",
        "tiny/unknown.flags: Unknown flag --epoch. Did you mean --epochs",
        "tiny/wrong.flags, tiny/wrong_too.flags: --alpha=2.0 has no effect",
        "tiny/seeded.flags: --seed follows from --seeds",
        "tiny/none.flags is neither a flagfile nor a recipe.",
    ):
        assert len([line for line in lines if fragment in line]) == 1, fragment
    assert len(lines) == 7
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("seeds", ["", "1,", "1;2", "-1", "1,01"])
def test_equal_or_broken_seeds_are_refused(seeds, capsys):
    paths = write_flagfiles(one=TINY)
    assert reproduce.main([*paths, f"--seeds={seeds}"]) == 2
    assert f"Received: {seeds!r}" in capsys.readouterr().err


def test_flagfiles_that_would_share_a_folder_are_refused(capsys):
    paths = write_flagfiles(one=TINY)
    os.makedirs("other/tiny")
    pathlib.Path("other/tiny/one.flags").write_text(TINY)
    assert reproduce.main([*paths, "other/tiny/one.flags", "--seeds=1,2"]) == 2
    error = capsys.readouterr().err
    assert error.count("tiny/one.flags has the same folder") == 1


def test_a_runs_dir_that_is_a_file_is_one_problem(capsys):
    paths = write_flagfiles(one=TINY, two=TINY + BALANCED)
    pathlib.Path("runs").touch()
    assert reproduce.main(paths) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "--runs_dir=runs/reproduce" in lines[0]


def test_a_folder_of_another_configuration_is_refused_before_training(trained, capsys):
    [path] = write_flagfiles(one=TINY)
    assert reproduce.main([path]) == 0
    write_flagfiles(one=TINY + "--learning_rate=0.5\n")
    assert reproduce.main([path]) == 2
    error = capsys.readouterr().err
    assert "--learning_rate" in error and "another --runs_dir" in error
    assert len(trained) == 1


def test_a_wrong_matrix_does_not_import_tensorflow(run_python):
    [path] = write_flagfiles(one=TINY + "--alpha=2\n")
    code = f"""
import sys
from bsce_keras import reproduce
assert reproduce.main(["--help"]) == 0
assert reproduce.main([{path!r}]) == 2
heavy = {{"tensorflow", "keras", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""
    run_python(code)
