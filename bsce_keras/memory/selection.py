"""Selection of exemplars: from features to indices."""

import math
import numbers

import numpy as np
from numpy.typing import ArrayLike

# Identical rows have equal scores, but rounding may make them differ.
_TIE = 1e-12
_MIN_LENGTH = 1e-12
# float32 drops numbers below 1e-38. Their sum over _MIN_LENGTH stays below this bound.
_UNDERFLOW = 1e-20
_MAX_ITERATIONS = 1000
_BLOCK = 256


def herding(features: ArrayLike, num_exemplars: int) -> np.ndarray:
    """Selects exemplars whose mean follows the class mean, best first.

    Rows are normalised, mu is their mean and w starts at mu. Each iteration takes
    j = argmax_i <w, row_i> over all rows, including those already picked. It records j
    if j is new, and sets w <- w + mu - row_j. After 1000 iterations, missing exemplars
    are filled up in index order.

    Source: iCaRL as released by its authors, LUCIR and PODNet alike. A repeated pick
    still moves w; the greedy nearest-mean form of other code bases omits this. After
    1000 iterations, LUCIR keeps fewer exemplars. We fill up, as PODNet does.

    Args:
        features: float, shape `(num_images, d)`, features of one class; rows of length
            at most 1e30.
        num_exemplars: number of exemplars to pick, at most all images.

    Returns:
        int64 indices, shape `(min(num_exemplars, num_images),)`, all different. Scores
        with a relative difference within 1e-12 are tied: the lowest index wins.

    Raises:
        ValueError: the features are not finite numbers in rows, or `num_exemplars` is
            not a whole number of 0 or more.
    """
    features = np.asarray(features)
    is_matrix = features.ndim == 2 or not features.size
    # Kind V is bfloat16.
    if not (is_matrix and features.dtype.kind in "biufV"):
        raise ValueError(
            "`features` must be finite numbers, one row per image. Received: shape "
            f"{features.shape} of type {features.dtype}"
        )
    if not np.isfinite(features).all():
        raise ValueError("`features` must be finite. Received: NaN or infinity")
    if not (isinstance(num_exemplars, numbers.Integral) and num_exemplars >= 0):
        raise ValueError(
            "`num_exemplars` must be a whole number of 0 or more. Received: "
            f"{num_exemplars!r}"
        )
    wanted = min(num_exemplars, len(features))
    if wanted == 0:
        return np.zeros(0, dtype=np.int64)
    # Scores are scaled instead of rows, which avoids a copy of all rows.
    scales, mean = _scales_and_mean(features)
    rough_rows = features.astype(np.float32, copy=False)
    rough_scales = scales.astype(np.float32)
    slack = _slack(features.shape[1])
    target = mean
    picks: dict[int, None] = {}  # Keeps the order of picks and detects repeats.
    for _ in range(_MAX_ITERATIONS):
        # Memory bandwidth bounds these products. float32 finds the few rows that can
        # have the best score in half the time; float64 decides between them.
        rough = rough_rows @ target.astype(np.float32) * rough_scales
        floor = rough.max() - slack * math.sqrt(target @ target) - _UNDERFLOW
        near = np.flatnonzero(rough >= floor)
        near_rows = features[near].astype(np.float64) * scales[near, None]
        first = _first_of_the_best(near_rows @ target) if len(near) > 1 else 0
        picks[int(near[first])] = None
        if len(picks) == wanted:
            break
        target = target + mean - near_rows[first]
    picked = np.array(list(picks), np.int64)
    missing = np.setdiff1d(np.arange(len(features)), picked)[: wanted - len(picked)]
    return np.concatenate([picked, missing.astype(np.int64)])


def _first_of_the_best(scores):
    best = scores.max()
    return np.argmax(scores >= best - _TIE * abs(best))


def _scales_and_mean(features):
    """Returns factors that scale rows to length 1, and the scaled mean, in float64.

    It works block by block, because a float64 copy of all rows does not fit the cache.
    """
    scales, total = [], 0
    for start in range(0, len(features), _BLOCK):
        rows = features[start : start + _BLOCK].astype(np.float64)
        scales.append(1 / np.maximum(np.sqrt(np.vecdot(rows, rows)), _MIN_LENGTH))
        total = total + scales[-1] @ rows
    return np.concatenate(scales), total / len(features)


def _slack(size):
    """Returns the largest float32 difference of equal scores, relative to |w|.

    A score scale * <row, w> in float32 has n = d + 4 successive roundings, each with a
    relative error of at most u = 2^-24. They are those of row, w and scale, of d
    products and sums in any order, and of the last product. With Higham's gamma_n =
    n u / (1 - n u), the error is at most gamma_n * scale * sum_k |row_k w_k|. By Cauchy
    and Schwarz, this is at most gamma_n |w|. Two scores may err in opposite directions.
    Four additional roundings cover the tie of 1e-12 and the rounding of float64, which
    are much smaller.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, section 3.1.
    """
    error = (size + 8) * 2.0**-24
    return 2 * error / (1 - error)


def random_exemplars(num_images, num_exemplars, rng):
    """Draws exemplars without replacement, in the order drawn.

    Args:
        num_images: number of images of one class.
        num_exemplars: number of exemplars to pick, at most all images.
        rng: `np.random.Generator`.

    Returns:
        int64 indices.
    """
    return rng.permutation(num_images)[:num_exemplars]
