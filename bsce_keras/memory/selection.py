"""Features in, exemplar indices out."""

import numpy as np

# Exact arithmetic would tie identical rows; floating point may not.
_TIE = 1e-12
_MAX_ITERATIONS = 1000


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
        features: float, shape `(num_images, d)`, of one class.
        num_exemplars: how many to pick; all images if there are not more.

    Returns:
        int64 indices, shape `(min(num_exemplars, num_images),)`, all different. Scores
        within 1e-12 of each other, relatively, count as tied: the lowest index wins.
    """
    rows = np.asarray(features, dtype=np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    wanted = min(num_exemplars, len(rows))
    if wanted == 0:
        return np.zeros(0, dtype=np.int64)
    # <w, row_i> for all i, kept up to date by columns of the Gram matrix as they are
    # needed, so that an iteration costs one addition instead of a product with w.
    mean_scores = rows @ rows.mean(axis=0)
    scores = mean_scores.copy()
    columns = {}
    for _ in range(_MAX_ITERATIONS):
        best = scores.max()
        pick = int(np.argmax(scores >= best - _TIE * abs(best)))
        if pick not in columns:
            columns[pick] = rows @ rows[pick]
            if len(columns) == wanted:
                break
        scores += mean_scores - columns[pick]
    picked = list(columns)
    missing = np.setdiff1d(np.arange(len(rows)), picked)[: wanted - len(picked)]
    return np.concatenate([np.array(picked, np.int64), missing.astype(np.int64)])


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
