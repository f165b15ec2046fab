"""Checkpoints are loaded as a whole, or the previous one is loaded."""

import contextlib
import os
import pathlib

import numpy as np
import pytest

from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.array_files import pack, unpack

ARRAYS = {
    "weights/0000": np.arange(6, dtype=np.float32).reshape(2, 3),
    "images": np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1),
    "counts": np.zeros(0, np.int64),
}
STATE = {"step": 2, "alpha": 0.75, "history": [0.5, None], "name": "Käfer"}


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path)


def assert_is(loaded, number, state=STATE):
    """Asserts that a loaded checkpoint is that of `numbered`, bit for bit."""
    arrays, loaded_state = loaded
    assert loaded_state == {**state, "number": number}
    assert arrays.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        assert arrays[name].dtype == values.dtype
        np.testing.assert_array_equal(arrays[name], values)


def numbered(number):
    return ARRAYS, {**STATE, "number": number}


def flip_byte(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def names(checkpoints):
    return sorted(os.listdir(checkpoints.folder))


def test_saved_arrays_and_state_are_loaded_by_a_new_object(checkpoints, tmp_path):
    checkpoints.save_step(0, *numbered(0))
    checkpoints.save_progress(3, "main", 7, *numbered(1))
    reopened = Checkpoints(tmp_path)
    assert_is(reopened.load_step(0), 0)
    assert_is(reopened.load_progress(3, "main"), 1)


def test_an_empty_folder_loads_nothing(checkpoints):
    assert checkpoints.load_step(0) is None
    assert checkpoints.load_progress(0, "main") is None
    assert checkpoints.finished_states() == []


def test_progress_keeps_the_two_latest_and_loads_the_last(checkpoints):
    for epoch in (8, 9, 10, 11):
        checkpoints.save_progress(1, "main", epoch, *numbered(epoch))
    kept = [
        f"step_01_main_epoch_00{epoch}.{e}"
        for epoch in (10, 11)
        for e in ("json", "npz")
    ]
    assert names(checkpoints) == kept
    assert_is(checkpoints.load_progress(1, "main"), 11)


def test_saves_within_an_epoch_do_not_replace_each_other(checkpoints, tmp_path):
    for updates in (0, 12, 24):
        checkpoints.save_progress(1, "main", 5, *numbered(updates), updates)
    folder = tmp_path / "checkpoints"
    flip_byte(folder / "step_01_main_epoch_0005_update_000024.npz", 80)
    assert_is(checkpoints.load_progress(1, "main"), 12)
    # What follows the save that training went on from is removed.
    checkpoints.save_progress(1, "main", 5, *numbered(20), 20)
    assert names(checkpoints)[-1] == "step_01_main_epoch_0005_update_000020.npz"


def test_a_step_has_begun_with_its_first_progress(checkpoints):
    assert checkpoints.num_begun_steps() == 0
    checkpoints.save_step(0, *numbered(0))
    assert checkpoints.num_begun_steps() == 1
    checkpoints.save_progress(1, "main", 1, *numbered(1))
    assert checkpoints.num_begun_steps() == 2


def test_a_folder_that_may_not_be_used_is_neither_written_nor_read(tmp_path):
    ours = Checkpoints(tmp_path)
    ours.save_state(0, ARRAYS)
    ours.save_progress(0, "main", 1, *numbered(1))
    before = names(ours)

    def refuse():
        raise OSError("moved")

    moved = Checkpoints(tmp_path, before_use=refuse)
    for use in (
        lambda: moved.save_progress(0, "main", 2, *numbered(2)),
        lambda: moved.load_progress(0, "main"),
        lambda: moved.load_state(0),
    ):
        with pytest.raises(OSError, match="moved"):
            use()
    assert names(ours) == before


def test_a_finished_step_replaces_its_progress_and_keeps_earlier_steps(checkpoints):
    checkpoints.save_step(0, *numbered(4))
    checkpoints.save_progress(1, "main", 5, *numbered(5))
    checkpoints.save_step(1, *numbered(7))
    assert checkpoints.load_progress(1, "main") is None
    assert_is(checkpoints.load_step(0), 4)
    assert_is(checkpoints.load_step(1), 7)


@pytest.mark.parametrize("position", [0, 80, -1])
def test_one_flipped_byte_of_the_arrays_falls_back_to_the_previous_save(
    checkpoints, tmp_path, caplog, position
):
    for epoch in (4, 5):
        checkpoints.save_progress(1, "main", epoch, *numbered(epoch))
    flip_byte(tmp_path / "checkpoints" / "step_01_main_epoch_0005.npz", position)
    assert_is(checkpoints.load_progress(1, "main"), 4)
    assert "step_01_main_epoch_0005" in caplog.text and "damaged" in caplog.text


@pytest.mark.parametrize(
    "in_state",
    [
        False,
        True,
    ],
)
def test_any_flipped_byte_of_the_manifest_falls_back_to_the_previous_save(
    checkpoints, tmp_path, in_state
):
    for epoch in (4, 5):
        checkpoints.save_progress(1, "main", epoch, *numbered(epoch))
    path = tmp_path / "checkpoints" / "step_01_main_epoch_0005.json"
    good = path.read_bytes()
    state = good.index(b'"state"') + len(b'"state"')
    for position in range(state, len(good)) if in_state else range(state):
        flip_byte(path, position)
        loaded = checkpoints.load_progress(1, "main")
        # An undetected flip must not change values.
        assert_is(loaded, 5 if loaded[1].get("number") == 5 else 4)
        path.write_bytes(good)


@pytest.mark.parametrize("ending", ["npz", "json"])
@pytest.mark.parametrize("length", [0, 40])
def test_a_truncated_file_falls_back_to_the_previous_save(
    checkpoints, tmp_path, ending, length
):
    for epoch in (4, 5):
        checkpoints.save_progress(1, "main", epoch, *numbered(epoch))
    path = tmp_path / "checkpoints" / f"step_01_main_epoch_0005.{ending}"
    path.write_bytes(path.read_bytes()[:length])
    assert_is(checkpoints.load_progress(1, "main"), 4)


def test_missing_arrays_fall_back_to_the_previous_save(checkpoints, tmp_path):
    for epoch in (4, 5):
        checkpoints.save_progress(1, "main", epoch, *numbered(epoch))
    (tmp_path / "checkpoints" / "step_01_main_epoch_0005.npz").unlink()
    assert_is(checkpoints.load_progress(1, "main"), 4)


def test_leftovers_of_a_crash_are_ignored(checkpoints, tmp_path):
    checkpoints.save_progress(1, "main", 4, *numbered(4))
    folder = tmp_path / "checkpoints"
    # Killed before the rename, and between the arrays and their manifest.
    (folder / "step_01_main_epoch_0005.json.tmp").write_text("{")
    (folder / "step_01_main_epoch_0006.npz").write_bytes(b"")
    (folder / "notes of somebody.txt").touch()
    assert_is(checkpoints.load_progress(1, "main"), 4)
    checkpoints.save_progress(1, "main", 6, *numbered(6))
    assert_is(checkpoints.load_progress(1, "main"), 6)


def test_a_crash_while_saving_keeps_the_previous_save(checkpoints, monkeypatch):
    checkpoints.save_progress(1, "main", 4, *numbered(4))
    original = os.replace

    def crash_at_manifest(source, target):
        if str(target).endswith(".json"):
            raise OSError("killed")
        original(source, target)

    monkeypatch.setattr(os, "replace", crash_at_manifest)
    with pytest.raises(OSError, match="killed"):
        checkpoints.save_progress(1, "main", 5, *numbered(5))
    assert_is(checkpoints.load_progress(1, "main"), 4)


def states(run_dir):
    """Returns the numbers of the finished steps that another process sees."""
    return [state["number"] for state in Checkpoints(run_dir).finished_states()]


def test_finished_states_end_with_the_last_undamaged_checkpoint(checkpoints, tmp_path):
    for step in range(4):
        checkpoints.save_step(step, *numbered(step))
    folder = tmp_path / "checkpoints"
    assert states(tmp_path) == [0, 1, 2, 3]
    flip_byte(folder / "step_03.npz", 80)
    assert states(tmp_path) == [0, 1, 2]
    # Damage to older checkpoints does not affect later steps.
    flip_byte(folder / "step_00.json", 10)
    (folder / "step_01.json").unlink()
    assert states(tmp_path) == [0, 1, 2]
    flip_byte(folder / "step_02.json", 10)
    assert states(tmp_path) == []


def test_a_checkpoint_lost_during_training_does_not_stop_the_next_step(
    checkpoints, tmp_path
):
    for step in range(2):
        checkpoints.save_step(step, *numbered(step))
    flip_byte(tmp_path / "checkpoints" / "step_01.npz", 80)
    checkpoints.save_step(2, *numbered(2))
    assert states(tmp_path) == [0, 1, 2]


def test_progress_left_by_a_kill_is_dropped_on_resume(
    checkpoints, tmp_path, monkeypatch
):
    for step in range(2):
        checkpoints.save_progress(step, "main", 2, ARRAYS, {**STATE, "number": 9})
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "_remove", lambda name: None)
            checkpoints.save_step(step, ARRAYS, {**STATE, "number": step})
    checkpoints.save_progress(2, "main", 0, ARRAYS, {**STATE, "number": 2})
    reopened = Checkpoints(tmp_path)
    assert reopened.load_progress(1, "main")
    reopened.drop_leftovers()
    assert reopened.load_progress(0, "main") is None
    assert reopened.load_progress(1, "main") is None
    assert_is(reopened.load_progress(2, "main"), 2)
    assert_is(reopened.load_step(1), 1)


