"""Arrays and `tf.data` data sets train as folders do, and a run knows its images."""

import json
import pathlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from bsce_keras import make_config, run_experiment
from bsce_keras.data.stream import ClassIncrementalStream
from bsce_keras.runtime.errors import RequestError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 8, 8, 3), np.uint8)
    return images, np.arange(24) % 4


def digests_of(config):
    from bsce_keras.records.data_record import stream_digests

    return stream_digests(ClassIncrementalStream(config.stream))


def test_run_of_arrays_is_scored_and_refuses_other_images(tmp_path):
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    request = {
        "test_data": (images[1000:], digits.target[1000:]),
        "num_base_classes": 10,
        "backbone": "small",
        "epochs": np.int64(4),
        "batch_size": np.int64(20),
        "export": False,
        "run_dir": tmp_path / "run",
    }
    data = images[:1000], digits.target[:1000]
    config = make_config(data, **request)
    assert run_experiment(config)["final_accuracy"] > 0.5
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["stream"]["dataset"] == "arrays"
    assert "images" not in record["stream"]
    # The same images in another order are the same data.
    run_experiment(make_config((data[0][::-1], data[1][::-1]), **request))
    with pytest.raises(RequestError, match="begun with other images"):
        run_experiment(make_config((255 - data[0], data[1]), **request))


@pytest.mark.slow
def test_every_step_of_few_images_has_the_least_number_of_updates(arrays, capsys):
    request = {"test_data": arrays, "num_base_classes": 2, "export": False}
    config = make_config(
        arrays, **request, num_increments=1, min_updates=20, run_dir="run"
    )
    assert config.model.backbone == "resnet8"
    run_experiment(config)
    lines = pathlib.Path("run/steps.jsonl").read_text().splitlines()
    assert [json.loads(line)["epochs"] for line in lines] == [20, 20]
    printed = capsys.readouterr().out
    assert "at least 16 epochs and 20 updates a step" in printed
    assert "step 1/1  epoch 20/20" in printed
    asked = make_config(arrays, **request, schedule_scale=0.5).training
    assert (asked.epochs, asked.min_updates) == (8, 0)
    assert make_config(arrays, **request, epochs=3).training.min_updates == 0


@pytest.mark.parametrize("batched", [True, False])
def test_shuffled_tf_data_is_the_same_data_as_arrays(arrays, batched):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(arrays).shuffle(24, seed=3)
    request = {"validation_share": 0.2, "num_increments": 1}
    one = make_config(arrays, **request)
    other = make_config(data.batch(5) if batched else data, **request)
    assert digests_of(one) == digests_of(other)


def test_batches_of_grey_images_need_no_last_axis(arrays):
    """As of `keras.datasets.mnist`; 24 images make a last batch of another length."""
    import tensorflow as tf

    grey = (arrays[0][..., 0], arrays[1])
    data = tf.data.Dataset.from_tensor_slices(grey).batch(5)
    found = make_config(data, validation_share=0.2)
    assert digests_of(found) == digests_of(make_config(grey, validation_share=0.2))


@pytest.mark.parametrize("as_data_set", [False, True])
def test_images_of_several_sizes_are_refused_by_their_sizes(arrays, as_data_set):
    import tensorflow as tf

    images = [arrays[0][0], arrays[0][1][:7]]
    data = pair = (images, [0, 1])
    if as_data_set:
        shapes = (tf.TensorSpec((None, 8, 3), tf.uint8), tf.TensorSpec((), tf.int64))
        data = tf.data.Dataset.from_generator(
            lambda: zip(*pair, strict=True), output_signature=shapes
        )
    sizes = r"one size. Received: \(7, 8, 3\), \(8, 8, 3\). Resize them"
    with pytest.raises(RequestError, match=sizes):
        make_config(data, validation_share=0.2)


def test_images_are_used_in_their_own_size(arrays):
    config = make_config(arrays, validation_share=0.2)
    assert (config.stream.image.size, config.stream.image.stored_size) == (8, 8)
    assert config.stream.class_names == ("0", "1", "2", "3")
    assert config.stream.class_order == "arrival"


def test_images_of_the_size_of_a_network_are_not_resized(arrays):
    import keras

    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(2.0)(inputs))
    sizes = [{"image_size": 8}, {"backbone": keras.Model(inputs, outputs)}]
    plain = make_config(arrays, validation_share=0.2).stream.image
    for request in sizes:
        config = make_config(arrays, validation_share=0.2, **request)
        assert config.stream.image == plain


def test_float_images_from_0_to_255_are_rounded(arrays):
    images, labels = arrays
    found = make_config((images + 0.25 * (images < 255), labels), validation_share=0.2)
    assert digests_of(found) == digests_of(make_config(arrays, validation_share=0.2))


@pytest.mark.parametrize("dtype", [np.float32, object])
def test_whole_numbers_are_labels_in_other_types_too(arrays, dtype):
    images, labels = arrays
    found = make_config((images, labels.astype(dtype)), validation_share=0.2)
    assert digests_of(found) == digests_of(make_config(arrays, validation_share=0.2))


