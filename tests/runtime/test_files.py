"""Files are complete or missing."""

import concurrent.futures
import hashlib
import os

import pytest

from bsce_keras.runtime.files import read_json, sha256, write_atomically, write_json


@pytest.mark.parametrize("data", [b"\x00\xff", "Käfer\n"])
def test_bytes_and_text_are_written_unchanged(tmp_path, data):
    path = tmp_path / "file"
    write_atomically(path, data)
    expected = data if isinstance(data, bytes) else data.encode("utf-8")
    assert path.read_bytes() == expected
    assert os.listdir(tmp_path) == ["file"]


def test_file_in_the_current_folder_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_atomically("file", "new")
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def crash(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, call, crash)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_data_is_synced_before_the_rename(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)

        def record(*args, name=name, original=original):
            calls.append(name)
            return original(*args)

        monkeypatch.setattr(os, name, record)
    write_atomically(tmp_path / "file", "new")
    assert calls == ["fsync", "replace", "fsync"]  # the last one syncs the folder


def test_two_writers_of_one_file_both_succeed(tmp_path):
    path = tmp_path / "file"

    def write(letter):
        for _ in range(15):
            write_atomically(path, letter * 1000)

    with concurrent.futures.ThreadPoolExecutor() as threads:
        for done in [threads.submit(write, letter) for letter in "ab"]:
            done.result()
    assert path.read_text() in ("a" * 1000, "b" * 1000)
    assert os.listdir(tmp_path) == ["file"]


def test_json_is_read_as_written(tmp_path):
    value = {"accuracy": [0.1, None], "name": "Käfer", "steps": {"last": 5}}
    write_json(tmp_path / "file.json", value)
    assert read_json(tmp_path / "file.json") == value
    assert (tmp_path / "file.json").read_text().endswith("}\n")


def test_nan_is_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, float("nan"))
    assert read_json(path) == 1


def test_checksum_is_the_sha256_of_the_bytes(tmp_path):
    data = bytes(range(256)) * 300
    (tmp_path / "file").write_bytes(data)
    assert sha256(tmp_path / "file") == hashlib.sha256(data).hexdigest()
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256(tmp_path / "file").startswith("ba7816bf8f01cfea")


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(number, tmp_path):
    path = tmp_path / "file.json"
    path.write_text(f'{{"number": {number}}}')
    with pytest.raises(ValueError, match="is not a finite number"):
        read_json(path)


@pytest.mark.parametrize("read", [read_json, sha256])
def test_pipes_and_devices_are_not_read(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        with pytest.raises(OSError, match="not a regular file"):
            read(tmp_path / name)
