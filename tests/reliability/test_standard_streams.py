"""Commands work with closed standard streams, and with those that are not UTF-8."""

import os
import pathlib
import subprocess
import sys

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
