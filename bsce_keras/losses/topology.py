"""TPCIL's topology preservation: similarities keep their pattern, not their values."""

from keras import ops

from bsce_keras.losses.dtypes import at_least_float32

# A sum of squares below this counts as this.
_LEAST = 1e-8


def topology_preserving(reference_similarities, similarities):
    """TPCIL's topology-preserving loss: minus the correlation of similarities.

    While a network learns, the similarities of pairs of images that it knew before
    shall rise and fall together. Their common level and scale are free, which makes
    the constraint elastic: it holds the shape of the feature space, not its place.

        a_p  = s_p - mean s,   b_p = t_p - mean t       over the pairs p
        loss = - sum_p a_p b_p / ( sqrt(sum_p a_p^2) sqrt(sum_p b_p^2) )

    In a root, 1e-8 stands for a sum of squares below it. This is Pearson's correlation
    with its sign turned, between -1 and 1: -1 where t = c s + d with c > 0, 1 where
    c < 0, and 0 where either is constant, of one pair, or of none. It does not change
    when s, or t, becomes c t + d with c > 0, as long as no sum of squares is below
    1e-8. Its gradient by t therefore adds up to 0, is orthogonal to b, and is 0 where
    the loss is -1 or 1. Where t is constant the gradient is finite, and 0 only if s is
    constant too.

    Source: reconstruction. Tao et al., "Topology-Preserving Class-Incremental
    Learning", ECCV 2020, gives the idea in its abstract; the formula is recalled from
    the article, for which no code was released, and could not be compared with it. The
    floor of 1e-8 is ours.

    Args:
        reference_similarities: float, shape `(num_pairs,)`, s: cosines of the pairs'
            features by the network as it was; no gradient flows.
        similarities: float, the same shape, t: those by the network in training.

    Returns:
        Float, a scalar: one value for all pairs together, without a unit, computed in
        float32 at least.

    Raises:
        ValueError: the shapes differ, or are not those of vectors.

    Example:

    >>> loss = topology_preserving([0.0, 0.5, 1.0], [0.2, 0.2, 0.8])
    >>> round(float(loss), 4)  # -(0.5 * 0.6) / (sqrt(0.5) * sqrt(0.24))
    -0.866
    """
    current = at_least_float32(similarities)
    reference = ops.cast(ops.stop_gradient(reference_similarities), current.dtype)
    if not _are_vectors_of_one_length(reference.shape, current.shape):
        raise ValueError(
            "Both similarities must be of one shape, (num_pairs,). Received: "
            f"{tuple(reference.shape)} and {tuple(current.shape)}. Take the same pairs "
            "of both networks."
        )
    reference, current = _centred(reference), _centred(current)
    product = ops.sum(reference * current)
    return -product / (_length(reference) * _length(current))


def _are_vectors_of_one_length(*shapes):
    """As far as lengths are known while tracing."""
    lengths = {shape[0] for shape in shapes if len(shape) == 1} - {None}
    return all(len(shape) == 1 for shape in shapes) and len(lengths) <= 1


def _centred(values):
    # Not `mean`, which of no pairs is not a number.
    number = ops.cast(ops.maximum(ops.size(values), 1), values.dtype)
    return values - ops.sum(values) / number


def _length(values):
    # The floor is under the root, where its gradient is defined for zeros.
    return ops.sqrt(ops.maximum(ops.sum(ops.square(values)), _LEAST))
