"""Random edits of a file of a run folder, such as damage and plants."""

import json
import os
import pathlib
import re
import shutil

import numpy as np

# Values that a JSON file may hold in place of another one.
_ODD = (
    *(None, True, -1, 0.5, 1e308, 10**400, float("nan"), float("inf"), 2**63),
    *("", "x" * 1000, "\0", "\ud800", "../..", "1", [], [[]], {}, {"": None}),
)


def edit(folder, other, rng, pattern=""):
    """Edits one file of a run folder; returns a description.

    Args:
        folder, other: run folder to edit and one of another seed.
        rng: `numpy.random.Generator`.
        pattern: regular expression of the begin of the names, within the folder, of
            files that may be edited; by default, all may.
    """
    files = sorted(
        path
        for path in pathlib.Path(folder).rglob("*")
        if path.is_file() and re.match(pattern, str(path.relative_to(folder)))
    )
    path = files[rng.integers(len(files))]
    change = EDITS[rng.integers(len(EDITS))]
    change(path, rng, pathlib.Path(other) / path.relative_to(folder))
    return f"{change.__name__.strip('_')} {path.relative_to(folder)}"


def _flip_a_bit(path, rng, other):
    data = bytearray(path.read_bytes())
    if data:
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    path.write_bytes(data)


def _cut(path, rng, other):
    os.truncate(path, rng.integers(path.stat().st_size + 1))


def _empty(path, rng, other):
    os.truncate(path, 0)


def _insert(path, rng, other):
    data = path.read_bytes()
    place = rng.integers(len(data) + 1)
    path.write_bytes(data[:place] + rng.bytes(rng.integers(1, 64)) + data[place:])


def _overwrite(path, rng, other):
    data = bytearray(path.read_bytes())
    place, length = rng.integers(len(data) + 1), rng.integers(1, 64)
    data[place : place + length] = rng.bytes(length)
    path.write_bytes(data)


def _repeat(path, rng, other):
    path.write_bytes(path.read_bytes() * 2)


def _remove(path, rng, other):
    path.unlink()


def _huge_number(path, rng, other):
    """Replaces a number of a text or of a header of an array."""
    data = path.read_bytes()
    numbers = list(re.finditer(rb"\d+", data[:4000]))
    if not numbers:
        return _insert(path, rng, other)
    place = numbers[rng.integers(len(numbers))]
    digits = (b"9" * 19, b"-1", b"0", b"1e999", b"9" * 400)[rng.integers(5)]
    path.write_bytes(data[: place.start()] + digits + data[place.end() :])


def _json_value(path, rng, other):
    """Replaces a value anywhere in a JSON file, or in a line of JSON."""
    if path.suffix not in (".json", ".jsonl"):
        return _overwrite(path, rng, other)
    lines = [path.read_text()]
    if path.suffix == ".jsonl":
        lines = lines[0].splitlines()
    number = rng.integers(len(lines))
    root = holder = [json.loads(lines[number])]
    key = 0
    while isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.8:
        holder = holder[key]
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = keys[rng.integers(len(keys))]
    if isinstance(holder, dict) and rng.random() < 0.2:
        del holder[key]
    else:
        holder[key] = _ODD[rng.integers(len(_ODD))]
    lines[number] = json.dumps(root[0])
    path.write_text("\n".join(lines) + "\n")


def _array_value(path, rng, other):
    """Alters one value of an array, in a file that stays valid."""
    if path.suffix not in (".npz", ".npy"):
        return _overwrite(path, rng, other)
    loaded = np.load(path, allow_pickle=False)
    arrays = {"": loaded} if path.suffix == ".npy" else dict(loaded)
    filled = sorted(
        n for n, array in arrays.items() if array.size and array.dtype.kind in "biuf"
    )
    array = arrays[filled[rng.integers(len(filled))]]
    place = np.unravel_index(rng.integers(array.size), array.shape)
    array[place] = not array[place] if array.dtype == bool else array[place] + 1
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        np.savez(path, **arrays)


def _file_of_the_run(path, rng, other):
    """Puts another file of the same folder in its place."""
    others = sorted(each for each in path.parent.iterdir() if each.is_file())
    shutil.copyfile(others[rng.integers(len(others))], f"{path}.new")
    os.replace(f"{path}.new", path)


def _file_of_another_run(path, rng, other):
    if other.is_file():
        shutil.copyfile(other, path)


def _pair_of_another_run(path, rng, other):
    """Puts all files of this name, of another run, in their places."""
    for each in other.parent.glob(f"{other.stem}.*"):
        shutil.copyfile(each, path.parent / each.name)


def _folder(path, rng, other):
    path.unlink()
    path.mkdir()


def _pipe(path, rng, other):
    path.unlink()
    os.mkfifo(path)


def _link(path, rng, other):
    """Puts a link to an endless device, to nothing or to itself in its place."""
    target = ("/dev/zero", "/nowhere", str(path))[rng.integers(3)]
    path.unlink()
    path.symlink_to(target)


EDITS = (
    *(_flip_a_bit, _cut, _empty, _insert, _overwrite, _repeat, _remove, _huge_number),
    *(_json_value, _json_value, _array_value, _file_of_the_run, _file_of_another_run),
    *(_pair_of_another_run, _folder, _pipe, _link),
)
