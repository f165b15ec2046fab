"""Features in, exemplar indices out."""

import math

import numpy as np

# Exact arithmetic would tie identical rows; floating point may not.
_TIE = 1e-12
_MIN_LENGTH = 1e-12
# What numbers below 1e-38, which float32 drops, can add up to over _MIN_LENGTH.
_UNDERFLOW = 1e-20
_MAX_ITERATIONS = 1000
_BLOCK = 256


def herding(features, num_exemplars):
    """Exemplars whose mean follows the class mean, best first.

    Rows are normalised, mu is their mean and w starts at mu. Each iteration takes
    j = argmax_i <w, row_i> over all rows, those already picked included, records j if
    it is new, and sets w <- w + mu - row_j. After 1000 iterations what is still missing
    is filled up in index order.

    Source: iCaRL, as released by its authors, LUCIR and PODNet alike. A pick that is
    repeated still moves w, which the greedy nearest-mean form of other code bases
    misses. Where LUCIR would keep fewer exemplars after 1000 iterations, we fill up, as
    PODNet does.

    Args:
        features: float, shape `(num_images, d)`, of one class; no row longer than 1e30.
        num_exemplars: how many to pick; all images if there are not more.

    Returns:
        int64 indices, shape `(min(num_exemplars, num_images),)`, all different. Scores
        within 1e-12 of each other, relatively, count as tied: the lowest index wins.
    """
    features = np.asarray(features)
    wanted = min(num_exemplars, len(features))
    if wanted == 0:
        return np.zeros(0, dtype=np.int64)
    # Scores are scaled instead of rows, which spares a copy of all of them.
    scales, mean = _scales_and_mean(features)
    rough_rows = features.astype(np.float32, copy=False)
    rough_scales = scales.astype(np.float32)
    slack = _slack(features.shape[1])
    target = mean
    picked = {}  # A dictionary keeps the order of picks and finds repeats.
    for _ in range(_MAX_ITERATIONS):
        # Memory bounds these products: float32 finds the few rows that can have the
        # best score in half the time, float64 tells them apart.
        rough = rough_rows @ target.astype(np.float32) * rough_scales
        floor = rough.max() - slack * math.sqrt(target @ target) - _UNDERFLOW
        near = np.flatnonzero(rough >= floor)
        near_rows = features[near].astype(np.float64) * scales[near, None]
        first = _first_of_the_best(near_rows @ target) if len(near) > 1 else 0
        picked[int(near[first])] = None
        if len(picked) == wanted:
            break
        target = target + mean - near_rows[first]
    picked = np.array(list(picked), np.int64)
    missing = np.setdiff1d(np.arange(len(features)), picked)[: wanted - len(picked)]
    return np.concatenate([picked, missing.astype(np.int64)])


def _first_of_the_best(scores):
    best = scores.max()
    return np.argmax(scores >= best - _TIE * abs(best))


def _scales_and_mean(features):
    """What brings rows to length 1, and the mean of these, in float64.

    Block by block: a float64 copy of all rows would not stay in the cache.
    """
    scales, total = [], 0
    for start in range(0, len(features), _BLOCK):
        rows = features[start : start + _BLOCK].astype(np.float64)
        scales.append(1 / np.maximum(np.sqrt(np.vecdot(rows, rows)), _MIN_LENGTH))
        total = total + scales[-1] @ rows
    return np.concatenate(scales), total / len(features)


def _slack(size):
    """How far apart, relative to |w|, equal scores can come out in float32.

    A score scale * <row, w> in float32 takes n = d + 4 roundings in a row, each off by
    at most u = 2^-24: of row, w and scale, of d products and sums in whatever order, of
    the last product. By Higham's gamma_n = n u / (1 - n u) its error is at most
    gamma_n * scale * sum_k |row_k w_k| <= gamma_n |w|, by Cauchy and Schwarz, and two
    scores may err in opposite directions. Four roundings more stand for what is far
    smaller: the tie of 1e-12 and the rounding of float64.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, section 3.1.
    """
    error = (size + 8) * 2.0**-24
    return 2 * error / (1 - error)


def random_exemplars(num_images, num_exemplars, rng):
    """Exemplars drawn without replacement, in the order drawn.

    Args:
        num_images: images of one class.
        num_exemplars: how many to pick; all images if there are not more.
        rng: `np.random.Generator`.

    Returns:
        int64 indices.
    """
    return rng.permutation(num_images)[:num_exemplars]
