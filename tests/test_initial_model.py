"""A trained classifier as base step: adopted exactly, then taught further classes."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras import make_config
from bsce_keras.config import ImageSpec
from bsce_keras.experiment import run_experiment
from bsce_keras.methods import METHODS, load_method, recipes
from bsce_keras.models.heads import LinearHead
from bsce_keras.models.saved_classifier import cut_classifier
from bsce_keras.runtime.errors import RequestError

OLD, NEW = ("dog", "cat"), "ant"
COLOURS = {"dog": (200, 40, 40), "cat": (40, 200, 40), "ant": (40, 40, 200)}
IMAGE = ImageSpec(size=16, stored_size=16)


def layers(*top):
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            *top,
        ]
    )


def softmax_classifier():
    keras.utils.set_random_seed(7)
    return layers(keras.layers.Dense(2, activation="softmax", name="predictions"))


def save(model, folder):
    path = str(folder / "model.keras")
    model.save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    """Makes a folder of coloured noise of the named classes; returns its path."""

    def make(train, test=(*OLD, NEW), folder="pictures"):
        rng = np.random.default_rng(5)
        root = tmp_path / folder
        for part, names, number in (("train", train, 6), ("test", test, 5)):
            for name in names:
                (root / part / name).mkdir(parents=True)
                for place in range(number):
                    noise = rng.integers(-60, 60, (16, 16, 3))
                    pixels = np.clip(noise + COLOURS[name], 0, 255).astype(np.uint8)
                    data = tf.io.encode_png(pixels).numpy()
                    (root / part / name / f"{place}.png").write_bytes(data)
        return str(root)

    return make


@pytest.fixture
def request_of(tmp_path, pictures):
    """Makes the request of a short run that adopts a classifier."""

    def make(model=None, train=(*OLD, NEW), **more):
        return {
            "data_dir": pictures(train),
            "initial_model": save(model or softmax_classifier(), tmp_path),
            "initial_classes": ",".join(OLD),
            "epochs": 2,
            "batch_size": 4,
            "learning_rate": 0.1,
            "precision": "float32",
            "freeze_backbone": True,
            "exemplars_per_class": 3,
            "run_dir": str(tmp_path / "run"),
            "export": False,
            **more,
        }

    return make


def images_of(folder, name):
    paths = sorted((folder / name).iterdir())
    images = [tf.io.decode_png(path.read_bytes()).numpy() for path in paths]
    return np.stack(images)


def lines_of(run_dir):
    text = (run_dir / "steps.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_base_accuracies_are_those_of_the_adopted_classifier(request_of, tmp_path):
    model = softmax_classifier()
    run_experiment(make_config("folder", **request_of(model)))
    accuracy = np.load(tmp_path / "run/per_class_accuracy.npy")
    for label, name in enumerate(OLD):
        images = images_of(tmp_path / "pictures/test", name)
        predictions = np.asarray(model(images)).argmax(axis=1)
        assert accuracy[0, label] == np.mean(predictions == label)
    first, second = lines_of(tmp_path / "run")
    assert first["epochs"] == 0 and first["exemplars_per_class"] == [3, 3]
    assert second["num_classes"] == 3 and second["class_counts"] == [3, 3, 6]


def test_images_are_set_aside_once_of_adopted_classes(request_of, pictures, tmp_path):
    """BiC keeps all 6 images of a class, of which it sets 1 aside."""
    request = request_of(
        data_dir=pictures(OLD, OLD, folder="old"),
        method="bic",
        exemplars_per_class=6,
        num_increments=0,
    )
    run_experiment(make_config("folder", **request))
    [line] = lines_of(tmp_path / "run")
    assert line["exemplars_per_class"] == [6, 6]
    report = (tmp_path / "run/report.html").read_text()
    assert all(name in report for name in (*OLD, NEW))


@pytest.mark.parametrize("method", ["lwf", "imprint"])
def test_new_class_is_learned_without_old_images(request_of, tmp_path, method):
    request = request_of(train=(NEW,), exemplars_per_class=0, method=method)
    run_experiment(make_config("folder", **request))
    first, second = lines_of(tmp_path / "run")
    assert first["class_counts"] == [0, 0]
    assert second["class_counts"] == [0, 0, 6]
    assert second["new_accuracy"] == 1.0
    if method == "imprint":
        assert second["old_accuracy"] == first["accuracy"]


def test_misspelt_class_of_the_classifier_is_told(request_of, caplog):
    """Its images would silently become a new class."""
    request = request_of(
        initial_classes="dogs,cat",
        method="imprint",
        exemplars_per_class=0,
        num_increments=1,
    )
    run_experiment(make_config("folder", **request))
    [warning] = [r for r in caplog.messages if r.startswith("--initial_classes")]
    assert "class dogs has no training images. Did you mean dog?" in warning


def test_analytic_head_replaces_the_adopted_one(request_of, tmp_path):
    request = request_of(method="acil", exemplars_per_class=0, ridge=1e-6)
    run_experiment(make_config("folder", **request))
    first, second = lines_of(tmp_path / "run")
    assert (first["class_counts"], second["class_counts"]) == ([6, 6], [0, 0, 6])
    assert second["accuracy"] == 1.0


def test_analytic_head_needs_images_of_adopted_classes(request_of, tmp_path):
    request = request_of(train=(NEW,), method="acil", exemplars_per_class=0)
    config = make_config("folder", **request)
    with pytest.raises(RequestError, match="solves its head from images of every"):
        run_experiment(config)
    assert not (tmp_path / "run").exists()


def test_exemplars_without_old_images_are_refused_before_writing(request_of, tmp_path):
    config = make_config("folder", **request_of(train=(NEW,)))
    with pytest.raises(
        RequestError, match="no training images: dog, cat.*method=imprint or lwf"
    ):
        run_experiment(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_resumed_adopted_run_has_the_same_bits(request_of, tmp_path):
    """A run that grows by its step equals one that had it from the start."""
    request = request_of(train=(*OLD, NEW))
    run_experiment(make_config("folder", **request))
    again = {**request, "run_dir": str(tmp_path / "again")}
    run_experiment(make_config("folder", **again, increments=[]))
    run_experiment(make_config("folder", **again, num_increments=1))
    arrays = [
        np.load(tmp_path / name / "checkpoints/step_01.npz")
        for name in ("run", "again")
    ]
    for name in arrays[0].files:
        if name.startswith("classifier"):
            np.testing.assert_array_equal(arrays[0][name], arrays[1][name])


@pytest.mark.parametrize(
    "top",
    [
        lambda: [keras.layers.Dense(3, use_bias=False)],
        lambda: [keras.layers.Dense(3), keras.layers.Softmax()],
        lambda: [keras.layers.Dense(3), keras.layers.Activation("softmax")],
        lambda: [keras.layers.Dropout(0.5), keras.layers.Dense(3, "softmax")],
        lambda: [keras.layers.Dense(3), keras.layers.Rescaling(-2.0, [0.3, 0.0, 0.1])],
    ],
)
def test_cut_classifier_has_the_same_order_of_classes(top, tmp_path):
    model = layers(*top())
    for layer in model.layers:
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(np.random.default_rng(3).normal(size=layer.bias.shape))
    cut = cut_classifier(save(model, tmp_path), IMAGE)
    images = np.random.default_rng(2).integers(0, 256, (4, 16, 16, 3)).astype("float32")
    logits = np.asarray(cut.backbone(images)) @ cut.kernel + cut.bias
    expected = np.argsort(np.asarray(model(images)), axis=1)
    np.testing.assert_array_equal(np.argsort(logits, axis=1), expected)


@pytest.mark.parametrize(
    "top",
    [
        lambda: [keras.layers.Dense(1, activation="sigmoid")],
        lambda: [keras.layers.Dense(1), keras.layers.Activation("sigmoid")],
        lambda: [keras.layers.Dense(1), keras.layers.Rescaling(3.0, 0.2)],
    ],
)
def test_one_output_for_two_classes_keeps_both_probabilities(top, tmp_path):
    model = layers(*top())
    images = np.random.default_rng(2).integers(0, 256, (4, 16, 16, 3)).astype("float32")
    output = np.asarray(model(images))
    if isinstance(model.layers[-1], keras.layers.Rescaling):
        output = 1 / (1 + np.exp(-output))
    cut = cut_classifier(save(model, tmp_path), IMAGE)
    logits = np.asarray(cut.backbone(images)) @ cut.kernel + cut.bias
    expected = np.hstack([1 - output, output])
    np.testing.assert_allclose(keras.ops.softmax(logits), expected, atol=1e-6)


def test_classifier_inside_another_model_is_cut_at_its_own_dense_layer(tmp_path):
    inner = softmax_classifier()
    outer = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.RandomFlip(), inner], name="outer"
    )
    images = np.random.default_rng(2).integers(0, 256, (4, 16, 16, 3)).astype("float32")
    cut = cut_classifier(save(outer, tmp_path), IMAGE)
    logits = np.asarray(cut.backbone(images)) @ cut.kernel + cut.bias
    expected = np.asarray(inner(images))
    np.testing.assert_allclose(keras.ops.softmax(logits), expected, rtol=1e-5)


def test_classifier_is_cut_at_the_output_of_an_inner_model_that_it_uses(tmp_path):
    images = keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(images)
    used = keras.layers.Dense(3)
    inner = keras.Model(images, [keras.layers.Dense(2)(pooled), used(pooled)])
    outer = keras.Model(inputs := keras.Input((16, 16, 3)), inner(inputs)[1])
    cut = cut_classifier(save(outer, tmp_path), IMAGE)
    np.testing.assert_array_equal(cut.kernel, used.kernel)


def test_an_export_becomes_the_base_step_with_its_classes(request_of, tmp_path):
    first = request_of(export=True, export_formats="saved_model,keras")
    run_experiment(make_config("folder", **first))
    path = tmp_path / "run/exports/step_01/model.keras"
    again = {**first, "initial_model": str(path), "run_dir": str(tmp_path / "again")}
    del again["initial_classes"]
    config = make_config("folder", **again, increments=[])
    assert config.stream.arriving_class_names == (*OLD, NEW)
    assert config.model.input == "0_255"
    run_experiment(config)
    adopted, taught = lines_of(tmp_path / "again")[0], lines_of(tmp_path / "run")[1]
    assert adopted["accuracy"] == taught["accuracy"]


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (
            lambda: [keras.layers.Dense(2, activation="sigmoid", name="flags")],
            "'flags' is a Dense: its activation is sigmoid",
        ),
        (
            lambda: [keras.layers.ReLU(name="cut")],
            "'cut' is a ReLU: it must be",
        ),
        (
            lambda: [keras.layers.Dense(1, activation="softmax", name="one")],
            "'one' is a Dense: its activation is softmax",
        ),
        (
            lambda: [keras.layers.Dense(2), keras.layers.Activation("sigmoid")],
            "Activation: it must be",
        ),
        (
            lambda: [
                keras.layers.Dense(2, activation="softmax"),
                keras.layers.Rescaling([1.0, 3.0], name="moved"),
            ],
            "'moved' is a Rescaling: it changes probabilities, not logits",
        ),
        (
            lambda: [
                keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, "softmax")]),
                keras.layers.Rescaling([1.0, 3.0], name="moved"),
            ],
            "'moved' is a Rescaling: it changes probabilities, not logits",
        ),
        (lambda: [keras.layers.Lambda(lambda x: x)], "cannot be loaded"),
    ],
)
def test_classifier_that_cannot_be_cut_is_refused_by_name(top, expected, tmp_path):
    with pytest.raises(RequestError, match=expected):
        cut_classifier(save(layers(*top()), tmp_path), IMAGE)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"method": "lucir"}, "has a head of class vectors"),
        ({"method": "joint"}, "trains every step from the start"),
        ({"method": "wa"}, "Add --method_parameters=clips_weights=false"),
        ({"num_base_classes": 2}, "--num_base_classes=2 contradicts --initial_model"),
        ({"initial_classes": None}, "needs --initial_classes"),
        ({"initial_classes": "dog,dog"}, "at least two different names"),
        ({"image_size": 32}, "takes images of 16x16"),
    ],
)
def test_request_that_contradicts_an_initial_model_is_refused(
    changes, expected, request_of
):
    with pytest.raises(RequestError, match=expected):
        make_config("folder", **{**request_of(), **changes})


def test_classes_of_an_initial_model_may_be_a_list(request_of):
    request = request_of(initial_classes=",".join(OLD))
    written = make_config("folder", **request)
    assert make_config("folder", **request | {"initial_classes": list(OLD)}) == written


def test_refused_classes_of_an_initial_model_are_one_problem(request_of):
    with pytest.raises(RequestError) as error:
        make_config("folder", **request_of(initial_classes=7))
    assert len(error.value.problems) == 1, error.value.problems


def test_initial_classes_that_the_data_set_lacks_are_refused(request_of):
    request = request_of() | {"data_dir": None, "image_size": None}
    request |= {"initial_classes": "1,seven"}
    with pytest.raises(RequestError, match="must be classes of digits. Unknown: seven"):
        make_config("digits", **request)


def test_names_must_be_as_many_as_the_outputs(request_of):
    config = make_config("folder", **request_of(initial_classes="dog,cat,ant"))
    with pytest.raises(RequestError, match="must name the 2 outputs of"):
        run_experiment(config)


def test_classifier_on_unknown_pixel_values_needs_them_named(request_of):
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    request = request_of(model)
    with pytest.raises(RequestError, match="0_255 is for networks that take photos"):
        make_config("folder", **request)
    config = make_config("folder", **request, backbone_input="unit")
    assert config.model.input == "unit"


@pytest.mark.parametrize("name", METHODS)
def test_methods_tell_truly_if_a_dense_layer_can_be_their_head(name):
    config = make_config("digits", method=name, increments=[2])
    head = load_method(config.method).training_head(0, 2)
    assert isinstance(head, LinearHead) == recipes.published(name).has_linear_head
