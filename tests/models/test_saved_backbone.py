"""Saved backbones: loaded with their weights, or refused with the reason."""

import json
import shutil
import zipfile

import keras
import numpy as np
import pytest

from bsce_keras import make_config
from bsce_keras.config import ImageSpec
from bsce_keras.models.saved_backbone import load_backbone
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.runtime.errors import RequestError

IMAGE = ImageSpec(size=8, stored_size=8, channels=1, mean=(0.3,), std=(0.4,))


def backbone(*layers, shape=(8, 8, 1)):
    return keras.Sequential([keras.Input(shape), *layers])


def save(model, folder, name="net.keras"):
    path = str(folder / name)
    model.save(path)
    return path


def convolution():
    return keras.layers.Conv2D(6, 3, activation="relu")


POOLING = keras.layers.GlobalAveragePooling2D


def test_loaded_backbone_equals_the_saved_one(tmp_path):
    saved = backbone(convolution(), keras.layers.BatchNormalization(), POOLING())
    loaded = load_backbone(save(saved, tmp_path), IMAGE)
    images = np.random.default_rng(1).normal(size=(3, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(loaded(images), saved(images))


def test_backbone_for_images_of_any_size_is_accepted(tmp_path):
    model = backbone(convolution(), POOLING(), shape=(None, None, 1))
    assert load_backbone(save(model, tmp_path), IMAGE).output.shape == (None, 6)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [(list, list), (lambda x: x, lambda x: {"features": x[0]})],
)
def test_only_output_may_be_in_a_list_or_dictionary(inputs, outputs, tmp_path):
    images = keras.Input((8, 8, 1))
    features = POOLING()(convolution()(images))
    saved = keras.Model(inputs([images]), outputs([features]))
    loaded = load_backbone(save(saved, tmp_path), IMAGE)
    assert loaded.output.shape == (None, 6)
    assert loaded.input.shape == (None, 8, 8, 1)


@pytest.mark.parametrize(
    ("model", "received"),
    [
        (lambda: backbone(convolution()), r"features \(None, 6, 6, 6\)"),
        (
            lambda: backbone(convolution(), POOLING(), shape=(32, 32, 3)),
            r"images \(None, 32, 32, 3\)",
        ),
    ],
)
def test_model_that_is_not_a_backbone_is_refused(model, received, tmp_path):
    path = save(model(), tmp_path)
    with pytest.raises(RequestError, match=f"to features.*Received: .*{received}"):
        load_backbone(path, IMAGE)


def test_classifier_inside_another_model_is_refused_by_its_layer(tmp_path):
    scores = keras.layers.Dense(3, "softmax", name="scores")
    inner = keras.Sequential([keras.Input((6,)), scores])
    path = save(backbone(convolution(), POOLING(), inner), tmp_path)
    with pytest.raises(RequestError, match="its layer 'scores' ends in a softmax"):
        load_backbone(path, IMAGE)


def test_file_that_contains_code_is_refused(tmp_path):
    path = save(
        backbone(keras.layers.Lambda(lambda x: x), convolution(), POOLING()), tmp_path
    )
    with pytest.raises(RequestError, match="cannot be loaded"):
        load_backbone(path, IMAGE)


def test_weights_that_are_not_finite_are_refused_by_their_names(tmp_path):
    model = backbone(convolution(), keras.layers.BatchNormalization(), POOLING())
    model.layers[1].gamma.assign([1, np.nan, 1, 1, np.inf, 1])
    path = save(model, tmp_path)
    with pytest.raises(RequestError, match=r"not finite: batch_norm\w*/gamma\. Its"):
        load_backbone(path, IMAGE)


def test_file_that_is_not_a_model_is_refused_before_writing(tmp_path):
    from bsce_keras.experiment import run_experiment

    path = tmp_path / "net.keras"
    path.write_bytes(b"not a model")
    with pytest.raises(RequestError, match="is not a model that Keras 3 saved"):
        make_config("digits", backbone=str(path))
    # The parts of a model, but nothing that Keras can load.
    with zipfile.ZipFile(path, "w") as file:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            file.writestr(name, "{}")
    config = make_config("digits", backbone=str(path), run_dir=str(tmp_path / "run"))
    with pytest.raises(RequestError, match="net.keras cannot be loaded"):
        run_experiment(config)
    assert not (tmp_path / "run").exists()


def test_run_starts_from_saved_weights_and_allows_moving_the_file(tmp_path):
    """Files with equal bytes are the same backbone; other bytes are refused."""
    from bsce_keras.experiment import run_experiment

    model = backbone(convolution(), POOLING())
    path = save(model, tmp_path)

    def config(path, num_increments=0):
        return make_config(
            "digits",
            backbone=path,
            num_base_classes=8,
            increments=[2] * num_increments,
            epochs=1,
            learning_rate=1e-12,
            precision="float32",
            export=False,
            run_dir=str(tmp_path / "run"),
        )

    run_experiment(config(path))
    arrays, _ = Checkpoints(tmp_path / "run").load_step(0)
    kernel = next(a for n, a in arrays.items() if a.shape == (3, 3, 1, 6))
    np.testing.assert_allclose(kernel, model.layers[0].kernel, atol=1e-6)
    moved = shutil.move(path, tmp_path / "moved.keras")
    run_experiment(config(str(moved), num_increments=1))
    lines = (tmp_path / "run/steps.jsonl").read_text().splitlines()
    assert [json.loads(line)["num_classes"] for line in lines] == [8, 10]
    other = save(backbone(convolution(), POOLING()), tmp_path, "other.keras")
    with pytest.raises(RequestError, match="--backbone"):
        run_experiment(config(other, num_increments=1))
