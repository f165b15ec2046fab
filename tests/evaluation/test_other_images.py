"""Commands that score a run tell if its images are no longer those of its records."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from bsce_keras import compare, evaluate, make_config, run_experiment
from bsce_keras.data.stream import ClassIncrementalStream


def save_noise(folder, first, last):
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, last):
        pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed:03}.png")


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """Returns the configuration of a run that is scored on held-out images."""
    root = tmp_path_factory.mktemp("held_out")
    for number, name in enumerate(("ant", "bee")):
        save_noise(root / "photos" / name, 100 * number, 100 * number + 10)
    config = make_config(
        "folder",
        data_dir=str(root / "photos"),
        image_size=8,
        num_base_classes=2,
        backbone="resnet8",
        epochs=1,
        min_updates=1,
        validation_share=0.3,
        run_dir=str(root / "run"),
    )
    run_experiment(config)
    return config


@pytest.fixture
def photos(held_out, tmp_path):
    return shutil.copytree(held_out.stream.data_dir, tmp_path / "photos")


def copy_of_export(held_out, tmp_path):
    export = f"{held_out.run_dir}/exports/step_00"
    return str(shutil.copytree(export, tmp_path / "older"))


def score(held_out, photos, tmp_path):
    run, data = held_out.run_dir, f"--data_dir={photos}"
    assert evaluate.main([f"--run_dir={run}", data]) == 0
    older = copy_of_export(held_out, tmp_path)
    assert compare.main([older, run, data, f"--output={tmp_path / 'out'}"]) == 0


@pytest.mark.slow
def test_the_images_of_the_run_give_no_warning(held_out, photos, tmp_path, caplog):
    score(held_out, photos, tmp_path)
    assert not caplog.records


@pytest.mark.slow
def test_added_photos_hold_trained_ones_out(held_out, photos, tmp_path, caplog):
    then = ClassIncrementalStream(held_out.stream)
    trained = {image.tobytes() for image in then.steps[0].examples.images}
    save_noise(photos / "bee", 200, 206)
    score(held_out, photos, tmp_path)
    evaluated, compared = (one.getMessage() for one in caplog.records)
    assert evaluated == compared
    assert "class bee: 3 test images recorded, 5 now." in evaluated
    assert "may have trained on some of these" in evaluated
    assert "ant" not in evaluated
    # They are, which is why it is told.
    more = dataclasses.replace(held_out.stream, data_dir=str(photos))
    stream = ClassIncrementalStream(more)
    test = stream.seen_test(stream.steps[-1])
    assert any(image.tobytes() in trained for image in test.images)
