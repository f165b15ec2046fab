"""Runs on other images are not averaged, though all of their flags agree."""

import json
import pathlib

import pytest

from bsce_keras.records.run_records import read_run
from bsce_keras.reports.groups import group_runs
from bsce_keras.reports.tables import text_table


@pytest.fixture
def run_on(make_run):
    """Function from a digest of training images and a seed to a `RunResult`."""

    def run_on(digest, seed):
        run_dir = make_run(seed=seed).run_dir
        classes = [{"name": "a", "train_sha256": digest}]
        pathlib.Path(run_dir, "data.json").write_text(json.dumps({"classes": classes}))
        return read_run(run_dir)

    return run_on


def test_runs_on_other_images_have_rows_of_their_own(run_on):
    runs = [run_on("before", 1), run_on("after", 2), run_on("before", 3)]
    table = text_table(runs)
    lines = [line for line in table.splitlines() if line.startswith("Fine-tuning")]
    assert [line.split()[-1] for line in lines] == ["2", "1"]
    assert "images of" in lines[0]
    assert lines[0] != lines[1]


def test_the_same_seed_on_other_images_is_no_repeated_run(run_on, make_run, tmp_path):
    first = run_on("before", 1)
    pathlib.Path(first.run_dir).rename(tmp_path / "first")
    runs = [read_run(tmp_path / "first"), run_on("after", 1)]
    assert "the same configuration and seed" not in text_table(runs)


def test_a_run_without_a_record_of_its_images_joins_the_seeds_of_others(
    run_on, make_run
):
    runs = [make_run(seed=1), run_on("before", 2), run_on("before", 3)]
    assert [len(group.runs) for group in group_runs(runs)] == [3]
