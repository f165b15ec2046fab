"""Damaged checkpoint files are detected, and wrong values are never loaded."""

import itertools
import json
import logging
import os
import pathlib
import shutil

import numpy as np
import pytest

from bsce_keras.records.checkpoints import Checkpoints


def numbered(number):
    """Arrays and state like those of a run: names with slashes, several types."""
    generator = np.random.default_rng(number)
    arrays = {
        "student/0000": generator.normal(size=(9, 8)).astype(np.float32),
        "images": generator.integers(0, 256, (6, 8, 8, 1), np.uint8),
        "counts": np.full(4, number),
    }
    return arrays, {"number": number, "alphas": [0.5, 1.25], "name": "Käfer"}


def number_of(loaded):
    """Returns the number of a loaded checkpoint, which must equal it bit for bit."""
    arrays, state = loaded
    expected_arrays, expected_state = numbered(state["number"])
    assert state == expected_state
    assert arrays.keys() == expected_arrays.keys()
    for name, values in expected_arrays.items():
        assert arrays[name].dtype == values.dtype
        np.testing.assert_array_equal(arrays[name], values)
    return state["number"]


@pytest.fixture
def saved(tmp_path):
    """Run with finished steps 0 and 1, and step 2 saved after epochs 4 and 5."""
    run_dir = tmp_path / "run"
    checkpoints = Checkpoints(run_dir)
    for step in (0, 1):
        checkpoints.save_step(step, *numbered(step))
    for epoch in (4, 5):
        checkpoints.save_progress(2, "main", epoch, *numbered(epoch))
    return run_dir


# Name of the damaged checkpoint, its number, and the number of the save before it.
PROGRESS = ("step_02_main_epoch_0005", 5, 4)
STEP = ("step_01", 1, 0)


def load(run_dir, name):
    checkpoints = Checkpoints(run_dir)
    if name.startswith("step_02"):
        return number_of(checkpoints.load_progress(2, "main"))
    states = checkpoints.finished_states()
    assert [state["number"] for state in states] == list(range(len(states)))
    return number_of(checkpoints.load_step(len(states) - 1))


def assert_detected(run_dir, target, caplog):
    """Loads the last save, or the one before with a warning; returns if damaged."""
    name, last, before = target
    caplog.clear()
    found = load(run_dir, name)
    if found == last:
        assert caplog.text == ""
    else:
        assert found == before
        assert f"{name} is damaged" in caplog.text
    return found == before


def flips(data, every, bits):
    """Yields copies of a file with one flipped bit at regular distances."""
    for position in range(0, len(data), every):
        for bit in bits:
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            yield bytes(flipped)


def cuts(data, every):
    """Yields truncated copies of a file, and one with extra bytes at the end."""
    for length in range(0, len(data), every):
        yield data[:length]
    yield from (data + b"\0", data + data)


def holes(data, size=64):
    """Yields copies with blocks of zeros, as a file system leaves lost blocks."""
    for start in range(0, len(data), size):
        hole = bytes(len(data[start : start + size]))
        yield data[:start] + hole + data[start + size :]


def rewrites(data):
    """Yields copies of a text as editors may change it."""
    yield from (data.replace(b"\n", b"\r\n"), data.replace(b" ", b""), data.upper())
    yield from (b"\xef\xbb\xbf" + data, data.replace(b"5", b"5.0"), b"null", b"[]")


def damage(saved, target, ending, spoilt, caplog):
    """Tries every damaged copy; returns the numbers of copies and detections."""
    path = pathlib.Path(saved, "checkpoints", f"{target[0]}.{ending}")
    good = path.read_bytes()
    results = []
    for data in spoilt(good):
        if data == good:
            continue
        path.write_bytes(data)
        results.append(assert_detected(saved, target, caplog))
    path.write_bytes(good)
    assert load(saved, target[0]) == target[1]
    return len(results), sum(results)


every_file = [
    pytest.mark.parametrize("target", [PROGRESS, STEP], ids=["progress", "step"]),
    pytest.mark.parametrize("ending", ["npz", "json"]),
]


def on_every_file(function):
    for mark in every_file:
        function = mark(function)
    return function


@on_every_file
def test_damaged_bytes_are_detected(saved, target, ending, caplog):
    """Bytes at regular distances, and all bytes of the header and the end."""

    def spoilt(data):
        yield from flips(data[:40], 3, [0, 6])
        yield from (data[:-40] + end for end in flips(data[-40:], 3, [0, 6]))
        yield from flips(data, 61, [3])
        yield from cuts(data, 211)
        yield from holes(data, 512)
        yield from rewrites(data)

    tried, found = damage(saved, target, ending, spoilt, caplog)
    # Only spaces and line ends of a manifest may change without consequence.
    assert found == tried if ending == "npz" else found >= tried - 3


