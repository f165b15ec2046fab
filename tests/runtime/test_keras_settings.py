"""Keras settings of the user: training refuses them, and commands set their own."""

import keras
import pytest

from bsce_keras.config import TrainingConfig
from bsce_keras.runtime.devices import prepared_runtime
from bsce_keras.runtime.errors import RequestError

TRAINING = TrainingConfig(
    epochs=1, batch_size=2, learning_rate=0.1, weight_decay=0.0, precision="float32"
)


@pytest.fixture
def settings():
    yield keras.config
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")


def test_a_run_refuses_settings_that_it_does_not_work_with(settings):
    settings.set_image_data_format("channels_first")
    settings.set_floatx("float16")
    with pytest.raises(RequestError) as refusal, prepared_runtime(TRAINING):
        pass
    [problem] = refusal.value.problems
    assert "image_data_format channels_first (needed: channels_last)" in problem
    assert "floatx float16 (needed: float32)" in problem


def test_another_backend_is_refused_before_keras_loads_it(run_python, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    run_python("""
from bsce_keras.runtime.errors import RequestError
try:
    from bsce_keras import run_experiment
except RequestError as error:
    assert "Keras is set to backend jax (needed: tensorflow)" in str(error)
else:
    raise AssertionError
""")


@pytest.fixture
def torch_in_channels_first(monkeypatch, tmp_path):
    (tmp_path / "keras.json").write_text(
        '{"floatx": "float16", "image_data_format": "channels_first",'
        ' "backend": "torch", "epsilon": 1e-07}'
    )
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "torch")


def test_the_commands_train_with_their_own_settings(
    run_python, torch_in_channels_first
):
    run_python("""
from bsce_keras.runtime.tensorflow_import import import_keras, refuse_other_keras
import_keras()
refuse_other_keras()
""")


@pytest.mark.slow
def test_a_keras_file_predicts_with_the_settings_of_the_commands(
    run_python, torch_in_channels_first, tmp_path
):
    inputs = keras.Input((4, 4, 1))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    path = tmp_path / "model.keras"
    keras.Model(inputs, {"probabilities": mean}).save(path)
    run_python(f"""
import numpy as np
from bsce_keras.evaluation.portable_model import load_runner
run = load_runner({str(path)!r})
assert run(np.ones((1, 4, 4, 1), "float32"))["probabilities"] == 1
""")
