"""Losses with a margin: worked numbers, the formulas in NumPy, and their limits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bsce_keras.losses import margin_ranking, nca

NUM_OLD = 3


def random_cosines(num_images=8, num_classes=7, seed=0):
    """Labels of old and new classes, and cosines."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(num_images) % num_classes)
    return labels, rng.uniform(-1, 1, (num_images, num_classes))


def gradient_to(values, loss):
    values = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(loss(values))
    return tape.gradient(total, values).numpy()


# Margin ranking.


@pytest.mark.parametrize(
    ("cosines", "options", "expected"),
    [
        # Nearest two of three new classes: 0.5 - 0.6 + 0.4 and 0.5 - 0.6 + 0.2.
        ([0.6, 0.4, -0.2, 0.2], {}, (0.3 + 0.1) / 2),
        # The second class is beyond the margin and still counts in the mean.
        ([0.6, 0.4, -0.2, -0.1], {}, 0.3 / 2),
        ([0.6, 0.4, -0.2, 0.2], {"top_k": 1}, 0.3),
        ([0.6, 0.4, -0.2, 0.2], {"top_k": 1, "margin": 0.25}, 0.05),
        ([0.6, 0.4, -0.2, 0.2], {"top_k": 9}, (0.3 + 0.1 + 0) / 3),
        ([0.9, 0.4, -0.2, 0.2], {}, 0),
        # One new class: K is cut to 1.
        ([0.6, 0.4], {}, 0.3),
    ],
)
def test_worked_numbers_of_one_old_image(cosines, options, expected):
    loss = margin_ranking([0], np.array([cosines]), 1, **options)
    np.testing.assert_allclose(loss, [expected], atol=1e-12)


def test_ranking_follows_the_formula_in_float64():
    labels, cosines = random_cosines()
    loss = margin_ranking(labels, cosines, NUM_OLD)
    expected = []
    for label, row in zip(labels, cosines, strict=True):
        rivals = np.sort(row[NUM_OLD:])[-2:]
        terms = np.maximum(0, 0.5 - row[label] + rivals)
        expected.append(terms.mean() if label < NUM_OLD else 0)
    assert loss.dtype == tf.float64
    np.testing.assert_allclose(loss, expected, rtol=0, atol=1e-10)


def test_mean_over_old_images_equals_the_reference():
    """PyTorch's margin ranking loss is one mean over all pairs of old images."""
    labels, cosines = random_cosines()
    old = labels < NUM_OLD
    own = np.repeat(cosines[old, labels[old]][:, None], 2, axis=1)
    rivals = np.sort(cosines[old, NUM_OLD:], axis=1)[:, -2:]
    reference = np.maximum(0, -(own - rivals) + 0.5).mean()
    loss = margin_ranking(labels, cosines, NUM_OLD)
    np.testing.assert_allclose(np.sum(loss) / old.sum(), reference, atol=1e-12)


def test_ranking_gradient_raises_own_class_and_lowers_two_nearest_new_ones():
    # Images: old with two violations, old with zero violations, new.
    labels = [0, 1, 2]
    cosines = np.array(
        [[0.1, 0.9, 0.3, -0.9, 0.2], [-1, 1, 0, 0, 0], [0, 0, 1, 0.9, 0]]
    )
    gradient = gradient_to(cosines, lambda values: margin_ranking(labels, values, 2))
    np.testing.assert_allclose(
        gradient, [[-1, 0, 0.5, 0, 0.5], np.zeros(5), np.zeros(5)], atol=1e-12
    )


@pytest.mark.parametrize(
    ("labels", "num_old_classes"),
    [
        ([3, 4, 6], NUM_OLD),  # no old image in the batch
        ([0, 3, 6], 0),  # no old class
        ([0, 3, 6], 7),  # no new class
    ],
)
def test_ranking_is_zero_with_nothing_to_separate(labels, num_old_classes):
    cosines = np.zeros((3, 7), np.float32)

    def loss(values):
        return margin_ranking(labels, values, num_old_classes)

    np.testing.assert_array_equal(loss(cosines), np.zeros(3))
    np.testing.assert_array_equal(gradient_to(cosines, loss), np.zeros((3, 7)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_old_classes": -1}, "between 0 and .* classes, 7. Received: -1"),
        ({"num_old_classes": 8}, "between 0 and .* classes, 7. Received: 8"),
        ({"num_old_classes": 3, "top_k": 0}, "`top_k` must be 1 or more. Received: 0"),
    ],
)
def test_impossible_numbers_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        margin_ranking(*random_cosines(), **arguments)


