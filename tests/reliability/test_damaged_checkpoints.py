"""Whatever becomes of a checkpoint's files, nothing wrong is ever loaded from them."""

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
    """Arrays and state as a run has them: names with slashes, several types."""
    generator = np.random.default_rng(number)
    arrays = {
        "student/0000": generator.normal(size=(9, 8)).astype(np.float32),
        "images": generator.integers(0, 256, (6, 8, 8, 1), np.uint8),
        "counts": np.full(4, number),
    }
    return arrays, {"number": number, "alphas": [0.5, 1.25], "name": "Käfer"}


def number_of(loaded):
    """The number of what was loaded, which must be all of it, bit for bit."""
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
    """A run: steps 0 and 1 are finished, step 2 was saved after epochs 4 and 5."""
    run_dir = tmp_path / "run"
    checkpoints = Checkpoints(run_dir)
    for step in (0, 1):
        checkpoints.save_step(step, *numbered(step))
    for epoch in (4, 5):
        checkpoints.save_progress(2, "main", epoch, *numbered(epoch))
    return run_dir


# What is damaged, the number of what it held, and of what was saved before it.
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
    """Loads exactly what was saved last, or what was before it and says so."""
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
    """Copies of a file with one bit turned over, at every so many bytes."""
    for position in range(0, len(data), every):
        for bit in bits:
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            yield bytes(flipped)


def cuts(data, every):
    """The beginnings of a file, and the whole of it with something after it."""
    for length in range(0, len(data), every):
        yield data[:length]
    yield from (data + b"\0", data + data)


def holes(data, size=64):
    """Blocks of zeros, as a file system leaves them that lost what was in them."""
    for start in range(0, len(data), size):
        hole = bytes(len(data[start : start + size]))
        yield data[:start] + hole + data[start + size :]


def rewrites(data):
    """What an editor may make of a text."""
    yield from (data.replace(b"\n", b"\r\n"), data.replace(b" ", b""), data.upper())
    yield from (b"\xef\xbb\xbf" + data, data.replace(b"5", b"5.0"), b"null", b"[]")


def damage(saved, target, ending, spoilt, caplog):
    """Tries every spoilt copy of a file; returns how many, and how many were found."""
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
def test_spoilt_bytes_are_detected(saved, target, ending, caplog):
    """Every so many bytes, and all of the header and the end of the file."""

    def spoilt(data):
        yield from flips(data[:40], 3, [0, 6])
        yield from (data[:-40] + end for end in flips(data[-40:], 3, [0, 6]))
        yield from flips(data, 61, [3])
        yield from cuts(data, 211)
        yield from holes(data, 512)
        yield from rewrites(data)

    tried, found = damage(saved, target, ending, spoilt, caplog)
    # Spaces and line ends of a manifest are all that may differ without consequence.
    assert found == tried if ending == "npz" else found >= tried - 3


@pytest.mark.faults
@on_every_file
def test_every_spoilt_bit_is_detected(saved, target, ending, caplog):
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
def test_a_file_that_is_no_file_is_detected(saved, target, ending, replace, caplog):
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


def test_checkpoints_that_changed_places_are_detected(saved, caplog):
    folder = saved / "checkpoints"
    for ending in ("npz", "json"):
        (folder / f"step_00.{ending}").rename(folder / "between")
        (folder / f"step_01.{ending}").rename(folder / f"step_00.{ending}")
        (folder / "between").rename(folder / f"step_01.{ending}")
    assert Checkpoints(saved).finished_states() == []
    assert "its manifest belongs to step_00" in caplog.text


def test_arrays_saved_at_another_time_are_detected(saved, caplog):
    """As a crash between arrays and manifest leaves them, or half a copy of a run."""
    path = saved / "checkpoints" / f"{PROGRESS[0]}.npz"
    old = path.read_bytes()
    Checkpoints(saved).save_progress(2, "main", 5, *numbered(6))
    path.write_bytes(old)
    assert assert_detected(saved, PROGRESS, caplog)


def test_with_nothing_whole_left_a_step_begins_anew(saved, caplog):
    for path in (saved / "checkpoints").glob("*.npz"):
        path.write_bytes(b"")
    assert Checkpoints(saved).finished_states() == []
    assert Checkpoints(saved).load_progress(2, "main") is None
    assert len(caplog.records) == 4


def test_a_file_that_may_not_be_read_is_not_taken_for_damaged(saved, monkeypatch):
    """Training anew would bury a good checkpoint."""
    from bsce_keras.runtime import array_files

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(array_files, "sha256", refuse)
    with pytest.raises(PermissionError, match=r"step_01\.npz"):
        Checkpoints(saved).finished_states()


def test_a_save_that_does_not_come_back_keeps_the_one_before(saved, monkeypatch):
    from bsce_keras.runtime import array_files

    write = array_files.write_atomically

    def write_badly(path, data):
        write(path, bytes(len(data)))

    with monkeypatch.context() as patched:
        patched.setattr(array_files, "write_atomically", write_badly)
        with pytest.raises(OSError, match="cannot be read back"):
            Checkpoints(saved).save_progress(2, "main", 6, *numbered(6))
    assert load(saved, PROGRESS[0]) == 5


def test_progress_in_words_of_the_log(saved, caplog):
    caplog.set_level(logging.WARNING)
    (saved / "checkpoints" / f"{PROGRESS[0]}.json").unlink()
    Checkpoints(saved).load_progress(2, "main")
    [record] = caplog.records
    message = record.getMessage()
    assert str(saved) in message
    assert "its manifest is missing" in message and "the one before it is" in message


def test_numbers_in_a_manifest_cannot_be_exchanged(saved, caplog):
    """Valid JSON with other numbers is damage like any other."""
    path = saved / "checkpoints" / f"{PROGRESS[0]}.json"
    manifest = json.loads(path.read_text())
    manifest["state"]["alphas"][0] = 0.25
    path.write_text(json.dumps(manifest))
    assert assert_detected(saved, PROGRESS, caplog)
