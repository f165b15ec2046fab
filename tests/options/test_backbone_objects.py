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
    with pytest.raises(RequestError, match="was begun with another backbone"):
        config_of(run_dir, backbone(seed=2))


def test_what_is_not_a_model_is_refused(tmp_path):
    with pytest.raises(RequestError, match="or a keras.Model. Received: Conv2D"):
        config_of(tmp_path, keras.layers.Conv2D(4, 3))
