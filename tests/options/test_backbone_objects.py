"""A backbone that is a Keras model is trained, resumed and kept in the run folder."""

import keras
import pytest

from bsce_keras import load_classifier, make_config, run_experiment
from bsce_keras.runtime.errors import RequestError


def backbone(seed=1):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def config_of(run_dir, model):
    return make_config(
        "digits",
        backbone=model,
        num_base_classes=10,
        epochs=1,
        export=False,
        run_dir=run_dir,
    )


def test_backbone_object_is_trained_and_resumed_with_the_same_weights(tmp_path):
    run_dir = tmp_path / "run"
    config = config_of(run_dir, backbone())
    run_experiment(config)
    assert load_classifier(run_dir).output["features"].shape == (None, 4)
    again = config_of(run_dir, backbone())
    assert again.model == config.model
    with pytest.raises(RequestError, match="was begun with another") as refused:
        config_of(run_dir, backbone(seed=2))
    # The way out that the message names.
    path = str(run_dir / "backbone.keras")
    assert f"Pass backbone={path!r}" in str(refused.value)
    assert config_of(run_dir, path).model == config.model


def test_backbone_object_with_the_same_weights_and_another_scale_is_refused(tmp_path):
    images = keras.Input((8, 8, 1))
    scaled = [
        keras.Model(images, backbone()(keras.layers.Rescaling(scale)(images)))
        for scale in (1, 1, 0.5)
    ]
    run_experiment(config_of(tmp_path, scaled[0]))
    config_of(tmp_path, scaled[1])
    with pytest.raises(RequestError, match="was begun with another backbone"):
        config_of(tmp_path, scaled[2])


def test_backbone_object_in_the_run_of_a_named_one_is_refused(tmp_path):
    run_experiment(config_of(tmp_path, "resnet8"))
    with pytest.raises(RequestError, match="without a backbone from Python"):
        config_of(tmp_path, backbone())


def test_what_is_not_a_model_is_refused(tmp_path):
    with pytest.raises(RequestError, match="or a keras.Model. Received: Conv2D"):
        config_of(tmp_path, keras.layers.Conv2D(4, 3))
