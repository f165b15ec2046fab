"""A run folder that is moved while it is trained is noticed at the next save."""

import os

import pytest

from bsce_keras import train
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.run_folder import refuse_moved, run_lock
from bsce_keras.records.run_records import read_run
from bsce_keras.runtime.errors import RunError


def flags(run_dir):
    return [
        *("--dataset=digits", "--num_base_classes=8", "--num_increments=2"),
        *("--epochs=1", "--batch_size=512", "--precision=float32", "--noexport"),
        *("--backbone=resnet8", f"--run_dir={run_dir}"),
    ]


@pytest.mark.slow
def test_a_run_whose_folder_moves_stops_and_goes_on_there(
    tmp_path, monkeypatch, capsys
):
    old, new = tmp_path / "a", tmp_path / "b"
    save_step = Checkpoints.save_step

    def move_at_step_1(self, step, *saved):
        if step == 1 and old.exists():
            old.rename(new)
        save_step(self, step, *saved)

    monkeypatch.setattr(Checkpoints, "save_step", move_at_step_1)
    assert train.main(flags(old)) == 1
    message = capsys.readouterr().err
    assert f"{old} was moved to {new}" in message
    assert f"--run_dir={new} goes on there" in message
    assert not old.exists()
    assert len((new / "steps.jsonl").read_text().splitlines()) == 1
    assert train.main(flags(new)) == 0
    assert "continues with step 1" in capsys.readouterr().out
    assert len(read_run(str(new)).steps) == 3


@pytest.mark.parametrize("replaced", [False, True])
def test_a_moved_folder_is_told_from_another_of_its_name(tmp_path, replaced):
    run_dir = tmp_path / "a"
    with run_lock(run_dir) as lock:
        refuse_moved(run_dir, lock)
        run_dir.rename(tmp_path / "b")
        if replaced:
            run_dir.mkdir()
            (run_dir / ".lock").touch()
        with pytest.raises(RunError, match=f"moved to {tmp_path / 'b'} while"):
            refuse_moved(run_dir, lock)


def test_a_removed_folder_is_told_and_not_made_again(tmp_path):
    run_dir = tmp_path / "a"
    with run_lock(run_dir) as lock:
        os.unlink(run_dir / ".lock")
        checkpoints = Checkpoints(run_dir, lambda: refuse_moved(run_dir, lock))
        with pytest.raises(RunError, match="moved or removed"):
            checkpoints.save_step(0, {}, {})
        assert not (run_dir / "checkpoints").exists()
