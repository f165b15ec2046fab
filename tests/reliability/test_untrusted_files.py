"""Planted files are refused: loading never runs code."""

import ast
import io
import json
import os
import pathlib
import shutil
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import bsce_keras
from bsce_keras import evaluate, make_config, predict, report
from bsce_keras.config import ImageSpec
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.evaluation.export_folder import CHECKSUMS, file_checksums
from bsce_keras.exports.step_export import export_step
from bsce_keras.records.base_step import load_base_step
from bsce_keras.records.checkpoints import Checkpoints
from bsce_keras.records.run_identity import begin_run
from bsce_keras.records.run_records import RunRecords
from bsce_keras.records.step_record import StepRecord
from bsce_keras.runtime import array_files
from bsce_keras.runtime.errors import RequestError

PACKAGE = pathlib.Path(bsce_keras.__file__).parent


class Trap:
    """Object that makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (str(self.folder),))


@pytest.fixture
def trap(tmp_path):
    """Array that would run code when it is unpickled, which must never happen."""
    yield np.array([Trap(tmp_path / "trapped")], dtype=object)
    assert not (tmp_path / "trapped").exists()


def sign(path):
    """Writes a manifest with valid checksums for planted arrays."""
    manifest = json.loads(pathlib.Path(f"{path}.json").read_text())
    del manifest["sha256"]
    manifest["arrays_sha256"] = array_files.sha256(f"{path}.npz")
    manifest["sha256"] = array_files._sha256_of_json(manifest)
    pathlib.Path(f"{path}.json").write_text(json.dumps(manifest))


def plant_npz(path, array):
    np.savez(path, allow_pickle=True, **{"classifier/0000": array})


def plant_npy(path, array):
    with open(path, "wb") as file:
        np.save(file, array, allow_pickle=True)


def plant_pickle(path, array):
    array.dump(path)


def plant_earlier_states(path, array):
    plant_npz(path, np.zeros(1))
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("states/earlier.npy", buffer.getvalue())


@pytest.mark.parametrize(
    "plant", [plant_npz, plant_npy, plant_pickle, plant_earlier_states]
)
def test_a_pickle_in_a_checkpoint_with_valid_checksums_is_refused(
    plant, tmp_path, trap, caplog
):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_step(0, {"classifier/0000": np.zeros(3)}, {"number": 0})
    path = tmp_path / "checkpoints" / "step_00"
    plant(f"{path}.npz", trap)
    sign(path)
    assert checkpoints.finished_states() == []
    assert "step_00 is damaged (its " in caplog.text
    assert "cannot be read" in caplog.text
    if plant is not plant_earlier_states:
        assert checkpoints.load_step(0) is None


def test_a_pickle_in_place_of_a_recorded_array_is_refused(
    make_run, trap, capsys, tmp_path
):
    for name in ("confusion.npy", "per_class_accuracy.npy"):
        run_dir = make_run(run_dir=tmp_path / name).run_dir
        plant_npy(os.path.join(run_dir, name), trap)
        assert report.main([run_dir]) == 2
        assert f"{name} is damaged" in capsys.readouterr().err


def digits_run(run_dir):
    """Writes a run folder with a finished base step: records and a checkpoint."""
    config = make_config("digits", run_dir=str(run_dir), num_base_classes=10)
    record = StepRecord(
        step=0,
        num_classes=10,
        num_old_classes=0,
        num_base_classes=10,
        train_images=1300,
        confusion=np.eye(10, dtype=int),
        epochs=16,
        train_seconds=1.0,
        images_per_second=1.0,
        peak_memory_mb=1.0,
        class_counts=[130] * 10,
        exemplars_per_class=[0] * 10,
    )
    begin_run(run_dir, config, num_replicas=1)
    arrays = {"classifier/0000": np.zeros(3), **record.to_arrays()}
    Checkpoints(run_dir).save_step(0, arrays, record.to_state())
    RunRecords(run_dir, config, [record])


def test_a_pickle_in_a_base_run_is_refused(tmp_path, trap):
    digits_run(tmp_path / "base")
    path = tmp_path / "base/checkpoints/step_00"
    plant_npz(f"{path}.npz", trap)
    sign(path)
    config = make_config(
        "digits", num_base_classes=10, base_run_dir=tmp_path / "base", run_dir="run"
    )
    step = ClassIncrementalStream(config.stream).steps[0]
    with pytest.raises(RequestError, match="holds no finished, undamaged step 0"):
        load_base_step(config, step)


@pytest.fixture
def lambda_model(tmp_path):
    """Saved Keras model with a layer that would make a folder when it is called."""
    folder = str(tmp_path / "called")
    images = keras.Input((8, 8, 3))
    spy = keras.layers.Lambda(
        lambda x: (os.mkdir(folder), x)[1], output_shape=(8, 8, 3)
    )
    path = tmp_path / "model.keras"
    keras.Model(images, spy(images)).save(path)
    shutil.rmtree(folder, ignore_errors=True)  # Building the model made it.
    yield path
    assert not os.path.exists(folder)


def test_a_keras_model_with_a_lambda_layer_is_never_loaded(
    lambda_model, tmp_path, capsys
):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    image = str(tmp_path / "a.png")
    assert predict.main([f"--model={lambda_model}", image]) == 2
    assert "lacks model.json beside it" in capsys.readouterr().err
    # Inside loaded folders it is an unexpected file.
    digits_run(tmp_path / "run")
    shutil.copy(lambda_model, tmp_path / "run/checkpoints/step_01.npz")
    shutil.copy(lambda_model, tmp_path / "run/checkpoints/step_01.json")
    assert len(Checkpoints(tmp_path / "run").finished_states()) == 1
    export = tmp_path / "run/exports/step_00"
    export_brightness(export)
    shutil.copy(lambda_model, export / "model.keras")
    assert predict.main([f"--model={export}", image]) == 2
    assert "Altered, missing or added: model.keras" in capsys.readouterr().err
    # Keras refuses the layer even where the checksums are those of a forger.
    sums = json.dumps(file_checksums(export))
    (export / CHECKSUMS).write_text(sums)
    assert predict.main([f"--model={export / 'model.keras'}", image]) == 2
    told = capsys.readouterr().err
    assert "cannot be loaded" in told
    assert "Use another format of the step, such as saved_model" in told


def export_brightness(path):
    images = keras.Input((8, 8, 3))
    mean = keras.layers.GlobalAveragePooling2D()(images)
    logits = keras.layers.Dense(10)(mean)
    path.parent.mkdir(parents=True, exist_ok=True)
    names = tuple(str(digit) for digit in range(10))
    export_step(
        keras.Model(images, {"logits": logits}), ImageSpec(8, 8), names, str(path)
    )
    return path


class Writer(tf.Module):
    """SavedModel that looks like an export and writes a file when it is called."""

    def __init__(self, target):
        super().__init__()
        self.target = target
        self.class_names = tf.Variable([str(digit) for digit in range(10)])

    @tf.function(
        input_signature=[tf.TensorSpec((None, None, None, 1), tf.uint8, "images")]
    )
    def serve(self, images):
        tf.io.write_file(self.target, "planted")
        return {"probabilities": tf.zeros((tf.shape(images)[0], 10))}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "encoded")])
    def serve_encoded(self, encoded):
        tf.io.write_file(self.target, "planted")
        return {"probabilities": tf.zeros((tf.shape(encoded)[0], 10))}


def test_a_foreign_model_among_the_exports_of_a_run_is_not_run(tmp_path, capsys):
    digits_run(tmp_path / "run")
    export = tmp_path / "run/exports/step_00"
    module = Writer(str(tmp_path / "written"))
    signatures = {
        "serving_default": module.serve,
        "serve_encoded": module.serve_encoded,
    }
    tf.saved_model.save(module, str(export), signatures=signatures)
    assert evaluate.main([f"--run_dir={tmp_path / 'run'}"]) == 2
    message = capsys.readouterr().err
    assert f"{export} lacks {CHECKSUMS}, which every export of a run has" in message
    assert "A SavedModel is a program" in message
    assert not (tmp_path / "written").exists()


def test_damage_to_any_file_of_an_export_is_named(tmp_path, capsys):
    export = export_brightness(tmp_path / "step_00")
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    files = sorted(path for path in export.rglob("*") if path.is_file())
    assert len(files) == 6
    for path in files:
        good = path.read_bytes()
        middle = len(good) // 2
        for spoilt in (
            bytes([good[0] ^ 1]) + good[1:],
            good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
            good[:-2],
            good + b"\0",
            b"",
            None,
        ):
            if spoilt is None:
                path.unlink()
            else:
                path.write_bytes(spoilt)
            if path.name == CHECKSUMS and spoilt is None:
                break  # Another test covers exports without checksums.
            assert predict.main([f"--model={export}", str(tmp_path / "a.png")]) == 2
            output = capsys.readouterr()
            assert "was changed after the export" in output.err
            assert output.out == ""
            if path.name != CHECKSUMS:
                assert path.name in output.err
        path.write_bytes(good)


# Functions that can run code in data, and the modules that may call them.
FORBIDDEN_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile_command",
    "load_model",
    "load_weights",
    "model_from_json",
    "enable_unsafe_deserialization",
    "deserialize_keras_object",
    "fromfile",
    "py_function",
    "numpy_function",
    "unsafe_load",
    "full_load",
}
ALLOWED = {
    # `served_model.load_model` verifies checksums and warns about SavedModels.
    ("predict.py", "load_model"),
    ("evaluate.py", "load_model"),
    # Keras loads the backbone that the user names in safe mode.
    ("saved_backbone.py", "load_model"),
    # This function of the package reads pixels while training.
    ("pipeline.py", "numpy_function"),
    ("backbone_objects.py", "load_model"),
    ("portable_model.py", "load_model"),
    ("saved_classifier.py", "load_model"),
}


def test_the_package_uses_only_known_loaders():
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            found += [(path.name, what) for what in _dangers(node)]
    assert set(found) == ALLOWED


def test_saved_models_are_loaded_in_one_place():
    places = [
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("_model.load")
    ]
    assert places == ["served_model.py"]


def _dangers(node):
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [getattr(node, "module", None) or "", *(a.name for a in node.names)]
        yield from (name for name in modules if name.split(".")[0] in FORBIDDEN_MODULES)
    if isinstance(node, ast.Call):
        function = ast.unparse(node.func)
        name = function.split(".")[-1]
        if name in FORBIDDEN_CALLS:
            yield name
        if function in ("np.load", "numpy.load"):
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if options.get("allow_pickle") != "False":
                yield function
