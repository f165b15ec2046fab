"""ACIL and DS-AL: heads, class weights and independence of the steps."""

import dataclasses

import keras
import numpy as np
import pytest

from bsce_keras import make_config
from bsce_keras.config.choices import IMAGENET, KINDS
from bsce_keras.evaluation.calibration import fitted_temperature, probabilities_of
from bsce_keras.methods import acil, load_method
from bsce_keras.methods.acil import AnalyticStep
from bsce_keras.methods.recipes import parameters
from bsce_keras.runtime.errors import RequestError

SIZE, NUM_FEATURES = 24, 6


def method(name="acil", **request):
    request = {"ridge": 0.1, **request}
    return load_method(make_config("digits", method=name, **request).method)


def images(counts, seed=1):
    """Returns features and labels with these numbers of images of each class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = rng.normal(size=(len(counts), NUM_FEATURES))
    features = centres[labels] + 0.5 * rng.normal(size=(len(labels), NUM_FEATURES))
    return features.astype(np.float32), labels


def expansion():
    bound = NUM_FEATURES**-0.5
    return np.random.default_rng(2).uniform(-bound, bound, (NUM_FEATURES, SIZE))


def learned(name, features, labels, step_sizes, request=None, **settings):
    """Returns state and weights after steps of these numbers of classes."""
    analytic = method(name, **(request or {}))
    state, first = analytic.first_state(SIZE), 0
    for size in step_sizes:
        arriving = (first <= labels) & (labels < first + size)
        step = AnalyticStep(
            features[arriving],
            labels[arriving],
            first,
            first + size,
            expansion(),
            **settings,
        )
        state, weights = analytic.solve(state, step)
        first += size
    return state, weights


def expanded(features):
    return np.maximum(features.astype(np.float64) @ expansion(), 0.0)


def test_head_is_the_ridge_regression_from_expanded_features():
    features, labels = images([9, 4, 12, 7])
    state, weights = learned("acil", features, labels, [2, 1, 1])
    rows = expanded(features)
    gram = rows.T @ rows + 0.1 * np.eye(SIZE)
    expected = np.linalg.solve(gram, rows.T @ np.eye(4)[labels])
    np.testing.assert_allclose(weights["kernel"], expected, atol=1e-8)
    np.testing.assert_array_equal(state.counts, [9, 4, 12, 7])


@pytest.mark.parametrize("is_balanced", [False, True])
@pytest.mark.parametrize("sizes", [[4], [2, 1, 1]])
def test_ridge_of_0_is_chosen_at_the_base_step_and_kept(is_balanced, sizes):
    """The choice is written out: each base image is predicted by a fit to the others.

    As many columns as base images make the least ridge predict worst.
    """
    features, labels = images([12, 12, 5, 9])
    settings = {"request": {"ridge": 0}, "is_balanced": is_balanced}
    state, weights = learned("acil", features, labels, sizes, **settings)
    rows, targets = expanded(features), np.eye(4)[labels]
    base = np.flatnonzero(labels < sizes[0])
    counts = np.bincount(labels[base])
    kappa = len(counts) / np.sum(1 / counts) if is_balanced else 1.0
    of_class = 1 / counts if is_balanced else np.ones(len(counts))

    def error(ridge):
        total = 0.0
        for left_out in base:
            others = base[base != left_out]
            by = of_class[labels[others]]
            gram = (rows[others].T * by) @ rows[others]
            gram += ridge / kappa * np.eye(SIZE)
            moments = (rows[others].T * by) @ targets[others]
            left = rows[left_out] @ np.linalg.solve(gram, moments) - targets[left_out]
            total += of_class[labels[left_out]] * left @ left
        return total

    best = min((0.1, 1.0, 10.0, 100.0, 1e3, 1e4), key=error)
    assert best > 0.1
    assert state.ridge == pytest.approx(best)
    _, expected = learned(
        "acil", features, labels, sizes, {"ridge": best}, is_balanced=is_balanced
    )
    np.testing.assert_allclose(weights["kernel"], expected["kernel"], atol=1e-10)


def test_later_steps_do_not_choose_another_ridge():
    features, labels = images([12, 12])
    analytic = method(ridge=0)
    step = AnalyticStep(features, labels, 0, 2, expansion())
    state, _ = analytic.solve(analytic.first_state(SIZE), step)
    state = dataclasses.replace(state, ridge=7.0)
    later = AnalyticStep(*images([0, 0, 9], seed=3), 2, 3, expansion())
    state, _ = analytic.solve(state, later)
    assert state.ridge == pytest.approx(7.0)


@pytest.mark.parametrize("name", ["acil", "ds_al"])
def test_images_that_do_not_fit_into_one_block_are_all_learned(name, monkeypatch):
    """The last block is smaller."""
    features, labels = images([9, 4, 12, 7])
    _, whole = learned(name, features, labels, [2, 2])
    monkeypatch.setattr(acil, "_BLOCK_NUMBERS", 5 * SIZE)
    _, divided = learned(name, features, labels, [2, 2])
    for part in whole.keys() - {"temperature"}:
        np.testing.assert_allclose(divided[part], whole[part], atol=1e-8)


@pytest.mark.parametrize("is_balanced", [False, True])
def test_head_does_not_depend_on_the_number_of_steps(is_balanced):
    features, labels = images([9, 4, 12, 7, 1, 5])
    heads = [
        learned("acil", features, labels, sizes, is_balanced=is_balanced)[1]["kernel"]
        for sizes in ([6], [3, 3], [1, 2, 2, 1])
    ]
    for head in heads[1:]:
        np.testing.assert_allclose(head, heads[0], rtol=1e-6)


def test_balanced_head_weighs_classes_equally():
    counts = np.array([9, 4, 12, 7])
    features, labels = images(counts)
    _, weights = learned("acil", features, labels, [2, 2], is_balanced=True)
    rows, kappa = expanded(features), 4 / np.sum(1 / counts)
    scaled = rows * (kappa / counts[labels])[:, None]
    gram = scaled.T @ rows + 0.1 * np.eye(SIZE)
    expected = np.linalg.solve(gram, scaled.T @ np.eye(4)[labels])
    np.testing.assert_allclose(weights["kernel"], expected, atol=1e-8)


@pytest.mark.parametrize("name", ["acil", "ds_al"])
def test_balanced_head_equals_the_plain_one_for_equal_counts(name):
    features, labels = images([8] * 4)
    plain, balanced = (
        learned(name, features, labels, [2, 2], is_balanced=each)[1]
        for each in (False, True)
    )
    np.testing.assert_allclose(balanced["kernel"], plain["kernel"], atol=1e-8)
    assert balanced["temperature"] == pytest.approx(plain["temperature"])


def test_alpha_multiplies_the_counts_of_old_classes():
    """Halved counts of old classes give their images twice the weight."""
    counts = np.array([9, 4, 12, 7])
    features, labels = images(counts)
    _, weights = learned("acil", features, labels, [2, 2], is_balanced=True, alpha=0.5)
    told = counts * np.array([0.5, 0.5, 1.0, 1.0])
    rows, kappa = expanded(features), 4 / np.sum(1 / told)
    scaled = rows * (kappa / told[labels])[:, None]
    gram = scaled.T @ rows + 0.1 * np.eye(SIZE)
    expected = np.linalg.solve(gram, scaled.T @ np.eye(4)[labels])
    np.testing.assert_allclose(weights["kernel"], expected, atol=1e-8)


@pytest.mark.parametrize("is_balanced", [False, True])
def test_base_weight_multiplies_the_weights_of_base_images(is_balanced):
    counts = np.array([9, 4, 12, 7])
    features, labels = images(counts)
    settings = {"num_base_classes": 2, "base_weight": 0.25, "is_balanced": is_balanced}
    _, weights = learned("acil", features, labels, [2, 1, 1], **settings)
    class_weights = np.array([0.25, 0.25, 1.0, 1.0])
    if is_balanced:
        class_weights *= 4 / np.sum(1 / counts) / counts
    rows = expanded(features)
    scaled = rows * class_weights[labels][:, None]
    gram = scaled.T @ rows + 0.1 * np.eye(SIZE)
    expected = np.linalg.solve(gram, scaled.T @ np.eye(4)[labels])
    np.testing.assert_allclose(weights["kernel"], expected, atol=1e-8)


@pytest.mark.parametrize("name", ["acil", "ds_al"])
def test_one_image_a_class_is_learned(name):
    features, labels = images([1] * 5)
    _, weights = learned(name, features, labels, [3, 1, 1])
    predictions = np.argmax(expanded(features) @ weights["kernel"], axis=1)
    np.testing.assert_array_equal(predictions, labels)


def test_compensation_fits_the_residual_of_the_new_classes():
    features, labels = images([9, 4, 12, 7])
    rows = expanded(features)
    curved = np.tanh(features.astype(np.float64) @ expansion())
    gram, moments = np.zeros((SIZE, SIZE)), np.zeros((SIZE, 4))
    for first, last in ((0, 2), (2, 4)):
        seen, new = labels < last, (first <= labels) & (labels < last)
        full = rows[seen].T @ rows[seen] + 0.1 * np.eye(SIZE)
        main = np.linalg.solve(full, rows[seen].T @ np.eye(4)[labels[seen]])
        residual = np.eye(4)[labels[new]] - rows[new] @ main
        residual[:, :first] = 0.0
        gram += curved[new].T @ curved[new]
        moments += curved[new].T @ residual
    expected = 0.5 * np.linalg.solve(gram + 0.3 * np.eye(SIZE), moments)
    request = {"parameters": {"compensation": 0.5, "compensation_ridge": 0.3}}
    _, weights = learned("ds_al", features, labels, [2, 2], request)
    np.testing.assert_allclose(weights["compensation"], expected, atol=1e-8)


@pytest.mark.parametrize("name", ["acil", "ds_al"])
def test_temperature_is_fitted_to_images_that_were_left_out(name):
    """Every image is predicted by a fit to the others, in both streams of DS-AL."""
    features, labels = images([6, 4, 5])
    rows, targets = expanded(features), np.eye(3)[labels]

    def left_out(rows, targets):
        def prediction(place):
            x, y = np.delete(rows, place, axis=0), np.delete(targets, place, axis=0)
            return rows[place] @ np.linalg.solve(x.T @ x + 0.1 * np.eye(SIZE), x.T @ y)

        return np.array([prediction(place) for place in range(len(rows))])

    logits = left_out(rows, targets)
    if name == "ds_al":
        full = np.linalg.solve(rows.T @ rows + 0.1 * np.eye(SIZE), rows.T @ targets)
        curved = np.tanh(features.astype(np.float64) @ expansion())
        logits += 0.6 * left_out(curved, targets - rows @ full)
    _, weights = learned(name, features, labels, [3])
    expected = fitted_temperature(logits, labels, num_random=1)
    assert weights["temperature"] == pytest.approx(expected, rel=1e-6)


def test_temperature_and_ridge_see_images_of_all_classes_of_a_large_step():
    """Images of a step may be in the order of their classes."""
    features, labels = images([1500, 900, 600])
    step = AnalyticStep(features, labels, 0, 3, expansion())
    counts = np.bincount(labels[step.sampled])
    np.testing.assert_allclose(counts, [500, 300, 200], atol=1)


@pytest.mark.parametrize("name", ["acil", "ds_al"])
def test_images_that_are_all_right_leave_room_for_an_error(name):
    """About one in 200; a fit to them alone would give every image probability 1."""
    directions = np.random.default_rng(1).normal(size=(2, NUM_FEATURES))
    labels = np.arange(200) % 2
    features = directions[labels].astype(np.float32)
    _, weights = learned(name, features, labels, [2])
    logits = expanded(features) @ weights["kernel"]
    if name == "ds_al":
        curved = np.tanh(features.astype(np.float64) @ expansion())
        logits += curved @ weights["compensation"]
    chances = probabilities_of(logits, weights["temperature"]).max(axis=1)
    assert 1e-3 < 1 - chances.mean() < 1e-2


@pytest.mark.parametrize("name", ["acil", "ds_al"])
def test_head_of_keras_has_the_logits_of_the_solution(name):
    features, labels = images([9, 4, 12])
    _, weights = learned(name, features, labels, [2, 1])
    head = method(name, expansion_size=SIZE).make_head(2, 1)
    head.build((None, NUM_FEATURES))
    head.expansion.assign(expansion())
    for part, values in weights.items():
        getattr(head, part).assign(values)
    outputs = head(features)
    expected = expanded(features) @ weights["kernel"]
    if name == "ds_al":
        curved = np.tanh(features.astype(np.float64) @ expansion())
        expected += curved @ weights["compensation"]
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-4)
    scaled = expected / weights["temperature"]
    np.testing.assert_allclose(outputs["calibrated_logits"], scaled, atol=1e-2)
    plain = keras.Model(inputs := keras.Input((NUM_FEATURES,)), head.plain(inputs))
    for output, values in plain(features).items():
        np.testing.assert_allclose(values, outputs[output], atol=1e-2)


@pytest.mark.parametrize(
    ("num_images", "size"), [(6, 2048), (180, 2048), (600, 2400), (60000, 8192)]
)
def test_few_images_get_fewer_columns_but_more_than_images(num_images, size):
    assert method().head_of_images(3, num_images).expansion_size == size


@pytest.mark.parametrize("name", ["acil", "ds_al"])
def test_imagenet_has_the_larger_expansion_of_the_authors_code(name):
    sizes = {kind: parameters(name, kind).expansion_size for kind in KINDS}
    assert sizes.pop(IMAGENET) == 16384
    assert set(sizes.values()) == {8192}


@pytest.mark.parametrize(
    "request_",
    [
        {"classification_loss": "meta_balanced_softmax"},
        {"classification_loss": "rescaled_softmax"},
        {"balanced_finetuning": "true"},
        {"replay_sampling": "class_oversampling"},
        {"exemplars_per_class": 20},
        {"memory_budget": 200},
    ],
)
def test_options_that_train_increments_are_refused(request_):
    (name, value), *_ = request_.items()
    with pytest.raises(RequestError, match=f"--{name}={value} has no effect with"):
        make_config("digits", method="acil", **request_)


def test_flags_of_ridge_and_expansion_are_parameters_of_the_method():
    config = make_config("digits", method="ds_al", ridge=2.0, expansion_size=64)
    assert config == make_config(
        "digits", method="ds_al", parameters={"ridge": 2.0, "expansion_size": 64}
    )
    with pytest.raises(RequestError, match="--method=lucir has no parameter 'ridge'"):
        make_config("digits", method="lucir", ridge=2.0)
    with pytest.raises(RequestError, match="ridge of .* a number of at least 0"):
        make_config("digits", method="acil", ridge=-1.0)
