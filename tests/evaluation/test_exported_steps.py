"""Exports of a run that commands score."""

import os

from bsce_keras.evaluation.export_folder import (
    exported_formats,
    exported_steps,
    file_checksums,
)
from bsce_keras.runtime.files import write_json


def test_exported_steps_ascend_beyond_99(tmp_path, monkeypatch):
    names = ["step_100", "step_09", "step_99", "step_100.tmp", "notes"]
    for name in names:
        (tmp_path / "exports" / name).mkdir(parents=True)
    # A file system lists a folder in any order.
    monkeypatch.setattr(os, "listdir", lambda folder: names)
    folders = {
        number: str(tmp_path / f"exports/step_{number:02d}") for number in (9, 99, 100)
    }
    assert list(exported_steps(tmp_path).items()) == list(folders.items())
    assert exported_steps(tmp_path / "notes") == {}


def test_formats_of_an_export_need_no_program_that_runs_them(tmp_path, monkeypatch):
    """A later export keeps them. An altered export has none to keep."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "model.tflite").write_bytes(b"network")
    formats = {"litert": ["model.tflite"], "onnx": ["model.onnx"]}
    write_json(tmp_path / "model.json", {"formats": formats})
    write_json(tmp_path / "checksums.json", file_checksums(tmp_path))
    assert exported_formats(tmp_path) == ["litert", "onnx"]
    (tmp_path / "model.tflite").write_bytes(b"another")
    assert exported_formats(tmp_path) == []