@pytest.mark.faults
@on_every_file
def test_every_damaged_bit_is_detected(saved, target, ending, caplog):
    def spoilt(data):
        yield from flips(data, 1, range(8))
        yield from cuts(data, 1)
        yield from holes(data)
        yield from rewrites(data)

    tried, found = damage(saved, target, ending, spoilt, caplog)
    print(f"{target[0]}.{ending}: {tried} damaged copies, {found} detected")
    assert found == tried if ending == "npz" else found > 0.9 * tried


def remove(path):
    path.unlink()


def make_folder(path):
    path.unlink()
    path.mkdir()


def dangle(path):
    path.unlink()
    path.symlink_to("nowhere")


def circle(path):
    path.unlink()
    path.symlink_to(path.name)


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


def make_endless(path):
    path.unlink()
    path.symlink_to("/dev/zero")


@on_every_file
@pytest.mark.parametrize(
    "replace", [remove, make_folder, dangle, circle, make_pipe, make_endless]
)
def test_a_path_that_is_not_a_regular_file_is_detected(
    saved, target, ending, replace, caplog
):
    replace(saved / "checkpoints" / f"{target[0]}.{ending}")
    assert assert_detected(saved, target, caplog)


@pytest.mark.parametrize("target", [PROGRESS, STEP], ids=["progress", "step"])
@pytest.mark.parametrize("endings", [["npz"], ["json"], ["npz", "json"]])
def test_files_of_another_checkpoint_are_detected(saved, target, endings, caplog):
    folder = saved / "checkpoints"
    others = {path.stem for path in folder.iterdir()} - {target[0]}
    assert len(others) == 3
    for other, ending in itertools.product(sorted(others), endings):
        shutil.copytree(folder, saved / "good")
        for ending in endings:
            shutil.copy(folder / f"{other}.{ending}", folder / f"{target[0]}.{ending}")
        assert assert_detected(saved, target, caplog)
        shutil.rmtree(folder)
        (saved / "good").rename(folder)


def test_exchanged_checkpoints_are_detected(saved, caplog):
    folder = saved / "checkpoints"
    for ending in ("npz", "json"):
        (folder / f"step_00.{ending}").rename(folder / "between")
        (folder / f"step_01.{ending}").rename(folder / f"step_00.{ending}")
        (folder / "between").rename(folder / f"step_01.{ending}")
    assert Checkpoints(saved).finished_states() == []
    assert "its manifest belongs to step_00" in caplog.text


def test_arrays_saved_at_another_time_are_detected(saved, caplog):
    """State after a crash between arrays and manifest, or after a partial copy."""
    path = saved / "checkpoints" / f"{PROGRESS[0]}.npz"
    old = path.read_bytes()
    Checkpoints(saved).save_progress(2, "main", 5, *numbered(6))
    path.write_bytes(old)
    assert assert_detected(saved, PROGRESS, caplog)


def test_a_step_starts_anew_without_an_undamaged_save(saved, caplog):
    for path in (saved / "checkpoints").glob("*.npz"):
        path.write_bytes(b"")
    assert Checkpoints(saved).finished_states() == []
    assert Checkpoints(saved).load_progress(2, "main") is None
    assert len(caplog.records) == 4


def test_an_unreadable_file_is_not_taken_for_damaged(saved, monkeypatch):
    """Training anew would replace a good checkpoint."""
    from bsce_keras.runtime import array_files

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(array_files, "sha256", refuse)
    with pytest.raises(PermissionError, match=r"step_01\.npz"):
        Checkpoints(saved).finished_states()


def test_a_save_that_cannot_be_read_back_keeps_the_previous_one(saved, monkeypatch):
    from bsce_keras.runtime import array_files

    write = array_files.write_atomically

    def write_badly(path, data):
        write(path, bytes(len(data)))

    with monkeypatch.context() as patched:
        patched.setattr(array_files, "write_atomically", write_badly)
        with pytest.raises(OSError, match="cannot be read back"):
            Checkpoints(saved).save_progress(2, "main", 6, *numbered(6))
    assert load(saved, PROGRESS[0]) == 5


def test_the_log_names_the_damaged_checkpoint(saved, caplog):
    caplog.set_level(logging.WARNING)
    (saved / "checkpoints" / f"{PROGRESS[0]}.json").unlink()
    Checkpoints(saved).load_progress(2, "main")
    [record] = caplog.records
    message = record.getMessage()
    assert str(saved) in message
    assert "its manifest is missing" in message
    assert "continues from the one before it" in message


def test_changed_numbers_in_a_manifest_are_detected(saved, caplog):
    """Valid JSON with other numbers counts as damage."""
    path = saved / "checkpoints" / f"{PROGRESS[0]}.json"
    manifest = json.loads(path.read_text())
    manifest["state"]["alphas"][0] = 0.25
    path.write_text(json.dumps(manifest))
    assert assert_detected(saved, PROGRESS, caplog)
