"""The command `compare`: a worse model is found, and the gate stops its promotion."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from bsce_keras import compare
from bsce_keras.config import ImageSpec
from bsce_keras.exports.step_export import export_step

GREY = {"dark": 30, "mid<script>": 120, "light": 220}


def export_nearest(path, levels):
    """Exports a model that predicts the class whose grey level is the nearest."""
    images = keras.Input((8, 8, 3))
    # -(x - level)^2 without x^2 is linear in x.
    logits = keras.layers.Dense(len(levels))
    mean = keras.layers.GlobalAveragePooling2D()(images)
    model = keras.Model(images, {"logits": logits(mean)})
    values = np.array(list(levels.values()), "float32")
    logits.set_weights([np.tile(2 * values / 3, (3, 1)), -(values**2)])
    export_step(model, ImageSpec(8, 9), tuple(levels), str(path))
    return str(path)


@pytest.fixture
def photos(tmp_path):
    """Four grey test images a class; those of mid have levels 100 to 160."""
    for name, level in GREY.items():
        folder = tmp_path / "photos" / "test" / name
        folder.mkdir(parents=True)
        training = tmp_path / "photos" / "train" / name
        training.mkdir(parents=True)
        Image.new("RGB", (12, 12)).save(training / "0.png")
        for i, shift in enumerate((-20, 0, 20, 40) if level == 120 else (-5, 0, 5, 9)):
            image = Image.new("RGB", (12, 12), (level + shift,) * 3)
            image.save(folder / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Old model of two classes, and two of three, one of which is worse on an old."""
    folder = tmp_path_factory.mktemp("models")
    two = {name: GREY[name] for name in ("dark", "mid<script>")}
    return {
        "old": export_nearest(folder / "old", two),
        "good": export_nearest(folder / "good", GREY),
        # Levels above 145 are taken for light.
        "worse": export_nearest(folder / "worse", {**GREY, "light": 150}),
    }


def compared(models, photos, new, *flags):
    arguments = [models["old"], models[new], "--dataset=folder", f"--data_dir={photos}"]
    return compare.main([*arguments, "--min_images=1", *flags])


def test_a_good_model_passes_the_gate(models, photos, capsys):
    assert compared(models, photos, "good", "--max_drop=0", "--min_gain=10") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "No old class lost accuracy." in lines
    [everything] = [line.split() for line in lines if line.startswith("all classes")]
    assert everything[2:6] == ["12", "66.67", "100.00", "+33.33"]


def test_a_worse_model_fails_the_gate_and_names_the_class(models, photos, capsys):
    assert compared(models, photos, "worse", "--max_drop=2") == 3
    out = capsys.readouterr().out
    assert "Gate failed: class mid<script> lost 50.00 points, more than 2." in out
    [lost] = [line.split() for line in out.splitlines() if line.startswith("mid")]
    assert lost[1:] == ["4", "100.00", "50.00", "-50.00", "2", "0", "0.5"]


def test_classes_that_are_too_small_for_the_gate_are_named(models, photos, caplog):
    assert compared(models, photos, "worse", "--max_drop=2", "--min_images=5") == 3
    assert "leaves out 2 of 2 old classes" in caplog.text
    assert "--min_images=5 images: dark, mid<script>." in caplog.text
    caplog.clear()
    assert compared(models, photos, "worse", "--max_drop=2") == 3
    assert compared(models, photos, "worse", "--min_images=5") == 0
    assert "leaves out" not in caplog.text


def test_without_a_gate_a_worse_model_is_only_reported(models, photos, capsys):
    assert compared(models, photos, "worse", "--format=json") == 0
    record = json.loads(capsys.readouterr().out)
    by_name = {one["name"]: one for one in record["classes"]}
    assert by_name["mid<script>"]["turned_wrong"] == 2
    assert by_name["light"]["old_accuracy"] is None
    assert record["gate_failures"] == []


def test_the_page_shows_images_that_turned_wrong(models, photos, tmp_path, capsys):
    assert compared(models, photos, "worse", f"--output={tmp_path / 'out'}") == 0
    page = (tmp_path / "out" / "comparison.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") == 2
    assert "now: light" in page
    assert "<script>" not in page
    saved = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert saved["groups"][0]["images"] == 12


def test_a_model_outside_a_run_needs_a_data_set(models, capsys):
    assert compare.main([models["old"], models["good"]]) == 2
    assert "Name the images by --dataset and --data_dir." in capsys.readouterr().err


def test_a_model_is_not_compared_with_itself(models, photos, capsys):
    link = models["old"] + "/../old"
    assert compared({**models, "link": link}, photos, "link") == 2
    assert "are the same model" in capsys.readouterr().err


@pytest.mark.parametrize("number", [1, 3])
def test_two_models_are_compared(models, number, capsys):
    assert compare.main([models["old"]] * number) == 2
    assert f"Received: {number}" in capsys.readouterr().err


def test_exports_of_a_run_need_checksums(tmp_path, capsys):
    """A SavedModel is a program, and one from elsewhere may lie in a run folder."""
    old, new = tmp_path / "old", tmp_path / "run/exports/step_00"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"")
    assert compare.main([str(old), str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert f"{new} lacks checksums.json" in told and f"{old} lacks" not in told
