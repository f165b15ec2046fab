"""Exported steps: damage is found before loading, and predictions are per image."""

import io
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from bsce_keras.config import ImageSpec
from bsce_keras.evaluation import portable_model
from bsce_keras.evaluation.export_folder import (
    CHECKSUMS,
    altered_files,
    file_checksums,
    model_problems,
)
from bsce_keras.evaluation.served_model import load_model
from bsce_keras.exports.step_export import export_step


@pytest.fixture
def files(tmp_path):
    """Folder with two files and their checksums, which looks like an export."""
    folder = tmp_path / "exports" / "step_01"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "data").write_bytes(b"weights")
    (folder / CHECKSUMS).write_text(json.dumps(file_checksums(folder)))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Exported model whose logits are plus and minus the mean pixel."""
    images = keras.Input((4, 4, 1))
    mean = keras.layers.GlobalAveragePooling2D()(images)
    logits = keras.layers.Dense(2)
    classifier = keras.Model(images, {"logits": logits(mean)})
    logits.set_weights([np.array([[0.01, -0.01]]), np.zeros(2)])
    path = str(tmp_path_factory.mktemp("exports") / "step_00")
    image = ImageSpec(4, 4, channels=1, max_pixels=5000)
    export_step(classifier, image, ("light", "dark"), path)
    return load_model(path, of_run=True)


def test_altered_added_and_missing_files_are_named(files):
    assert altered_files(files) == []
    (files / "saved_model.pb").write_bytes(b"another graph")
    (files / "variables" / "data").unlink()
    (files / "added").write_bytes(b"")
    assert altered_files(files) == ["added", "saved_model.pb", "variables/data"]


def test_only_models_of_a_run_need_checksums(files):
    (files / CHECKSUMS).unlink()
    assert altered_files(files) is None
    assert model_problems(files) == []
    (problem,) = model_problems(files, of_run=True)
    assert f"{files} lacks {CHECKSUMS}" in problem


def test_the_last_export_is_proposed_for_a_run_folder(files, tmp_path):
    (problem,) = model_problems(tmp_path)
    assert problem.endswith(f"Did you mean {files}?")


def test_probabilities_do_not_depend_on_the_batch_size(model):
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), np.uint8)
    expected = 1 / (1 + np.exp(-0.02 * images.mean(axis=(1, 2, 3))))
    for batch_size in (1, 2, 5):
        found = model.probabilities(images, batch_size)
        np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_an_export_tells_how_large_a_file_may_be(model):
    """The frames of a GIF are counted before it is decoded."""
    assert model.max_pixels == 5000


def test_only_the_file_that_cannot_be_decoded_lacks_probabilities(model):
    image = tf.io.encode_png(np.full((4, 4, 1), 255, np.uint8)).numpy()
    results = model.outputs_of_files([image, b"text", image])
    (first, _), (second, reason), (third, _) = results
    assert second is None and reason == "cut off, altered or not supported"
    np.testing.assert_array_equal(first["probabilities"], third["probabilities"])


def test_a_kind_of_file_that_is_not_supported_is_named_as_in_training(model):
    file = io.BytesIO()
    Image.new("P", (4, 4)).save(file, "BMP")
    # The first colour is not black.
    palette = bytearray(file.getvalue())
    palette[54:58] = b"\1\2\3\0"
    [(_, reason)] = model.outputs_of_files([bytes(palette)])
    assert reason == "a BMP with compression or a colour palette is not supported"


def test_other_formats_load_tensorflow_without_its_start_up_notices(
    tmp_path, monkeypatch
):
    """It decodes the images; without NVIDIA devices it prints an error of CUDA."""
    facts = {"input": {"shape": [None, 8, 8, 3]}, "class_names": ["a", "b"]}
    (tmp_path / "model.json").write_text(json.dumps(facts))
    calls = []
    monkeypatch.setattr(
        portable_model, "import_keras", lambda: calls.append("notices held back")
    )
    monkeypatch.setattr(portable_model, "load_runner", calls.append)
    path = str(tmp_path / "model.onnx")
    portable_model.PortableModel(path)
    assert calls == ["notices held back", path]
