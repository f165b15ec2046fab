"""Table of wrong requests: each is refused at once, with a way out.

They are refused with exit code 2, before TensorFlow is imported and before data or
devices are read. Nothing is written.
"""

import builtins
import json
import pathlib
import shutil
import types

import numpy as np
import pytest

from bsce_keras import (
    compare,
    evaluate,
    export,
    forget,
    make_config,
    predict,
    report,
    reproduce,
    train,
    tune,
)
from tests.options import command_requests, train_requests

COMMANDS = {
    "train": train.main,
    "evaluate": evaluate.main,
    "export": export.main,
    "compare": compare.main,
    "forget": forget.main,
    "predict": predict.main,
    "report": report.main,
    "reproduce": reproduce.main,
    "tune": tune.main,
}
TABLE = [*train_requests.REQUESTS, *command_requests.REQUESTS]


def split(arguments):
    """Splits a command line whose arguments do not contain spaces."""
    return [argument for argument in arguments.split(" ") if argument]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Folder with the files that the requests name."""
    folder = tmp_path_factory.mktemp("requests")
    root = folder / "given"
    (root / "begun").mkdir(parents=True)
    for name in ("begun", "torn", "list"):
        (root / name).mkdir(exist_ok=True)
        (root / name / "config.json").write_text("{}")
        (root / name / "steps.jsonl").touch()
    (root / "torn/config.json").write_text('{"stream": {')
    (root / "list/config.json").write_text("[]")
    (root / "seed_2").mkdir()
    config = make_config("digits", seed=2, precision="float32").to_json()
    (root / "seed_2/config.json").write_text(json.dumps(config))
    (root / "untrained").mkdir()
    config = make_config("digits", precision="float32").to_json()
    (root / "untrained/config.json").write_text(json.dumps(config))
    (root / "untrained/steps.jsonl").touch()
    for name in ("acil", "ds_al", "imprint", "own_method"):
        method = name.replace("own_method", "acil")
        record = make_config("digits", method=method, precision="float32").to_json()
        if name == "own_method":
            record["method"]["name"] = "given.own:Miner"
        (root / name).mkdir()
        (root / name / "config.json").write_text(json.dumps(record))
        (root / name / "steps.jsonl").touch()
    (root / "arrays").mkdir()
    images = np.full((8, 8, 8, 3), 9, np.uint8), np.repeat(np.arange(4), 2)
    config = make_config(images, validation_share=0.5, run_dir=root / "arrays")
    (root / "arrays/config.json").write_text(json.dumps(config.to_json()))
    (root / "arrays/steps.jsonl").touch()
    (root / "own.py").write_text("import keras\n\nclass Mine: pass\n")
    (root / "torn_module.py").write_text("class My(\n")
    (root / "text.keras").write_text("# A title\n\nSome text\n")
    (root / "bytes").write_bytes(b"\xff\xfe\x00")
    (root / "nul").write_text("--flagfile=a\0b\n")
    (root / "itself").write_text("--flagfile=given/itself\n")
    (root / "digits.flags").write_text("--dataset=digits\n")
    (root / "own.flags").write_text("--dataset=digits\n--seed=1\n--lerning_rate=1\n")
    (root / "empty").touch()
    (root / "short").write_text("0\n1\n2\n")
    (root / "twice").write_text("0\n1\n0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n")
    (root / "invented").write_text("0\n1\n2\n3\n4\n5\n6\n7\n8\nten\n")
    (root / "long").write_text("9" * 5000)
    for path in ("train/cat", "train/ant", "test/cat", "test/ant"):
        (root / "photos" / path).mkdir(parents=True)
        (root / "photos" / path / "1.png").write_bytes(b"never decoded here")
    (root / "no_classes/train").mkdir(parents=True)
    shutil.copytree(root / "photos", root / "empty_class")
    (root / "empty_class/train/ant/1.png").unlink()
    (root / "empty_class/test/dog").mkdir()
    return folder


@pytest.fixture
def watched(given, monkeypatch):
    """Working directory of the requests, without access to TensorFlow or images."""
    monkeypatch.chdir(given)
    original = builtins.__import__
    heavy = ("tensorflow", "keras", "bsce_keras.data.datasets", "bsce_keras.experiment")

    def refuse(name, *args, **kwargs):
        if name.startswith(heavy):
            raise AssertionError(f"a wrong request imported {name}")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    return given


def everything_below(folder):
    return {path: path.stat().st_mtime_ns for path in pathlib.Path(folder).rglob("*")}


@pytest.mark.parametrize(("command", "arguments", "fragment"), TABLE)
def test_a_wrong_request_is_refused(command, arguments, fragment, watched, capsys):
    before = everything_below(watched)
    assert COMMANDS[command](split(arguments)) == 2
    output = capsys.readouterr()
    assert fragment in output.err
    *problems, hint = output.err.splitlines()
    assert hint.endswith(f"`python -m bsce_keras.{command} --help` lists every flag")
    assert all(line.startswith(f"bsce_keras.{command}: ") for line in problems)
    assert output.out == ""
    assert everything_below(watched) == before


def test_alpha_of_a_step_without_old_classes_is_refused(monkeypatch, capsys):
    run = types.SimpleNamespace(steps=[{"num_old_classes": 0}])
    monkeypatch.setattr(export, "read_run", lambda _: run)
    flags = ["--run_dir=run", "--step=0", "--alpha=2", "--output=moved"]
    assert export.main(flags) == 2
    assert "--alpha=2 has no effect on step 0" in capsys.readouterr().err


def test_wrong_requests_do_not_import_tensorflow(run_python, given):
    code = f"""
import contextlib, io, sys
import importlib
commands = {{name: importlib.import_module(f"bsce_keras.{{name}}").main
            for name in {list(COMMANDS)!r}}}
with contextlib.redirect_stderr(io.StringIO()):
    for command, arguments in {[(c, split(a)) for c, a, _ in TABLE]!r}:
        assert commands[command](arguments) == 2, arguments
heavy = {{"tensorflow", "keras", "tensorflow_datasets", "matplotlib"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    run_python(code, cwd=given)