# NCA.


def crossentropy(labels, logits):
    return keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def confident_similarities():
    """Labels, and similarities that are largest at the label."""
    labels, similarities = random_cosines()
    similarities[np.arange(8), labels] = 1.1
    return labels, similarities


def nca_of_the_released_code(similarities, labels, scale, margin):
    """Released code in NumPy, statement by statement, with its errors."""
    rows = np.arange(len(labels))
    values = scale * (similarities - margin)
    values = values - values.max(axis=1, keepdims=True)
    disabled = np.zeros_like(values)
    disabled[rows, labels] = values[rows, labels]
    return -(values[rows, labels] - np.log(np.exp(values - disabled).sum(axis=1)))


@pytest.mark.parametrize(
    ("label", "options", "expected"),
    [
        # Similarities 0, log 2, log 3. The label's 1 is replaced by the largest, 3.
        (0, {}, np.log(2 + 3 + 3)),
        # The label is the largest: plain cross-entropy.
        (2, {}, np.log(1 + 2 + 3) - np.log(3)),
        (0, {"scale": 2.0}, np.log(4 + 9 + 9)),
        (0, {"variant": "paper"}, np.log(2 + 3) + 0.6),
        (0, {"variant": "paper", "scale": 2.0}, np.log(4 + 9) + 2 * 0.6),
        (0, {"variant": "paper", "margin": 0.0}, np.log(2 + 3)),
        (2, {"variant": "paper", "margin": 0.25}, np.log(1 + 2) - np.log(3) + 0.25),
        # The hinge is 0 without a margin: log(1 + 2) - log 3 is 0, and less at 2.
        (2, {"variant": "paper", "margin": 0.0, "scale": 2.0}, 0),
    ],
)
def test_worked_numbers(label, options, expected):
    loss = nca([label], np.log([[1.0, 2.0, 3.0]]), **options)
    np.testing.assert_allclose(loss, [expected], atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.1, 12.5])
def test_nca_code_equals_the_released_code_in_float64(scale):
    labels, similarities = random_cosines()
    loss = nca(labels, similarities, scale)
    assert loss.dtype == tf.float64
    expected = nca_of_the_released_code(similarities, labels, scale, margin=0.6)
    np.testing.assert_allclose(loss, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [1.0, 0.1, 12.5])
def test_nca_paper_equals_its_formula_in_float64(scale):
    labels, similarities = random_cosines()
    expected = []
    for label, row in zip(labels, similarities, strict=True):
        others = np.exp(scale * np.delete(row, label)).sum()
        ratio = np.exp(scale * (row[label] - 0.6)) / others
        expected.append(max(0, -np.log(ratio)))
    loss = nca(labels, similarities, scale, variant="paper")
    np.testing.assert_allclose(loss, expected, rtol=0, atol=1e-10)


def test_nca_code_is_crossentropy_if_the_label_is_largest():
    labels, similarities = confident_similarities()
    np.testing.assert_allclose(
        nca(labels, similarities, 4.0),
        crossentropy(labels, 4 * similarities),
        atol=1e-10,
    )
    np.testing.assert_allclose(
        gradient_to(similarities, lambda values: nca(labels, values, 4.0)),
        gradient_to(similarities, lambda values: crossentropy(labels, 4 * values)),
        atol=1e-10,
    )


def test_nca_code_counts_the_best_wrong_class_twice():
    # exp gives 1, 2, 3; the sum is 2 + 3 + 3, and the label's pull is -1.
    gradient = gradient_to(np.log([[1.0, 2.0, 3.0]]), lambda values: nca([0], values))
    np.testing.assert_allclose(gradient, [[-1, 2 / 8, 6 / 8]], atol=1e-12)


