"""Labels of the balanced softmax: one-hot, soft, smoothed, dense, many, absent."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.losses import BalancedSoftmaxLoss, balanced_softmax_crossentropy

COUNTS = [500, 20, 4]
LOGITS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
LABELS = np.array([0, 1, 2, 2, 1, 0])
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]


def loss_of(labels, logits=LOGITS, counts=COUNTS, **options):
    return balanced_softmax_crossentropy(labels, logits, counts, **options).numpy()


@pytest.mark.parametrize("one_hot", [ONE_HOT, ONE_HOT.astype(int)])
def test_one_hot_labels_give_the_loss_of_integer_labels(one_hot):
    np.testing.assert_allclose(loss_of(one_hot), loss_of(LABELS), rtol=1e-5)


def test_mixed_labels_give_the_mixture_of_the_losses():
    mixed = 0.3 * ONE_HOT + 0.7 * ONE_HOT[::-1]
    expected = 0.3 * loss_of(LABELS) + 0.7 * loss_of(LABELS[::-1])
    np.testing.assert_allclose(loss_of(mixed), expected, rtol=1e-5)


@pytest.mark.parametrize("labels", [LABELS, ONE_HOT])
def test_label_smoothing_equals_that_of_keras(labels):
    smoothed = keras.losses.categorical_crossentropy(
        ONE_HOT, LOGITS + np.log(COUNTS), from_logits=True, label_smoothing=0.2
    )
    np.testing.assert_allclose(
        loss_of(labels, label_smoothing=0.2), smoothed, rtol=1e-5
    )


def test_the_class_smooths_labels_as_the_function_does():
    loss = BalancedSoftmaxLoss(COUNTS, label_smoothing=0.2, reduction=None)
    np.testing.assert_allclose(
        loss(LABELS, LOGITS), loss_of(LABELS, label_smoothing=0.2), rtol=1e-6
    )


def test_label_smoothing_omits_classes_without_images():
    two_classes = loss_of([0, 1], LOGITS[:2, :2], [500, 20], label_smoothing=0.2)
    with_absent = loss_of([0, 1], LOGITS[:2], [500, 20, 0], label_smoothing=0.2)
    np.testing.assert_allclose(with_absent, two_classes, rtol=1e-5)


@pytest.mark.parametrize("trailing", [(), (1,)])
def test_dense_labels_give_one_loss_per_position(trailing):
    maps = loss_of(LABELS.reshape(1, 2, 3, *trailing), LOGITS.reshape(1, 2, 3, 3))
    assert maps.shape == (1, 2, 3)
    np.testing.assert_allclose(maps.ravel(), loss_of(LABELS), rtol=1e-6)


def test_dense_one_hot_labels_give_one_loss_per_position():
    maps = loss_of(ONE_HOT.reshape(1, 2, 3, 3), LOGITS.reshape(1, 2, 3, 3))
    np.testing.assert_allclose(maps.ravel(), loss_of(LABELS), rtol=1e-5)


@pytest.mark.parametrize("labels", [LABELS, ONE_HOT])
def test_a_model_fits_integer_and_one_hot_labels(labels):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile("sgd", BalancedSoftmaxLoss(COUNTS, label_smoothing=0.1))
    losses = model.fit(LOGITS, labels, epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]


def test_labels_of_another_width_are_refused_with_both_shapes():
    with pytest.raises(
        ValueError, match=r"shape \(6, 4\) for logits of shape \(6, 3\)"
    ):
        loss_of(np.eye(4)[LABELS])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_labels_beyond_the_precision_of_dtype_keep_their_class(dtype):
    logits = np.zeros((1, 5000), np.float32)
    logits[0, 4097] = 20  # float16 rounds 4097 to 4096, bfloat16 to 4096.
    loss = BalancedSoftmaxLoss([1] * 5000, dtype=dtype)
    assert float(loss([4097], logits)) < 0.01


def test_model_with_floatx_float16_trains_on_all_labels():
    keras.config.set_floatx("float16")
    try:
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3000)])
        # float16 rounds 2049 to 2048.
        biases = 9 * np.eye(3000)[2049]
        model.layers[0].set_weights([np.zeros((1, 3000)), biases])
        model.compile(loss=BalancedSoftmaxLoss([1] * 3000))
        assert model.evaluate(np.zeros((2, 1)), np.array([2049] * 2), verbose=0) < 1
    finally:
        keras.config.set_floatx("float32")


def test_an_eager_label_of_a_class_without_images_is_refused_by_name():
    with pytest.warns(UserWarning, match=r"is 0 for classes \[1\]"):
        loss = BalancedSoftmaxLoss([3, 0, 1])
    for labels in ([0, 1], np.eye(3)[:2]):
        with pytest.raises(ValueError, match=r"labels of classes \[1\], whose count"):
            loss(labels, LOGITS[:2])
    assert np.isfinite(loss([0, 2], LOGITS[:2]))


@pytest.mark.filterwarnings("ignore:.*is 0 for classes")
@pytest.mark.parametrize("labels", [[0, 1, 2], np.eye(3)])
def test_only_labels_of_classes_without_images_are_inf_in_a_graph(labels):
    loss = BalancedSoftmaxLoss([3, 0, 1], reduction=None)
    values = tf.function(loss)(labels, LOGITS[:3]).numpy()
    np.testing.assert_array_equal(np.isinf(values), [False, True, False])


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("label", [-1, 3, 255])
def test_a_label_out_of_range_does_not_give_a_plausible_loss(label, label_smoothing):
    with pytest.raises(tf.errors.InvalidArgumentError, match="not in|outside"):
        loss_of([label], LOGITS[:1], label_smoothing=label_smoothing)


def test_one_hot_labels_of_unknown_width_give_the_loss_of_known_ones():
    signature = [tf.TensorSpec((None, None)), tf.TensorSpec((None, 3))]
    traced = tf.function(BalancedSoftmaxLoss(COUNTS), input_signature=signature)
    np.testing.assert_allclose(
        traced(ONE_HOT, LOGITS), loss_of(ONE_HOT).mean(), rtol=1e-6
    )
    # A column of integers would be broadcast to all classes.
    with pytest.raises(tf.errors.InvalidArgumentError, match="reshape"):
        traced(LABELS[:, None].astype(np.float32), LOGITS)
