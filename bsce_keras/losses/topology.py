"""TPCIL's topology preservation: similarities keep their pattern, not their values."""

from keras import ops

from bsce_keras.losses.dtypes import Tensor, at_least_float32

# Lower bound of a sum of squares.
_LEAST = 1e-8


def topology_preserving(reference_similarities: Tensor, similarities: Tensor) -> Tensor:
    """TPCIL's topology-preserving loss: minus the correlation of similarities.

    The similarities of pairs of known images should rise and fall together while the
    network learns. Their common level and scale are free. The constraint is therefore
    elastic: it holds the shape of the feature space, not its position.

        a_p  = s_p - mean s,   b_p = t_p - mean t       over the pairs p
        loss = - sum_p a_p b_p / ( sqrt(sum_p a_p^2) sqrt(sum_p b_p^2) )

    A sum of squares under a root is at least 1e-8. The loss is Pearson's correlation
    with the opposite sign, between -1 and 1. It is -1 if t = c s + d with c > 0, and 1
    if c < 0. It is 0 if s or t is constant, or if there are fewer than two pairs.
    Replacing s by c s + d, or t by c t + d, with c > 0 does not change it, unless a sum
    of squares is below 1e-8. Its gradient by t therefore sums to 0, is orthogonal to b,
    and is 0 if the loss is -1 or 1. The gradient is finite if t is constant; it is then
    0 only if s is constant too.

    Source: reconstruction. Tao et al., "Topology-Preserving Class-Incremental
    Learning", ECCV 2020, gives the idea in its abstract. The formula is recalled from
    the article and could not be compared with it. The authors released no code. The
    floor of 1e-8 is ours.

    Args:
        reference_similarities: float, shape `(num_pairs,)`, s: cosines of the pairs'
            features by the frozen former network; no gradient flows.
        similarities: float, the same shape, t: cosines by the network in training.

    Returns:
        Float, a scalar: one value for all pairs together, without a unit, computed in
        float32 at least.

    Raises:
        ValueError: the shapes differ, or are not shapes of vectors.

    Example:

    >>> loss = topology_preserving([0.0, 0.5, 1.0], [0.2, 0.2, 0.8])
    >>> round(float(loss), 4)  # -(0.5 * 0.6) / (sqrt(0.5) * sqrt(0.24))
    -0.866
    """
    current = at_least_float32(similarities)
    reference = ops.cast(ops.stop_gradient(reference_similarities), current.dtype)
    if not _are_vectors_of_one_length(reference.shape, current.shape):
        raise ValueError(
            "Both similarities must have the same shape, (num_pairs,). Received: "
            f"{tuple(reference.shape)} and {tuple(current.shape)}. Use the same pairs "
            "for both networks."
        )
    reference, current = _centred(reference), _centred(current)
    product = ops.sum(reference * current)
    return -product / (_length(reference) * _length(current))


def _are_vectors_of_one_length(*shapes):
    """Returns True for vectors whose lengths, if known while tracing, agree."""
    lengths = {shape[0] for shape in shapes if len(shape) == 1} - {None}
    return all(len(shape) == 1 for shape in shapes) and len(lengths) <= 1


def _centred(values):
    # `mean` of zero pairs is NaN.
    number = ops.cast(ops.maximum(ops.size(values), 1), values.dtype)
    return values - ops.sum(values) / number


def _length(values):
    # The floor stays under the root: the gradient is then defined for zeros.
    return ops.sqrt(ops.maximum(ops.sum(ops.square(values)), _LEAST))
