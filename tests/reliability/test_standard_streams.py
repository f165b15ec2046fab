"""Commands work with closed standard streams, and with those that are not UTF-8."""

import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = ("ape", "bee", "\u732b")


@pytest.fixture
def images(tmp_path):
    """A folder data set of three classes, of which one has a Japanese name."""
    for kind in ("train", "test"):
        for number, name in enumerate(NAMES):
            folder = tmp_path / "images" / kind / name
            folder.mkdir(parents=True)
            for index in range(4):
                pixels = np.full((8, 8, 3), 40 * number + index, np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "images"


@pytest.mark.parametrize(
    "redirection",
    [
        pytest.param(">&- 2>&-", marks=pytest.mark.slow),
        pytest.param("2>&-", marks=pytest.mark.slow),
        pytest.param("2>errors", marks=pytest.mark.slow),
    ],
)
def test_a_run_trains_whatever_its_streams_are(images, tmp_path, redirection):
    flags = [
        *("--dataset=folder", f"--data_dir={images}", f"--run_dir={tmp_path / 'run'}"),
        *("--num_base_classes=2", "--num_increments=0", "--epochs=1", "--noexport"),
        *("--image_size=8", "--backbone=resnet8", "--precision=float32"),
    ]
    command = [sys.executable, "-m", "bsce_keras.train", *flags]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        stdout=subprocess.PIPE,
    )
    assert done.returncode == 0
    assert (tmp_path / "run/summary.json").exists()
    if redirection == "2>errors":
        assert b"Classes without a step: ?." in done.stdout
        assert "Traceback" not in (tmp_path / "errors").read_text()


def commanded(lines, **streams):
    """Runs a command of these lines with the buffers that Python has by default."""
    code = f"""
import sys
from bsce_keras.options.run_command import run_command

def main(values, positional):
{textwrap.indent(lines, "    ")}

sys.exit(run_command("report", main, ["run"]))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    return subprocess.run([sys.executable, "-c", code], env=environment, **streams)


@pytest.fixture
def unread():
    """A pipe whose reader has ended."""
    end, begin = os.pipe()
    os.close(end)
    yield begin
    os.close(begin)


def test_a_file_with_both_streams_has_their_lines_in_order_and_at_once(tmp_path):
    path = tmp_path / "log"
    lines = f"""
print("step 0 is finished")
print("step 0 has a warning", file=sys.stderr)
print(open({str(path)!r}).read().upper())
"""
    with open(path, "w") as log:
        commanded(lines, stdout=log, stderr=log)
    line, *others = path.read_text().splitlines()
    assert line == "step 0 is finished"
    assert others[:2] == ["step 0 has a warning", "STEP 0 IS FINISHED"]


def test_command_whose_output_is_not_read_ends_in_silence(unread):
    done = commanded("print('score')", stdout=unread, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"")


def test_interrupted_command_keeps_its_exit_code_if_nothing_reads_its_messages(unread):
    """Ctrl-C of `bsce-evaluate 2>&1 | tee log` ends `tee` first."""
    done = commanded("raise KeyboardInterrupt", stdout=unread, stderr=unread)
    assert done.returncode == 130
