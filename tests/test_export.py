"""An exported step is the whole model and needs only TensorFlow."""

import dataclasses
import errno
import functools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.config import ImageSpec
from bsce_keras.data.decode import fit_to_square
from bsce_keras.evaluation.export_folder import CHECKSUMS, altered_files
from bsce_keras.exports import step_export as export
from bsce_keras.exports.step_export import export_step
from bsce_keras.models.classifier import build_classifier
from bsce_keras.models.heads import LinearHead
from bsce_keras.models.resnet_cifar import resnet8
from bsce_keras.runtime.errors import RequestError

IMAGE = ImageSpec(size=8, stored_size=10, channels=1, mean=(0.3,), std=(0.4,))
NAMES = ("zwei", "drei", "fünf")

# Importing either package fails, even if it is installed.
LOAD_ELSEWHERE = """
import sys
sys.modules["bsce_keras"] = sys.modules["keras"] = None
import numpy as np
import tensorflow as tf
path, images, results = sys.argv[1:]
images = np.load(images)
loaded = tf.saved_model.load(path)
encoded = tf.stack([tf.io.encode_png(image) for image in images])
np.savez(
    results,
    raw=loaded.signatures["serving_default"](images=tf.constant(images))[
        "probabilities"
    ],
    encoded=loaded.signatures["serve_encoded"](encoded=encoded)["probabilities"],
    names=[name.decode() for name in loaded.class_names.numpy()],
)
"""


def make_classifier():
    """Returns a ResNet-8 whose variables and moving averages are random."""
    keras.utils.set_random_seed(0)
    classifier = build_classifier(resnet8(), LinearHead(len(NAMES)), IMAGE)
    rng = np.random.default_rng(0)
    for variable in classifier.variables:
        value = keras.ops.convert_to_numpy(variable)
        noise = rng.normal(0, 0.02, value.shape)
        variable.assign(value * rng.uniform(0.5, 1.5, value.shape) + noise)
    return classifier