def test_class_with_only_test_images_is_refused_when_the_request_is_read(arrays):
    images, labels = arrays
    few = (images[labels < 3], labels[labels < 3])
    with pytest.raises(RequestError, match="Classes without one: 3. Add"):
        make_config(few, test_data=arrays, num_base_classes=3, num_increments=1)
    # Classes that do not arrive need not be there.
    config = make_config(few, test_data=arrays, num_base_classes=3, num_increments=0)
    assert config.stream.num_classes == 3


@pytest.mark.parametrize(
    ("change", "request_", "fragment"),
    [
        (lambda x, y: x, {}, "dataset must be a pair (images, labels)"),
        (lambda x, y: (x, y[:-1]), {}, "labels of shape (23,)"),
        (lambda x, y: (x, y - 1), {}, "must be integers from 0. Received: int64 with"),
        (lambda x, y: (x, y + 0.5), {}, "Received: float64 with 0.5"),
        (lambda x, y: (x, y * np.nan), {}, "Received: float64 with nan"),
        (lambda x, y: (x.astype(object), y), {}, "Received: object. Convert them"),
        (lambda x, y: (x.astype(str), y), {}, "must hold numbers. Received: <U"),
        (lambda x, y: ((x / 255).astype(np.uint8), y), {}, "Received: uint8 from 0 to"),
        (lambda x, y: (x, y.astype(str)), {}, "pass their names as class_names"),
        (lambda x, y: (x, y + (y > 2)), {}, "Classes without one: 3. Add"),
        (lambda x, y: (x / 255.0, y), {}, "values from 0 to 255. Received: float64"),
        # Resizing of photos in [0, 1] may exceed 1 a little.
        (lambda x, y: (x / 254.0, y), {}, "float64 from 0.0 to 1.00"),
        (
            lambda x, y: (x.transpose(0, 3, 1, 2), y),
            {},
            "Received: shape (24, 3, 8, 8)",
        ),
        (lambda x, y: (x[..., [0, 1, 2, 2]], y), {}, "Drop alpha by images[..., :3]"),
        (lambda x, y: (x, y), {"validation_share": None}, "need test_data=(images"),
        (lambda x, y: (x, y), {"class_names": ["a", "b"]}, "at least 4 different"),
        (lambda x, y: (x, y), {"class_names": {*"abcd"}}, "class_names must be a list"),
        (
            lambda x, y: (x, y),
            {"class_names": dict(zip("badc", (1, 0, 3, 2), strict=True))},
            "class_names must be a list",
        ),
        (lambda x, y: (x, y), {"class_order": {0, 1, 2, 3}}, "or a list of class nam"),
        (lambda x, y: (x, y), {"class_names": list("abca")}, "4 names, 3 different"),
        (
            lambda x, y: (x, y),
            {"class_names": [*"abc", "d\n"]},
            "each one non-empty line",
        ),
        (
            lambda x, y: (x, y),
            {"test_data": (np.full((1, 9, 9, 3), 9), np.zeros(1, int))},
            "must have the shape (8, 8, 3)",
        ),
        (lambda x, y: (x, y), {"data_dir": "photos"}, "which are held in memory"),
        (lambda x, y: "digits", {"class_names": ["a"]}, "class_names is for a data"),
        (lambda x, y: "arrays", {}, "--dataset=arrays is for images in memory"),
    ],
)
def test_other_forms_are_refused(arrays, change, request_, fragment):
    with pytest.raises(RequestError) as refused:
        make_config(change(*arrays), **{"validation_share": 0.2, **request_})
    assert fragment in str(refused.value)


def test_infinite_tf_data_is_refused(arrays):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(arrays).repeat()
    with pytest.raises(RequestError, match="must be finite"):
        make_config(data, validation_share=0.2)


@pytest.mark.parametrize(
    "order", [["c", "a", "d", "b"], [2, 0, 3, 1], np.array([2, 0, 3, 1])]
)
def test_class_order_may_be_a_list(arrays, order):
    config = make_config(
        arrays, class_names=list("abcd"), class_order=order, validation_share=0.2
    )
    assert config.stream.arriving_class_names == ("c", "a", "d", "b")


def test_class_order_that_misses_a_class_is_refused():
    with pytest.raises(RequestError, match=r"class_order must .* missing: 0, 9"):
        make_config("digits", class_order=range(1, 9))


@pytest.mark.slow
def test_more_classes_make_a_run_of_arrays_grow(arrays, tmp_path):
    images, labels = arrays
    request = {"validation_share": 0.2, "epochs": 1, "export": False}
    request |= {"exemplars_per_class": 2, "backbone": "resnet8"}
    request |= {"run_dir": tmp_path / "run"}
    first = (images[labels < 3], labels[labels < 3])
    run_experiment(make_config(first, num_base_classes=3, **request))
    grown = make_config(arrays, num_increments=1, **request)
    assert (grown.stream.num_base_classes, grown.stream.increments) == (3, (1,))
    run_experiment(grown)
    steps = (tmp_path / "run" / "steps.jsonl").read_text().splitlines()
    assert [json.loads(line)["num_classes"] for line in steps] == [3, 4]
