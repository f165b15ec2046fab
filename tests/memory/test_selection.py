"""Herding equals the references' procedure, including repeated picks."""

import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from bsce_keras.memory import herding
from bsce_keras.memory.selection import random_exemplars


def herding_as_published(features, num_exemplars):
    """Runs the released loop; for data without ties."""
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    mean = rows.mean(axis=0)
    w = mean
    picked = []
    for _ in range(1000):
        best = np.argmax(rows @ w)
        if best not in picked:
            picked.append(best)
        if len(picked) == num_exemplars:
            break
        w = w + mean - rows[best]
    return picked


def herding_in_float64(features, num_exemplars):
    """Runs the documented rule in float64, including ties and filling up."""
    rows = np.asarray(features, np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    mean = rows.mean(axis=0)
    w, picked = mean, []
    for _ in range(1000):
        scores = rows @ w
        best = scores.max()
        pick = int(np.flatnonzero(scores >= best - 1e-12 * abs(best))[0])
        if pick not in picked:
            picked.append(pick)
        if len(picked) == num_exemplars:
            break
        w = w + mean - rows[pick]
    rest = [index for index in range(len(rows)) if index not in picked]
    return (picked + rest)[:num_exemplars]


@st.composite
def crowded_features(draw):
    """Rows that float32 cannot distinguish, copies, and lengths of all orders.

    Rows are not on a line: the target could be 0 there, up to rounding.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.sampled_from([2, 7, 64, 512]))
    centres = rng.normal(draw(st.sampled_from([0.0, 0.5])), 1, (3, size))
    rows = centres[rng.integers(3, size=draw(st.integers(1, 40)))]
    rows = rows + draw(st.sampled_from([0, 1e-9, 1e-7, 1e-5, 1])) * rng.normal(
        size=rows.shape
    )
    copies = rng.integers(len(rows), size=draw(st.integers(0, 10)))
    rows = np.concatenate([rows, rows[copies]])
    exponents = draw(st.sampled_from([0, 3, 11]))
    rows *= 10 ** rng.uniform(-exponents, exponents, (len(rows), 1))
    return rows.astype(draw(st.sampled_from([np.float32, np.float64])))


def random_features(num_images=60, size=5, seed=0):
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(loc=0.5, size=(num_images, size)), 0) + 1e-3


def test_repeated_pick_moves_the_target_but_is_listed_once():
    # Unit rows have mean (.65, .25). Scores and picks by hand:
    #   w = ( .65,  .25): .65  .25  .67  .37 -> 2
    #   w = ( .50, -.10): .50 -.10  .34  .46 -> 0
    #   w = ( .15,  .15): .15  .15  .21  .03 -> 2 again
    #   w = ( .00, -.20): .00 -.20 -.12  .12 -> 3
    # Without the repeated pick, the third one would be row 1: .15 against .03.
    rows = np.array([[1, 0], [0, 1], [0.8, 0.6], [0.8, -0.6]])
    assert herding(rows, 3).tolist() == [2, 0, 3]
    # Lengths of rows have no effect, and shorter lists are prefixes.
    scaled = rows * np.array([[1], [7], [0.1], [3]])
    assert herding(scaled, 2).tolist() == [2, 0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("num_exemplars", [1, 7, 20])
def test_herding_equals_the_released_loop(seed, num_exemplars):
    features = random_features(seed=seed)
    expected = herding_as_published(features, num_exemplars)
    assert len(expected) == num_exemplars
    assert herding(features, num_exemplars).tolist() == expected


def test_all_images_of_a_large_class_are_candidates():
    """Rows are scaled in blocks of 256; the last one is smaller."""
    features = random_features(600, seed=4)
    features[300:] *= 7.0
    expected = herding_as_published(features, 20)
    assert max(expected) >= 512
    assert herding(features, 20).tolist() == expected


# The examples are the same in every run. Scores that differ by exactly 1e-12, where
# rounding decides, are rare but possible.
@hypothesis.settings(deadline=None, max_examples=150, derandomize=True)
@hypothesis.given(crowded_features(), st.integers(1, 20))
def test_picks_equal_those_of_float64(features, num_exemplars):
    expected = herding_in_float64(features, num_exemplars)
    assert herding(features, num_exemplars).tolist() == expected


def test_herded_mean_is_nearer_to_the_class_mean_than_random():
    features = random_features(200)
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)

    def distance(indices):
        return np.linalg.norm(rows[indices].mean(axis=0) - rows.mean(axis=0))

    rng = np.random.default_rng(0)
    by_chance = [distance(random_exemplars(200, 20, rng)) for _ in range(20)]
    assert distance(herding(features, 20)) < np.median(by_chance) / 2


def test_an_image_with_features_of_zero_is_no_obstacle():
    """A row of zeros stays zero, and counts in the mean. Scores by hand:

    w = (.45,  .4):  0  .45  .4  .6 -> 3
    w = ( .1,  .2):  0   .1  .2  .2 -> 2, the lower index of a tie
    w = (.55, -.4):  0  .55 -.4  .2 -> 1
    """
    rows = np.array([[0, 0], [1, 0], [0, 1], [0.8, 0.6]])
    assert herding(rows, 3).tolist() == [3, 2, 1]


def test_lowest_index_wins_a_tie():
    # Rows 1 and 3 have the same direction, nearest to the mean.
    rows = np.array([[1, 0], [1, 1], [0, 1], [2, 2]])
    assert herding(rows, 1).tolist() == [1]


@pytest.mark.parametrize("shift", range(6))
def test_rounding_does_not_break_a_tie(shift):
    # All rows have the same cosine with their mean, summed in different orders.
    rows = np.array(list(itertools.permutations([0.1, 0.3, 0.7])))
    assert herding(np.roll(rows, shift, axis=0), 1).tolist() == [0]


def test_identical_images_are_picked_in_order():
    # 0.1 and 0.3 are not binary fractions, so dot products of equal rows may differ.
    rows = np.tile([[0.1, 0.3, 0.7]], (50, 1))
    assert herding(rows, 5).tolist() == [0, 1, 2, 3, 4]


def test_missing_picks_after_1000_iterations_follow_index_order():
    # Only the first copy of each direction is ever picked.
    rows = np.array([[0, 1], [1, 0], [0, 1], [1, 0], [1, 0]])
    assert herding(rows, 4).tolist() == [1, 0, 2, 3]
    assert herding_as_published(rows, 4) == [1, 0]


@pytest.mark.parametrize("num_exemplars", [3, 20])
def test_all_images_are_picked_if_not_more_are_available(num_exemplars):
    picks = herding(random_features(3), num_exemplars)
    assert sorted(picks.tolist()) == [0, 1, 2]


@pytest.mark.parametrize(("num_images", "num_exemplars"), [(3, 0), (0, 3)])
def test_zero_exemplars_or_images_give_no_indices(num_images, num_exemplars):
    picks = herding(np.ones((num_images, 2)), num_exemplars)
    assert picks.shape == (0,) and picks.dtype == np.int64


def test_random_exemplars_are_distinct():
    picks = random_exemplars(10, 6, np.random.default_rng(0))
    assert len(set(picks.tolist())) == 6 and set(picks.tolist()) <= set(range(10))
    assert len(random_exemplars(4, 6, np.random.default_rng(0))) == 4


@pytest.mark.parametrize(
    ("features", "num_exemplars", "message"),
    [
        ([[1.0, np.nan], [1.0, 2.0]], 1, "Received: NaN or infinity"),
        ([["1", "2"]], 1, "numbers, one row per image. Received: .* of type <U1"),
        ([1.0, 2.0, 3.0], 1, r"one row per image. Received: shape \(3,\)"),
        ([[1.0, 2.0]], -1, "`num_exemplars` must be a whole number .* Received: -1"),
        ([[1.0, 2.0]], 0.5, "Received: 0.5"),
    ],
)
def test_wrong_features_and_numbers_are_refused(features, num_exemplars, message):
    with pytest.raises(ValueError, match=message):
        herding(features, num_exemplars)