def random_images(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def probabilities_of(classifier, squares):
    """Returns the probabilities of the model for squares of the stored size."""
    centre = np.asarray(squares)[:, 1:9, 1:9]
    logits = classifier(centre, training=False)["logits"]
    return tf.nn.softmax(tf.cast(logits, tf.float32)).numpy()


def ask(path, **inputs):
    loaded = tf.saved_model.load(str(path))
    signature = "serving_default" if "images" in inputs else "serve_encoded"
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    return loaded.signatures[signature](**tensors)["probabilities"].numpy()


@pytest.fixture(scope="module")
def classifier():
    return make_classifier()


@pytest.fixture(scope="module")
def exported(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("exports") / "step_00"
    export_step(classifier, IMAGE, NAMES, str(path))
    return path


@pytest.fixture
def small_export(tmp_path):
    """Export of a small model, which takes a tenth of a second."""
    path = tmp_path / "step_00"
    export_step(small_classifier(), IMAGE, ("a", "b"), str(path))
    return path


def small_classifier():
    images = keras.Input((8, 8, 1))
    scaled = keras.layers.Rescaling(1 / 255)(images)
    features = keras.layers.Flatten()(scaled)
    logits = keras.layers.Dense(2)(features)
    return keras.Model(images, {"logits": logits, "features": features})


def test_an_export_equals_the_model_with_only_tensorflow_installed(
    classifier, exported, tmp_path
):
    images = random_images(5, 10, 10, 1)
    np.save(tmp_path / "images.npy", images)
    results = tmp_path / "results.npz"
    arguments = [exported, tmp_path / "images.npy", results]
    process = subprocess.run(
        [sys.executable, "-I", "-c", LOAD_ELSEWHERE, *map(str, arguments)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    expected = probabilities_of(classifier, images)
    assert np.ptp(expected, axis=0).max() > 0.01  # The output depends on the image.
    with np.load(results) as found:
        np.testing.assert_allclose(found["raw"], expected, atol=1e-5)
        np.testing.assert_allclose(found["encoded"], expected, atol=1e-5)
        assert tuple(found["names"]) == NAMES


def test_inputs_and_outputs_have_the_documented_names_and_types(exported):
    loaded = tf.saved_model.load(str(exported))
    raw, encoded = (
        loaded.signatures[name] for name in ("serving_default", "serve_encoded")
    )
    spec = raw.structured_input_signature[1]
    assert list(spec) == ["images"]
    assert spec["images"].dtype == tf.uint8
    assert spec["images"].shape.as_list() == [None, None, None, 1]
    assert list(encoded.structured_input_signature[1]) == ["encoded"]
    assert loaded.stored_size.numpy() == 10
    for signature in (raw, encoded):
        output = signature.structured_outputs["probabilities"]
        assert (output.dtype, output.shape.as_list()) == (tf.float32, [None, 3])


def test_images_of_any_size_are_fitted_as_in_training(classifier, exported):
    images = random_images(4, 25, 17, 1)
    expected = probabilities_of(classifier, fit_to_square(tf.constant(images), 10))
    np.testing.assert_allclose(ask(exported, images=images), expected, atol=1e-5)


def test_one_batch_may_hold_files_of_many_sizes(classifier, exported):
    images = [random_images(*size, 1) for size in ((10, 10), (31, 12), (9, 40))]
    encoded = [tf.io.encode_png(image).numpy() for image in images]
    squares = [fit_to_square(tf.constant(image), 10) for image in images]
    expected = probabilities_of(classifier, squares)
    np.testing.assert_allclose(ask(exported, encoded=encoded), expected, atol=1e-5)


def test_an_exported_model_refuses_files_that_its_run_refused(tmp_path):
    strict = dataclasses.replace(IMAGE, max_pixels=99)
    export_step(small_classifier(), strict, ("a", "b"), str(tmp_path / "step"))
    encoded = [
        tf.io.encode_png(np.zeros((10, side, 1), np.uint8)).numpy() for side in (9, 10)
    ]
    assert ask(tmp_path / "step", encoded=encoded[:1]).shape == (1, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 99 pixels"):
        ask(tmp_path / "step", encoded=encoded)


def test_a_model_of_mixed_precision_returns_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    classifier = small_classifier()
    export_step(classifier, IMAGE, ("a", "b"), str(tmp_path / "step"))
    images = random_images(4, 10, 10, 1)
    found = ask(tmp_path / "step", images=images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, probabilities_of(classifier, images), atol=1e-2)
    loaded = tf.saved_model.load(str(tmp_path / "step"))
    for signature in loaded.signatures.values():
        assert signature.structured_outputs["embedding"].dtype == tf.float32


def test_a_model_of_two_replicas_is_exported_as_one(two_devices, tmp_path):
    with two_devices.scope():
        classifier = small_classifier()
    export_step(classifier, IMAGE, ("a", "b"), str(tmp_path / "step"))
    images = random_images(4, 10, 10, 1)
    np.testing.assert_allclose(
        ask(tmp_path / "step", images=images),
        probabilities_of(classifier, images),
        atol=1e-5,
    )


def test_checksums_name_every_altered_file(small_export):
    assert altered_files(small_export) == []
    weights = small_export / "variables" / "variables.data-00000-of-00001"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    (small_export / "saved_model.pb").unlink()
    (small_export / "added").touch()
    assert altered_files(small_export) == [
        "added",
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
    ]


def test_the_rest_of_a_killed_export_is_not_part_of_the_next(tmp_path):
    part = tmp_path / "step_00.tmp/new/model.keras"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half a file")
    path = str(tmp_path / "step_00")
    export_step(small_classifier(), IMAGE, ("a", "b"), path, formats=())
    assert altered_files(tmp_path / "step_00") == []
    assert not (tmp_path / "step_00/model.keras").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["step_00"]


def test_a_disk_that_is_full_for_tensorflow_is_an_error_of_the_disk(
    tmp_path, monkeypatch
):
    def full(*_):
        message = "variables/variables.index; No space left on device"
        raise tf.errors.ResourceExhaustedError(None, None, message)

    monkeypatch.setattr(export, "write_saved_model", full)
    with pytest.raises(OSError, match="No space left") as error:
        export_step(small_classifier(), IMAGE, ("a", "b"), str(tmp_path / "step"))
    assert error.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_every_file_is_on_the_disk_before_an_export_takes_its_name(
    tmp_path, monkeypatch
):
    path, synced, before = tmp_path / "step_00", [], []
    replace = os.replace

    def fsync(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    def renamed(source, target):
        if target == str(path):
            before.extend(synced)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", renamed)
    export_step(small_classifier(), IMAGE, ("a", "b"), str(path))
    written = [path, *path.rglob("*")]
    names = {f"{path}.tmp/new{str(one).removeprefix(str(path))}" for one in written}
    assert f"{path}.tmp/new/variables/variables.index" in names <= {*before}
    assert synced[-1] == str(tmp_path)


def test_a_second_export_to_the_same_folder_at_once_is_refused(tmp_path):
    path = str(tmp_path / "step_00")
    again = functools.partial(export_step, small_classifier(), IMAGE, ("a", "b"), path)

    def while_it_is_written(folder):
        with pytest.raises(RequestError, match=r"step_00.*is in use by process \d+"):
            again()

    again(card=while_it_is_written)
    assert altered_files(path) == []
    again()
    assert [path.name for path in tmp_path.iterdir()] == ["step_00"]


@pytest.mark.parametrize("content", ["{", "[1]", "3"])
def test_checksums_that_cannot_be_read_count_as_altered(small_export, content):
    (small_export / CHECKSUMS).write_text(content)
    assert altered_files(small_export) == [CHECKSUMS]


def test_a_full_disk_keeps_the_old_export_and_leaves_nothing_partial(
    small_export, monkeypatch
):
    def full(path, value):
        raise OSError(28, "No space left on device")

    before = (small_export / CHECKSUMS).read_bytes()
    other = small_export.with_name("step_01")
    with monkeypatch.context() as patched:
        patched.setattr(export, "write_json", full)
        for path in (small_export, other):
            with pytest.raises(OSError, match="No space"):
                export_step(small_classifier(), IMAGE, ("c", "d"), str(path))
    assert (small_export / CHECKSUMS).read_bytes() == before
    assert altered_files(small_export) == []
    assert not other.exists()
    export_step(small_classifier(), IMAGE, ("c", "d"), str(small_export))
    export_step(small_classifier(), IMAGE, ("c", "d"), str(other))
    assert altered_files(small_export) == altered_files(other) == []
    assert {path.name for path in small_export.parent.iterdir()} == {
        "step_00",
        "step_01",
    }
