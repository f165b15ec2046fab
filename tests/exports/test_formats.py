"""Files of every format predict what the SavedModel does, without this package."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras import predict
from bsce_keras.config import ImageSpec
from bsce_keras.config.export_formats import FORMATS, format_problems
from bsce_keras.data.digits import load_digits
from bsce_keras.evaluation.export_folder import altered_files
from bsce_keras.evaluation.served_model import load_model
from bsce_keras.exports.step_export import export_step
from bsce_keras.models.classifier import build_classifier
from bsce_keras.models.heads import LinearHead
from bsce_keras.models.resnet_cifar import resnet8

IMAGE = ImageSpec(size=8, stored_size=10, channels=1, mean=(0.3,), std=(0.4,))
NAMES = tuple("jihgfedcba")  # as they arrived, not sorted
FLOAT_FILES = ("model.tflite", "model.onnx", "model.keras")

ELSEWHERE = """
import json, sys
import numpy as np
{imports}
images = np.load("images.npy")
outputs = {run}
np.save("probabilities.npy", outputs["probabilities"])
for name in ("bsce_keras", "keras", "tensorflow"):
    assert name not in sys.modules, name
"""
LITERT = ELSEWHERE.format(
    imports="from ai_edge_litert.interpreter import Interpreter",
    run="Interpreter('model.tflite').get_signature_runner()(images=images)",
)
ONNX = ELSEWHERE.format(
    imports="import onnxruntime",
    run="dict(zip(['embedding', 'probabilities'], "
    "onnxruntime.InferenceSession('model.onnx').run("
    "['embedding', 'probabilities'], {'images': images})))",
)


@pytest.fixture(scope="module")
def classifier():
    """ResNet-8 whose logits differ from digit to digit."""
    keras.utils.set_random_seed(0)
    classifier = build_classifier(resnet8(), LinearHead(len(NAMES)), IMAGE)
    rng = np.random.default_rng(0)
    for variable in classifier.variables:
        value = keras.ops.convert_to_numpy(variable)
        variable.assign(value * rng.uniform(0.5, 1.5, value.shape))
    return classifier


@pytest.fixture(scope="module")
def exported(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("exports") / "step_00"
    export_step(classifier, IMAGE, NAMES, str(path), tuple(FORMATS))
    return path


@pytest.fixture(scope="module")
def digits():
    """Hundred digits in the stored size of the model."""
    images = load_digits(None, True, True).test.images[:100]
    return np.asarray(np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))))


def outputs(path, images):
    return load_model(str(path)).outputs_of_images(images)


@pytest.mark.parametrize("file", FLOAT_FILES)
def test_float_formats_agree_with_the_saved_model(exported, digits, file):
    expected = outputs(exported, digits)
    actual = outputs(exported / file, digits)
    assert np.ptp(expected["probabilities"].argmax(axis=1)) > 0
    for name in ("probabilities", "embedding"):
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=1e-4)


def test_files_of_a_mixed_run_return_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = build_classifier(resnet8(), LinearHead(len(NAMES)), IMAGE)
    path = tmp_path / "step_00"
    export_step(mixed, IMAGE, NAMES, str(path), ("keras",))
    keras.config.set_dtype_policy("float32")
    served = keras.saving.load_model(path / "model.keras")
    assert served.output["probabilities"].dtype == "float32"


def test_a_file_refuses_images_that_the_run_refused(classifier, tmp_path):
    strict = dataclasses.replace(IMAGE, max_pixels=99)
    export_step(classifier, strict, NAMES, str(tmp_path / "one"), ("keras",))
    model = load_model(str(tmp_path / "one" / "model.keras"))
    encoded = [
        tf.io.encode_png(np.zeros((10, side, 1), np.uint8)).numpy() for side in (9, 10)
    ]
    small, large = model.outputs_of_files(encoded)
    assert small[1] is None
    assert large == (None, "more than 99 pixels")


def test_eight_bit_weights_mostly_predict_the_same_class(exported, digits):
    expected = outputs(exported, digits)["probabilities"].argmax(axis=1)
    actual = outputs(exported / "model_int8.tflite", digits)["probabilities"]
    assert np.mean(actual.argmax(axis=1) == expected) >= 0.9


def test_onnx_needs_no_other_format_beside_it(classifier, tmp_path):
    export_step(classifier, IMAGE, NAMES, str(tmp_path / "one"), ("onnx",))
    assert (tmp_path / "one" / "model.onnx").is_file()


def test_eight_bit_weights_are_smaller(exported):
    whole, small = (exported / file for file in FORMATS["litert"].files)
    assert small.stat().st_size < 0.5 * whole.stat().st_size


@pytest.mark.parametrize(("file", "code"), [("tflite", LITERT), ("onnx", ONNX)])
def test_a_file_runs_with_its_runtime_only(
    exported, digits, file, code, run_python, tmp_path
):
    name = f"model.{file}"
    (tmp_path / name).write_bytes((exported / name).read_bytes())
    np.save(tmp_path / "images.npy", digits)
    run_python(code)
    expected = outputs(exported, digits)["probabilities"]
    actual = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_the_description_has_classes_and_input(exported):
    facts = json.loads((exported / "model.json").read_text("utf-8"))
    assert facts["class_names"] == list(NAMES)
    assert facts["input"]["shape"] == ["batch", 10, 10, 1]
    assert facts["input"]["values"] == "grey"
    assert facts["outputs"] == {
        "probabilities": ["batch", 10],
        "embedding": ["batch", 64],
    }


def test_an_altered_file_is_refused(exported, tmp_path, capsys):
    file = exported / "model.onnx"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    try:
        assert altered_files(exported) == ["model.onnx"]
        assert predict.main([f"--model={file}", __file__]) == 2
        assert "was changed after the export" in capsys.readouterr().err
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("file", ["", *FLOAT_FILES])
def test_predict_takes_every_format(exported, digits, file, tmp_path, capsys):
    photo = tmp_path / "digit.png"
    photo.write_bytes(tf.io.encode_png(digits[0]).numpy())
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"text")
    model, table = f"--model={exported / file}", tmp_path / "rows.npy"
    assert predict.main([model, f"--embedding={table}", str(photo), str(bad)]) == 1
    expected = outputs(exported, digits[:1])
    name = NAMES[expected["probabilities"].argmax()]
    assert capsys.readouterr().out.split("\t")[1] == name
    rows = np.load(table)
    np.testing.assert_allclose(rows[0], expected["embedding"][0], 1e-4, 1e-4)
    assert np.isnan(rows[1]).all()


def test_an_unknown_format_is_refused_with_the_nearest_name():
    [problem] = format_problems("export_formats", "saved_model, onyx")
    assert "Received: 'onyx'. Did you mean onnx?" in problem