def test_nca_margin_changes_only_the_paper_variant():
    labels, similarities = random_cosines()
    for variant, same in (("code", True), ("paper", False)):
        with_margin = nca(labels, similarities, 4.0, 0.6, variant)
        without = nca(labels, similarities, 4.0, 0.0, variant)
        assert np.array_equal(with_margin, without) == same


def test_nca_paper_gradient_is_zero_beyond_the_margin():
    similarities = np.array([[1.0, -1.0], [0.0, 0.0]])
    gradient = gradient_to(
        similarities, lambda values: nca([0, 0], values, 4.0, variant="paper")
    )
    np.testing.assert_allclose(gradient, [[0, 0], [-4, 4]], atol=1e-12)


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_large_scales_do_not_overflow(variant):
    labels, similarities = random_cosines()
    similarities = similarities.astype(np.float32)
    loss = nca(labels, similarities, 1000.0, variant=variant)
    assert np.isfinite(loss).all()
    assert np.isfinite(
        gradient_to(similarities, lambda v: nca(labels, v, 1000.0, variant=variant))
    ).all()


@pytest.mark.parametrize("variant", ["code", "paper"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_variable_scale_is_read_at_every_call_and_learns(variant, dtype):
    labels, similarities = random_cosines()
    values = similarities.astype(dtype)
    scale = keras.Variable(1.0)
    traced = tf.function(lambda: nca(labels, values, scale, variant=variant))
    for value in (1.0, 3.0):
        scale.assign(value)
        np.testing.assert_allclose(
            traced(), nca(labels, values, value, variant=variant), rtol=1e-6
        )
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(traced())
    ahead, behind = (
        np.sum(nca(labels, similarities, 3 + step, variant=variant))
        for step in (1e-5, -1e-5)
    )
    np.testing.assert_allclose(
        tape.gradient(total, scale.value), (ahead - behind) / 2e-5, rtol=1e-4
    )


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_nca_is_zero_for_a_single_class(variant):
    values = np.array([[0.3]], np.float32)

    def loss(similarities):
        return nca([0], similarities, variant=variant)

    np.testing.assert_array_equal(loss(values), [0])
    np.testing.assert_array_equal(gradient_to(values, loss), [[0]])


@pytest.mark.parametrize("variant", ["code", "paper"])
@pytest.mark.parametrize("label", [-1, 7])
def test_nca_label_out_of_range_has_infinite_loss(variant, label):
    _, similarities = random_cosines(num_images=1)
    assert nca([label], similarities, variant=variant).numpy() == np.inf


def test_refusal_of_an_unknown_nca_variant_lists_the_known_ones():
    with pytest.raises(ValueError, match="one of code, paper. Received: 'hinge'"):
        nca(*random_cosines(), variant="hinge")


# Both.

LOSSES = {
    "margin_ranking": lambda labels, values: margin_ranking(labels, values, NUM_OLD),
    "nca_code": lambda labels, values: nca(labels, values, 4.0),
    "nca_paper": lambda labels, values: nca(labels, values, 4.0, variant="paper"),
}
each_loss = pytest.mark.parametrize("name", LOSSES)


@each_loss
def test_column_labels_give_the_loss_of_flat_labels(name):
    labels, values = random_cosines()
    column = LOSSES[name](labels[:, None], values)
    assert column.shape == (8,)
    np.testing.assert_array_equal(column, LOSSES[name](labels, values))


@each_loss
def test_half_precision_is_computed_in_float32(name):
    labels, values = random_cosines()
    rounded = tf.cast(values, "bfloat16")
    loss = LOSSES[name](labels, rounded)
    assert loss.dtype == tf.float32
    exact = LOSSES[name](labels, tf.cast(rounded, "float64"))
    np.testing.assert_allclose(loss, exact, atol=2e-6)


@each_loss
def test_one_hot_labels_are_refused_with_advice(name):
    labels, values = random_cosines()
    with pytest.raises(ValueError, match="one-hot: take its argmax"):
        LOSSES[name](np.eye(7)[labels], values)