def test_a_step_out_of_turn_is_refused(checkpoints):
    checkpoints.save_step(0, *numbered(0))
    with pytest.raises(ValueError, match="Expected step 1, .* Received: 2"):
        checkpoints.save_step(2, *numbered(2))


def test_a_phase_trained_again_drops_later_phases(checkpoints, tmp_path):
    for epoch in (7, 8):
        checkpoints.save_progress(1, "main", epoch, *numbered(epoch))
    checkpoints.save_progress(1, "finetuning", 1, *numbered(91))
    checkpoints.save_progress(1, "finetuning", 2, *numbered(92))
    assert_is(checkpoints.load_progress(1, "main"), 8)
    flip_byte(tmp_path / "checkpoints" / "step_01_main_epoch_0008.npz", 80)
    assert_is(checkpoints.load_progress(1, "main"), 7)
    checkpoints.save_progress(1, "main", 8, *numbered(18))
    assert_is(checkpoints.load_progress(1, "main"), 18)
    assert checkpoints.load_progress(1, "finetuning") is None


def test_epoch_10000_is_later_than_epoch_9999(checkpoints, tmp_path):
    for epoch in (9998, 9999, 10000):
        checkpoints.save_progress(0, "main", epoch, *numbered(epoch))
    assert_is(checkpoints.load_progress(0, "main"), 10000)
    flip_byte(tmp_path / "checkpoints" / "step_00_main_epoch_10000.npz", 80)
    assert_is(checkpoints.load_progress(0, "main"), 9999)


