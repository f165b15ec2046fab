"""A finished run that learns new classes equals a run that was planned with them."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bsce_keras import train
from bsce_keras.records.run_records import read_run
from tests.reliability.outcomes import outcome

ROOT = pathlib.Path(__file__).resolve().parents[2]
MONTHS = (("ant", "bee"), ("cow", "dog"), ("eel", "fox"))


def add(month, seed):
    """Writes folders of new classes: noise around one colour for each class."""
    rng = np.random.default_rng(seed)
    for name in month:
        colour = rng.integers(40, 216, 3)
        for split, number in (("train", 12), ("test", 4)):
            folder = pathlib.Path("photos", split, name)
            folder.mkdir(parents=True)
            for index in range(number):
                pixels = np.clip(colour + rng.normal(0, 30, (9, 9, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")


def command(run_dir, num_increments, *options):
    return [
        *("--dataset=folder", "--data_dir=photos", "--image_size=8"),
        *("--num_base_classes=2", f"--num_increments={num_increments}"),
        *("--backbone=resnet8", "--epochs=1", "--batch_size=8", "--save_minutes=0"),
        *("--precision=float32", "--deterministic", "--noexport"),
        *(f"--run_dir={run_dir}", *options),
    ]


# The process dies when the first update of a step is saved.
DYING = """
import os, signal, sys
from bsce_keras import train
from bsce_keras.records.checkpoints import Checkpoints

save = Checkpoints.save_progress

def save_and_die(*args, **kwargs):
    save(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)

Checkpoints.save_progress = save_and_die
train.main(sys.argv[1:])
"""


def train_until_killed(arguments):
    done = subprocess.run(
        [sys.executable, "-c", DYING, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            ("--classification_loss=balanced_softmax",), marks=pytest.mark.slow
        ),
        pytest.param(
            ("--classification_loss=meta_balanced_softmax", "--alpha_every=2"),
            marks=pytest.mark.faults,
        ),
        pytest.param(("--method=podnet", "--epochs=2"), marks=pytest.mark.faults),
    ],
)
def test_a_run_that_grew_twice_equals_one_of_that_length(
    options, tmp_path, monkeypatch, capsys
):
    """Earlier training images are removed each time, and the run is killed once."""
    monkeypatch.chdir(tmp_path)
    for seed, classes in enumerate(MONTHS):
        add(classes, seed)
    assert train.main(command("whole", 2, *options)) == 0
    shutil.move("photos", "all_photos")
    for month, classes in enumerate(MONTHS):
        for split in ("train", "test"):
            for name in classes:
                shutil.copytree(f"all_photos/{split}/{name}", f"photos/{split}/{name}")
        if month == 2:
            train_until_killed(command("grown", month, *options))
        assert train.main(command("grown", month, *options)) == 0
        for name in classes:
            shutil.rmtree(f"photos/train/{name}")
    assert outcome("grown") == outcome("whole")
    assert len(outcome("grown")["steps"]) == 3

    # Removed images cause an error only if they are needed again.
    capsys.readouterr()
    assert train.main(command("grown", 2, *options)) == 0
    assert "grown is complete" in capsys.readouterr().out
    for file in ("step_02.json", "step_02.npz"):
        pathlib.Path("grown/checkpoints", file).unlink()
    assert train.main(command("grown", 2, *options)) == 2
    assert (
        "Classes without one: eel, fox. Add or restore images"
        in capsys.readouterr().err
    )


@pytest.mark.slow
def test_scores_of_old_classes_without_test_images_are_null(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add(MONTHS[0], 0)
    assert train.main(command("run", 0)) == 0
    shutil.rmtree("photos")
    add(MONTHS[1], 1)
    assert train.main(command("run", 1)) == 0
    _, last = outcome("run")["steps"]
    assert (last["base_accuracy"], last["old_accuracy"]) == (None, None)
    assert last["accuracy"] == last["new_accuracy"] is not None
    result = read_run("run")
    assert result.confusion.sum(axis=1).tolist() == [0, 0, 4, 4]
    assert result.summary["forgetting"] is None
