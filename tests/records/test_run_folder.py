"""A run folder is locked, keeps finished steps, and is complete only at the end."""

import dataclasses
import json

import numpy as np
import pytest

from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.run_folder import RunFolder
from bsce_keras.runtime.devices import Runtime
from bsce_keras.runtime.errors import RequestError, RunError


@pytest.fixture
def open_folder(make_config):
    """Function from fields of the config to its `RunFolder`."""

    def open_folder(**fields):
        return RunFolder(dataclasses.replace(make_config(), **fields), Runtime())

    return open_folder


@pytest.fixture
def run_dir(make_config, tmp_path):
    return tmp_path / make_config().run_dir


@pytest.fixture
def with_base_step(open_folder, stream_of, photos, make_record):
    """Folder whose step 0 is finished."""
    with open_folder() as run:
        run.begin(stream_of(photos))
        run.finish_step(make_record(0), {"weights": np.arange(3)})


def test_a_folder_is_refused_while_another_run_holds_it(open_folder):
    with open_folder(), pytest.raises(RequestError, match="is in use by process"):
        open_folder().__enter__()
    with open_folder():
        pass


def test_a_refused_run_leaves_no_folder(open_folder, stream_of, photos, run_dir):
    photos["train"]["dog"] = []
    refused = pytest.raises(RequestError, match="needs a training image")
    with open_folder() as run, refused:
        run.begin(stream_of(photos))
    assert not run_dir.exists()


def test_classes_with_few_or_no_images_are_named_when_a_run_begins(
    open_folder, stream_of, photos, caplog
):
    photos["test"]["dog"] = []
    with open_folder() as run:
        run.begin(stream_of(photos))
    few, below_quota, unscored = caplog.messages
    assert few.startswith("Fewer than 5 training images are too few")
    assert "fewer training images than their quota of exemplars" in below_quota
    assert unscored == (
        "Classes without images to score, left out of every accuracy: dog."
    )


@pytest.mark.parametrize(("flagfile", "times"), [("--seed=1\n", 1), ("", 0)])
def test_a_base_step_without_flags_does_not_ask_for_more_increments(
    open_folder, stream_of, photos, capsys, flagfile, times
):
    """`tune` trains the base step of its trials without a flagfile."""
    stream = stream_of(photos)
    base = ClassIncrementalStream(dataclasses.replace(stream.config, increments=()))
    with open_folder(stream=base.config) as run:
        run.begin(base, flagfile)
    assert capsys.readouterr().out.count("Classes without a step: cow, dog.") == times


@pytest.mark.usefixtures("with_base_step")
def test_a_finished_step_and_its_arrays_are_there_in_the_next_process(
    open_folder, stream_of, photos
):
    stream = stream_of(photos)
    with open_folder() as run:
        run.begin(stream)
        step, arrays = run.last_finished(stream.steps)
        assert [step.index for step in run.unfinished(stream.steps)] == [1, 2]
    assert step.index == 0
    np.testing.assert_array_equal(arrays["weights"], [0, 1, 2])


@pytest.mark.usefixtures("with_base_step")
def test_progress_of_a_finished_step_is_dropped_when_the_run_goes_on(
    open_folder, stream_of, photos, run_dir
):
    """A kill right after the save of the step leaves it."""
    left = Checkpoints(run_dir)
    left.save_progress(0, "main", 1, {"weights": np.arange(3)}, {"number": 1})
    assert Checkpoints(run_dir).load_progress(0, "main")
    stream = stream_of(photos)
    with open_folder() as run:
        run.begin(stream)
        run.last_finished(stream.steps)
    assert Checkpoints(run_dir).load_progress(0, "main") is None


@pytest.mark.usefixtures("with_base_step")
def test_noresume_keeps_checkpoints_and_names_another_folder_as_way_out(
    open_folder, run_dir
):
    before = sorted(path.name for path in (run_dir / "checkpoints").iterdir())
    with pytest.raises(RequestError) as refusal:
        open_folder(resume=False).__enter__()
    assert "use another --run_dir" in str(refusal.value)
    assert "elete" not in str(refusal.value)
    assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == before


@pytest.mark.usefixtures("with_base_step")
def test_the_summary_appears_after_the_report(
    open_folder, stream_of, photos, make_record, run_dir
):
    there = []

    def write_report(folder, summary):
        there.append((folder / "summary.json").exists())

    with open_folder() as run:
        run.begin(stream_of(photos))
        for step in (1, 2):
            run.finish_step(make_record(step), {})
        summary = run.finish(write_report)
    assert there == [False]
    assert json.loads((run_dir / "summary.json").read_text()) == summary
    assert json.loads((run_dir / "versions.json").read_text())["ended"]


def test_a_folder_that_was_moved_is_neither_written_nor_completed(
    open_folder, stream_of, photos, run_dir
):
    with open_folder() as run:
        run.begin(stream_of(photos))
        run_dir.rename(run_dir.with_name("moved"))
        for action in (lambda: run.on_chief(print), lambda: run.finish(print)):
            with pytest.raises(RunError, match="was moved to"):
                action()
    assert not run_dir.exists()