def test_pickled_objects_are_never_loaded(checkpoints, tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "trapped"),))

    arrays = {"trap": np.array([Trap()], dtype=object)}
    with contextlib.suppress(ValueError):  # Saving may refuse it too.
        checkpoints.save_step(0, arrays, {})
    assert checkpoints.load_step(0) is None
    assert not (tmp_path / "trapped").exists()


def test_lists_of_arrays_come_back_in_order():
    values = [np.full((index % 3,), index) for index in range(12)]
    other = {"weights_of_another/0000": np.zeros(1)}
    unpacked = unpack("weights", {**pack("weights", values), **other})
    for ours, expected in zip(unpacked, values, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_a_step_trained_again_drops_later_steps(checkpoints):
    for step in range(3):
        checkpoints.save_step(step, *numbered(step))
    checkpoints.save_progress(3, "main", 1, *numbered(31))
    checkpoints.save_step(1, *numbered(11))
    assert [state["number"] for state in checkpoints.finished_states()] == [0, 11]
    assert checkpoints.load_progress(3, "main") is None


def test_vectors_of_all_steps_are_restored_from_the_last_checkpoint(
    checkpoints, tmp_path
):
    for step in range(3):
        counts = np.arange(step, dtype=np.int64)
        checkpoints.save_step(step, {}, {"counts": counts, "number": step})
    for step in range(2):
        (tmp_path / f"checkpoints/step_0{step}.json").unlink()
    restored = Checkpoints(tmp_path).finished_states()
    assert [state["counts"].tolist() for state in restored] == [[], [0], [0, 1]]
    assert {state["counts"].dtype for state in restored} == {np.dtype(np.int64)}
    assert [state["number"] for state in restored] == [0, 1, 2]


def test_states_of_the_last_two_steps_are_kept(checkpoints):
    for step in range(4):
        checkpoints.save_state(step, ARRAYS)
        checkpoints.save_step(step, *numbered(step))
    kept = [step for step in range(4) if checkpoints.load_state(step) is not None]
    assert kept == [2, 3]
    assert checkpoints.load_state(3).keys() == ARRAYS.keys()
    assert len(checkpoints.finished_states()) == 4


def test_step_trained_again_replaces_later_states(checkpoints):
    for step in range(3):
        checkpoints.save_state(step, ARRAYS)
        checkpoints.save_step(step, *numbered(step))
    checkpoints.save_step(1, *numbered(1))
    assert checkpoints.load_state(2) is None
    assert checkpoints.load_state(1) is not None


def test_one_flipped_bit_of_a_state_falls_back_to_the_previous_step(checkpoints):
    for step in range(2):
        checkpoints.save_state(step, ARRAYS)
        checkpoints.save_step(step, *numbered(step))
    path = pathlib.Path(checkpoints.folder, "step_01_state.npz")
    flip_byte(path, path.stat().st_size // 2)
    assert checkpoints.load_state(1) is None
    assert len(checkpoints.finished_states()) == 1
