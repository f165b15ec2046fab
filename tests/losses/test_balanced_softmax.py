"""Balanced softmax: known numbers, known limits, and one line in `compile`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.losses import BalancedSoftmaxLoss, balanced_softmax_crossentropy

COUNTS = [500, 20, 4]
TWO_OLD = {"class_counts": COUNTS, "num_old_classes": 2}


def loss_of(labels, logits, *args, **kwargs):
    values = balanced_softmax_crossentropy(labels, tf.constant(logits), *args, **kwargs)
    return values.numpy()


def random_batch(num_images=8, num_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num_images, num_classes)).astype(np.float32)
    return rng.integers(0, num_classes, num_images), logits


def plain_crossentropy(labels, logits):
    return keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    ).numpy()


def gradient_of(labels, logits, counts):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = tf.reduce_sum(balanced_softmax_crossentropy(labels, logits, counts))
    return tape.gradient(loss, logits).numpy()


@pytest.mark.parametrize(
    ("label", "counts", "options", "expected"),
    [
        (1, [9, 1], {}, np.log(10)),
        (0, [9, 1], {}, np.log(10 / 9)),
        # alpha turns the old count 20 into 5; the new count stays 500.
        (0, [20, 500], {"alpha": 0.25, "num_old_classes": 1}, np.log(505 / 5)),
        (1, [20, 500], {"alpha": 0.25, "num_old_classes": 1}, np.log(505 / 500)),
        # Without old classes alpha has no effect.
        (0, [20, 500], {"alpha": 0.25}, np.log(520 / 20)),
    ],
)
def test_worked_numbers(label, counts, options, expected):
    loss = loss_of([label], np.zeros((1, 2), np.float32), counts, **options)
    np.testing.assert_allclose(loss, [expected], rtol=1e-6)


def test_equal_counts_give_plain_crossentropy():
    labels, logits = random_batch()
    np.testing.assert_allclose(
        loss_of(labels, logits, [7, 7, 7]),
        plain_crossentropy(labels, logits),
        rtol=1e-5,
    )


def test_only_the_ratios_of_the_counts_matter():
    labels, logits = random_batch()
    np.testing.assert_allclose(
        loss_of(labels, logits, COUNTS),
        loss_of(labels, logits, [1000 * count for count in COUNTS]),
        rtol=1e-5,
    )


def test_gradient_is_the_balanced_softmax_minus_the_label():
    labels, logits = random_batch()
    weights = np.array(COUNTS) * np.exp(logits)
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        gradient_of(labels, logits, COUNTS),
        probabilities - np.eye(3)[labels],
        atol=1e-6,
    )


def test_softmax_omits_classes_without_images():
    logits = np.array([[0.0, 5.0, 0.0]], np.float32)
    loss = loss_of([0], logits, [3, 0, 1])
    np.testing.assert_allclose(loss, [np.log(4 / 3)], rtol=1e-6)
    np.testing.assert_allclose(
        gradient_of([0], logits, [3, 0, 1]), [[-0.25, 0, 0.25]], atol=1e-6
    )


def test_label_of_a_class_without_images_has_infinite_loss():
    assert loss_of([1], np.zeros((1, 3), np.float32), [3, 0, 1]) == np.inf


def test_column_labels_give_the_loss_of_flat_labels():
    labels, logits = random_batch()
    column = loss_of(labels[:, None], logits, COUNTS)
    assert column.shape == (8,)
    np.testing.assert_array_equal(column, loss_of(labels, logits, COUNTS))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits_are_computed_in_float32(dtype):
    # 70000 is not a float16, and bfloat16 would round its log to 11.1875.
    logits = tf.zeros((1, 2), dtype)
    loss = balanced_softmax_crossentropy([1], logits, [70_000, 1])
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, [np.log(70_001)], rtol=1e-6)


def test_float64_logits_keep_their_precision():
    loss = loss_of([0], np.array([[0.0, 1e-9]]), [1, 1])  # 1 + 1e-9 is 1 in float32
    np.testing.assert_allclose(loss, [np.log1p(np.exp(1e-9))], rtol=1e-14)


def test_float64_losses_keep_the_precision_of_the_counts_and_of_alpha():
    weights = np.array([0.3 * 500, 20, 4])
    expected = np.log(weights.sum() / weights)
    labels, logits = [0, 1, 2], np.zeros((3, 3))
    options = {"alpha": 0.3, "num_old_classes": 1}
    values = balanced_softmax_crossentropy(labels, logits, COUNTS, **options)
    np.testing.assert_allclose(values, expected, rtol=1e-14)
    loss = BalancedSoftmaxLoss(COUNTS, **options, reduction=None, dtype="float64")
    np.testing.assert_allclose(loss(labels, logits), expected, rtol=1e-14)


def test_counts_of_only_some_classes_are_refused():
    with pytest.raises(ValueError, match=r"2 counts for logits of shape \(8, 3\)"):
        balanced_softmax_crossentropy(*random_batch(), [9, 1])


def test_a_binary_model_of_one_output_is_told_to_have_two():
    with pytest.raises(ValueError, match="2 counts .* need two outputs"):
        balanced_softmax_crossentropy([1], np.zeros((1, 1)), [9, 1])


# The Keras class.


def make_model(activation=None):
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(3, activation)(inputs)
    return keras.Model(inputs, outputs)


def separable_images(num_images=32, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, num_images)
    noise = rng.normal(scale=0.1, size=(num_images, 4))
    return (np.eye(4)[labels] + noise).astype(np.float32), labels


def test_model_trains_with_one_line_of_compile():
    model = make_model()
    model.compile(optimizer="sgd", loss=BalancedSoftmaxLoss(COUNTS))
    images, labels = separable_images()
    history = model.fit(images, labels, batch_size=8, epochs=3, verbose=0)
    losses = history.history["loss"]
    assert losses[2] < losses[1] < losses[0]


def test_probabilities_give_the_loss_of_their_logits():
    by_logits, by_softmax = make_model(), make_model("softmax")
    by_softmax.set_weights(by_logits.get_weights())
    images, labels = separable_images()
    options = {"alpha": 0.5, "num_old_classes": 2}
    loss = BalancedSoftmaxLoss(COUNTS, **options)
    same_loss = BalancedSoftmaxLoss(COUNTS, from_logits=False, **options)
    np.testing.assert_allclose(
        loss(labels, by_logits(images)),
        same_loss(labels, by_softmax(images)),
        rtol=1e-5,
    )


def test_a_probability_of_zero_stays_finite():
    loss = BalancedSoftmaxLoss([1, 1], from_logits=False)
    assert 80 < float(loss([1], np.array([[1.0, 0.0]]))) < 90


def test_compiled_loss_is_restored_from_disk(tmp_path):
    loss = BalancedSoftmaxLoss(
        COUNTS,
        alpha=keras.Variable(0.5),
        num_old_classes=1,
        label_smoothing=0.1,
        reduction="sum",
        name="balanced",
        dtype="float64",
    )
    model = make_model()
    model.compile(optimizer="sgd", loss=loss)
    images, labels = separable_images()
    before = model.evaluate(images, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.loss.get_config() == loss.get_config()
    assert loaded.loss.alpha == 0.5
    assert loaded.loss.dtype == "float64"
    np.testing.assert_allclose(loaded.evaluate(images, labels, verbose=0), before)


def test_a_variable_alpha_is_read_at_every_call_of_a_traced_function():
    alpha = keras.Variable(1.0)
    loss = BalancedSoftmaxLoss([1, 1], alpha, num_old_classes=1)
    traced = tf.function(lambda: loss([0], np.zeros((1, 2), np.float32)))
    np.testing.assert_allclose(traced(), np.log(2), rtol=1e-6)
    alpha.assign(0.25)
    np.testing.assert_allclose(traced(), np.log(1.25 / 0.25), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_counts": []}, "whole numbers of images"),
        ({"class_counts": [5, -1]}, r"class_counts=\[5, -1\]"),
        ({"class_counts": {0: 5, 1: 1}}, "must be a list"),
        ({"class_counts": [0.6, 0.4]}, "Shares are not counts"),
        ({"class_counts": ["a", 5]}, r"Received: class_counts=\['a', 5\]"),
        ({"class_counts": [[5], [1]]}, "one per class"),
        ({"class_counts": [5, 1], "num_old_classes": 1.5}, "whole number from 0"),
        ({"class_counts": [5, 1], "alpha": 0.5}, "`num_old_classes`, or leave"),
        ({"class_counts": [5, 2**200]}, r"at most 2\*\*53"),
        ({"class_counts": [5, 1], "alpha": 0.0}, "above 0 .* Received: alpha=0.0"),
        ({"class_counts": [5, 1], "alpha": float("nan")}, "Received: alpha=nan"),
        ({**TWO_OLD, "alpha": "0.5"}, "Received: alpha='0.5'"),
        ({**TWO_OLD, "alpha": "1"}, "Received: alpha='1'"),
        ({**TWO_OLD, "alpha": 1e39}, r"3.4e\+38. Received: alpha=1e\+39"),
        ({**TWO_OLD, "alpha": 1e-39}, "from 1.2e-38 .* Received: alpha=1e-39"),
        ({**TWO_OLD, "alpha": np.array([0.5, 0.5])}, "`alpha` must be a finite number"),
        ({"class_counts": [5, 1], "label_smoothing": 1.0}, "0 to below 1. Received: 1"),
        ({"class_counts": [5, 1], "label_smoothing": -0.1}, "Received: -0.1"),
        ({"class_counts": [5, 1], "num_old_classes": 3}, "classes, 2. Received: 3"),
        ({"class_counts": [5, 1], "num_old_classes": -1}, "Received: -1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BalancedSoftmaxLoss(**arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0, "num_old_classes": 1}, "above 0. Received: alpha=0.0"),
        ({"alpha": -1, "num_old_classes": 1}, "Received: alpha=-1"),
        ({"num_old_classes": 3}, "number of classes, 2. Received: 3"),
    ],
)
def test_the_function_refuses_what_would_be_nan_or_ignored(options, message):
    with pytest.raises(ValueError, match=message):
        balanced_softmax_crossentropy(
            [0], np.zeros((1, 2), np.float32), [5, 1], **options
        )


def test_all_classes_may_be_old():
    """A factor of all counts cancels."""
    loss = BalancedSoftmaxLoss([5, 1], alpha=0.5, num_old_classes=2)
    logits = np.array([[0.0, 1.0]], np.float32)
    expected = BalancedSoftmaxLoss([5, 1])([1], logits)
    np.testing.assert_allclose(loss([1], logits), expected, rtol=1e-6)


def test_two_replicas_fit_like_one_device(two_devices):
    images, labels = separable_images(8)
    start = make_model().get_weights()

    def fit_once():
        model = make_model()
        model.set_weights(start)
        model.compile(
            optimizer=keras.optimizers.SGD(0.5), loss=BalancedSoftmaxLoss(COUNTS)
        )
        data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
        history = model.fit(data, verbose=0)
        return history.history["loss"], model.get_weights()

    losses, weights = fit_once()
    with two_devices.scope():
        replica_losses, replica_weights = fit_once()
    np.testing.assert_allclose(replica_losses, losses, rtol=1e-5)
    for weight, replica_weight, initial in zip(
        weights, replica_weights, start, strict=True
    ):
        np.testing.assert_allclose(replica_weight, weight, atol=1e-6)
        assert np.abs(weight - initial).max() > 0.01
