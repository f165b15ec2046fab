"""Ridge regression from sums over images, in float64 with LAPACK.

The sums are all that is kept of the images. They can be added and subtracted, so the
solution does not depend on the order or the number of the parts.
"""

import dataclasses

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dpotrf, dpotrs, dtpttr, dtrttp
from threadpoolctl import threadpool_limits

from bsce_keras.runtime.errors import RunError

# Leverages this close to 1 would divide by rounding errors.
_LEAST_REMAINDER = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class RidgeSums:
    """Sums over images with rows phi, targets y and weights w.

        G = sum_i w_i phi_i phi_i',   Q = sum_i w_i phi_i y_i'

    Args:
        gram: upper triangle of G, packed by columns, shape `(m (m + 1) / 2,)`.
        moments: Q, shape `(m, num_columns)`.
    """

    gram: np.ndarray
    moments: np.ndarray

    @classmethod
    def zeros(cls, size, num_columns=0):
        """Returns the sums over no images.

        Args:
            size: m, length of the rows.
            num_columns: number of columns of the targets.
        """
        return cls(np.zeros(size * (size + 1) // 2), np.zeros((size, num_columns)))

    @classmethod
    def of_blocks(cls, blocks, size, num_columns):
        """Returns the sums over blocks of images.

        Args:
            blocks: iterable of `(rows, targets, weights)` with shapes `(n, m)`,
                `(n, num_columns)` and `(n,)`, float64.
            size: m, length of the rows.
            num_columns: number of columns of the targets.
        """
        gram = np.zeros((size, size), order="F")
        moments = np.zeros((size, num_columns))
        for rows, targets, weights in blocks:
            root = np.sqrt(weights)[:, None]
            rows = rows * root
            gram = dsyrk(1.0, rows.T, beta=1.0, c=gram, overwrite_c=True)
            moments += rows.T @ (targets * root)
        return cls(dtrttp(gram)[0], moments)

    @property
    def size(self):
        """Length m of the rows."""
        return len(self.moments)

    def times(self, factor):
        """Returns the sums with all weights multiplied by a factor."""
        return RidgeSums(self.gram * factor, self.moments * factor)

    def plus(self, other):
        """Returns the sums over both sets of images; missing columns are 0."""
        columns = max(self.moments.shape[1], other.moments.shape[1])
        moments = _widened(self.moments, columns) + _widened(other.moments, columns)
        return RidgeSums(self.gram + other.gram, moments)


class RidgeSolution:
    """Solution W of a ridge regression, by Cholesky factorisation.

        W = (G + ridge I)^-1 Q

    Args:
        sums: `RidgeSums`.
        ridge: number above 0, added to the diagonal.

    Attributes:
        kernel: W, shape `(m, num_columns)`.
        ridge: as given.

    Raises:
        RunError: the sums are not finite, or `G + ridge I` is not positive definite.
    """

    def __init__(self, sums, ridge):
        self.ridge = ridge
        if not (np.isfinite(sums.gram).all() and np.isfinite(sums.moments).all()):
            raise RunError(_problem("holds numbers that are not finite", ridge))
        matrix, _ = dtpttr(sums.size, sums.gram)
        matrix[np.diag_indices(sums.size)] += ridge
        # Threads of OpenBLAS wait for each other actively, many times in a
        # factorisation. Two of them took 6 to 80 times as long beside other work.
        with threadpool_limits(1, user_api="blas"):
            self._factor, info = dpotrf(matrix, clean=False, overwrite_a=True)
        if info:
            raise RunError(_problem("is not positive definite", ridge))
        self.kernel, _ = dpotrs(self._factor, sums.moments)

    def leave_one_out(self, rows, targets, weights):
        """Returns predictions for images by a fit to all other images, exactly.

            h = w phi' (G + ridge I)^-1 phi,   y - (y - W' phi) / (1 - h)

        Args:
            rows, targets, weights: images that the sums contain, see
                `RidgeSums.of_blocks`.

        Source: the identity of the PRESS statistic (Allen, 1974).
        """
        roots = solve_triangular(self._factor, rows.T, trans="T", check_finite=False)
        leverages = weights * np.sum(np.square(roots), axis=0)
        remainders = np.maximum(1.0 - leverages, _LEAST_REMAINDER)
        return targets - (targets - rows @ self.kernel) / remainders[:, None]

    @classmethod
    def by_leave_one_out(cls, sums, ridges, rows, targets, weights):
        """Returns the solution whose leave-one-out errors have the least squares.

        With about as many images as columns, a small ridge fits the images and predicts
        worst. These errors tell it, since no image is predicted by its own fit.

        Args:
            sums: `RidgeSums`.
            ridges: numbers to choose from; a single one is not compared.
            rows, targets, weights: images to predict, as in `leave_one_out`.
        """
        if len(ridges) == 1:
            return cls(sums, ridges[0])
        best, least = None, np.inf
        for ridge in ridges:
            solution = cls(sums, ridge)
            left_out = solution.leave_one_out(rows, targets, weights)
            error = weights @ np.square(left_out - targets).sum(axis=1)
            if error < least:
                best, least = solution, error
        return best


def balanced_weights(counts):
    """Returns the weight of an image of each class, and the common factor kappa.

        w_c = 1 / n_c,   kappa = C / sum_c w_c  over the C classes that have images

    With kappa, the mean weight of the classes' images is that of plain weighting. Equal
    counts give the solution of weights 1. Classes without images have weight 0.

    Args:
        counts: numbers of images, shape `(num_classes,)`; fractions are possible.

    Returns:
        `(weights, kappa)`.

    Source: AIR (arXiv 2408.10349).
    """
    counts = np.asarray(counts, np.float64)
    weights = np.divide(1.0, counts, out=np.zeros_like(counts), where=counts > 0)
    return weights, np.count_nonzero(weights) / weights.sum()


def _widened(moments, num_columns):
    return np.pad(moments, [(0, 0), (0, num_columns - moments.shape[1])])


def _problem(what, ridge):
    return (
        f"The Gram matrix {what}, so the head cannot be solved. Start another "
        f"--run_dir with a larger --ridge, here {ridge:g}, or with "
        "--precision=float32."
    )
