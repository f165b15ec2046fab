"""Checkpoints of another run are refused by name, and nothing is written."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

from bsce_keras.records.base_step import load_base_step
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.run_folder import RunFolder
from bsce_keras.records.run_identity import begin_run
from bsce_keras.runtime.errors import RequestError

PROGRESS = "step_02_main_epoch_0003"


def numbered(number):
    return {"weights/0000": np.full(3, number)}, {"number": number}


@pytest.fixture
def begin(make_config):
    """A function from a seed to the folder of a run in the middle of step 2."""

    def begin(seed, **fields):
        config = make_config(seed=seed, **fields)
        begin_run(config.run_dir, config, num_replicas=1)
        checkpoints = Checkpoints(config.run_dir)
        for step in (0, 1):
            checkpoints.save_step(step, *numbered(10 * seed + step))
        checkpoints.save_state(1, numbered(seed)[0])
        checkpoints.save_progress(2, "main", 3, *numbered(10 * seed + 2))
        return pathlib.Path(config.run_dir)

    return begin


def copy_checkpoint(source, target, name):
    for ending in ("json", "npz"):
        file = f"checkpoints/{name}.{ending}"
        shutil.copy(source / file, target / file)


def contents(run_dir):
    return {
        path: path.read_bytes()
        for path in run_dir.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def enter(config):
    from bsce_keras.runtime.devices import Runtime

    with RunFolder(config, Runtime()):
        pass


@pytest.mark.parametrize("name", ["step_00", "step_01", "step_01_state", PROGRESS])
def test_a_checkpoint_of_another_run_is_named_and_refused(begin, make_config, name):
    ours, theirs = begin(1), begin(2)
    copy_checkpoint(theirs, ours, name)
    before = contents(ours)
    with pytest.raises(RequestError, match=rf"checkpoints/{name} is of run") as refusal:
        enter(make_config(seed=1))
    assert "Nothing was changed" in str(refusal.value)
    assert contents(ours) == before


def test_a_checkpoint_of_a_repetition_of_the_same_command_is_refused(
    begin, make_config, tmp_path
):
    ours, repetition = begin(1), begin(1, run_dir=tmp_path / "repetition")
    copy_checkpoint(repetition, ours, "step_01")
    with pytest.raises(RequestError, match="step_01 is of run"):
        enter(make_config(seed=1))


def test_an_edited_config_does_not_take_over_checkpoints(begin, make_config):
    run_dir = begin(1)
    edited = json.loads((run_dir / "config.json").read_text())
    edited["training"]["seed"] = 2
    (run_dir / "config.json").write_text(json.dumps(edited))
    with pytest.raises(RequestError, match="step_00 was trained with another config"):
        enter(make_config(seed=2, run_dir=run_dir))


def test_a_step_that_does_not_follow_the_one_before_is_refused(begin, tmp_path):
    run_dir = begin(1)
    shutil.copytree(run_dir, tmp_path / "twin")
    Checkpoints(tmp_path / "twin").save_step(0, *numbered(5))
    copy_checkpoint(tmp_path / "twin", run_dir, "step_00")
    with pytest.raises(RequestError, match="step_01 does not follow the step_00"):
        Checkpoints(run_dir).refuse_strangers()


def test_a_step_follows_one_that_is_lost_or_was_damaged_meanwhile(begin):
    run_dir = begin(1)
    manifest = run_dir / "checkpoints/step_01.json"
    undamaged = manifest.read_bytes()
    checkpoints = Checkpoints(run_dir)
    checkpoints.finished_states()
    manifest.write_bytes(b"{")
    checkpoints.save_step(2, *numbered(12))
    checkpoints.refuse_strangers()
    # From a copy: the checkpoint of step 2 does not know its checksum.
    manifest.write_bytes(undamaged)
    checkpoints.refuse_strangers()
    (run_dir / "checkpoints/step_00.json").unlink()
    checkpoints.refuse_strangers()


def test_a_checkpoint_that_names_no_run_is_refused_by_a_run(begin, tmp_path):
    """Without config.json, neither folder nor checkpoints name a run."""
    nameless = Checkpoints(tmp_path / "nameless")
    nameless.save_step(0, *numbered(0))
    nameless.refuse_strangers()
    run_dir = begin(1)
    copy_checkpoint(tmp_path / "nameless", run_dir, "step_00")
    with pytest.raises(RequestError, match="checkpoints/step_00 is of run None"):
        Checkpoints(run_dir).refuse_strangers()


def test_a_renamed_folder_goes_on(begin, make_config, tmp_path):
    renamed = begin(1).rename(tmp_path / "renamed")
    enter(make_config(seed=1, run_dir=renamed))


def test_a_run_that_grew_keeps_its_checkpoints(begin, make_config):
    run_dir = begin(1)
    config = make_config(seed=1)
    stream = config.stream
    longer = dataclasses.replace(
        stream,
        class_names=(*stream.class_names, "e"),
        order=(*stream.order, 4),
        increments=(*stream.increments, 1),
    )
    config = dataclasses.replace(config, stream=longer)
    begin_run(run_dir, config, num_replicas=1)
    Checkpoints(run_dir).save_step(2, *numbered(12))
    enter(config)
    assert len(Checkpoints(run_dir).finished_states()) == 3


def test_a_step_trained_again_after_damage_is_of_the_run(begin):
    run_dir = begin(1)
    (run_dir / "checkpoints/step_01.npz").write_bytes(b"")
    checkpoints = Checkpoints(run_dir)
    assert len(checkpoints.finished_states()) == 1
    checkpoints.save_step(1, *numbered(99))
    checkpoints.refuse_strangers()


def test_a_base_step_of_another_run_is_saved_as_the_own(begin, make_config, tmp_path):
    config = make_config(seed=1, run_dir=tmp_path / "new")
    begin_run(config.run_dir, config, num_replicas=1)
    base_step = Checkpoints(begin(1)).load_step(0)
    Checkpoints(config.run_dir).save_step(0, *base_step)
    Checkpoints(config.run_dir).refuse_strangers()


def take_base_step(config, run_dir):
    new = {"run_dir": f"{run_dir}_new", "base_run_dir": str(run_dir)}
    load_base_step(dataclasses.replace(config, **new), step=None)


def load_network(config, run_dir):
    from bsce_keras import load_classifier

    load_classifier(run_dir)


def forget(config, run_dir):
    from bsce_keras.forgetting import _FinishedRun

    _FinishedRun(config, runtime=None)


@pytest.mark.parametrize("read", [take_base_step, load_network, forget])
def test_every_reader_refuses_a_checkpoint_of_another_run(read, begin, make_config):
    """Without it, they would take the weights of the other run."""
    ours = begin(1)
    copy_checkpoint(begin(2), ours, "step_00")
    (ours / "steps.jsonl").touch()
    with pytest.raises(RequestError, match="checkpoints/step_00 is of run"):
        read(make_config(seed=1), ours)
