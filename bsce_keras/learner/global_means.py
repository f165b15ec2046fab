"""Means of a batch over all replicas, and the check that they are finite."""

import tensorflow as tf

from bsce_keras.runtime.errors import RunError
from bsce_keras.runtime.replicas import all_reduce_sum, num_replicas


def global_size(labels):
    """Returns the number of images of the batch over all replicas."""
    local = tf.shape(labels)[0]
    if num_replicas() == 1:
        return local
    return all_reduce_sum([local])[0]


def sums_over_replicas(values):
    """Sums named scalars over replicas in one reduction."""
    dtype = next(iter(values.values())).dtype
    packed = tf.stack([tf.cast(value, dtype) for value in values.values()])
    totals = tf.unstack(all_reduce_sum([packed])[0])
    return dict(zip(values, totals, strict=True))


def named_terms(means):
    """Returns means of terms by the names that errors show."""
    return {f"the loss term '{name}'": mean for name, mean in means.items()}


def one_if_finite(watched):
    """Returns 1.0, computed only after every named value was found to be finite.

    A value that is multiplied by it waits for the checks. A control dependency does
    not suffice: the graph optimizer of TensorFlow 2.21 drops it (dependency
    optimization), and weights became NaN before the error was raised.
    """
    checked = [
        tf.debugging.check_numerics(tf.cast(value, tf.float32), name)
        for name, value in watched.items()
    ]
    return tf.reduce_max(tf.cast(tf.math.is_finite(tf.stack(checked)), tf.float32))


def mean_of_term(term, labels, outputs, taught, size):
    """Returns this replica's share of a term's mean over the global batch, in float32.

    In mixed precision, outputs such as features are not float32, nor is what a method
    makes of them.
    """
    values = term.values(labels, outputs, taught)
    parts = values if isinstance(values, tuple) else (values,)
    parts = [tf.cast(part, tf.float32) for part in parts]
    ranks = [part.shape.rank for part in parts]
    is_vector = len(parts) == 1 and _may_be_of_images(parts[0], labels)
    is_masked = len(parts) == 2 and (ranks[0] == ranks[1] or None in ranks)
    if not (is_vector or is_masked):
        raise RunError(
            f"The loss term {term.name!r} must return one value per image, shape "
            "(batch,), or values and a mask of one shape. Received shapes: "
            f"{', '.join(str(part.shape) for part in parts)}. Reduce the other axes, "
            "and not the first."
        )
    return share_of_mean(parts[0] if is_vector else tuple(parts), size)


def _may_be_of_images(values, labels):
    """Returns False for values whose shape is known not to be `(batch,)`.

    While tracing, the batch may be of any size, and a known size is not that of it.
    """
    if values.shape.rank is None:
        return True
    return values.shape.rank == 1 and values.shape[0] in (None, labels.shape[0])


def share_of_mean(values, size):
    """Returns this replica's share of the mean of values over the global batch.

    Args:
        values: one value per image, or `(values, mask)`; the mean is over the mask.
        size: number of images of the global batch.
    """
    if not isinstance(values, tuple):
        return tf.reduce_sum(values) / tf.cast(size, values.dtype)
    values, mask = values
    mask = tf.cast(mask, values.dtype)
    total = all_reduce_sum([tf.reduce_sum(mask)])[0]
    return tf.math.divide_no_nan(tf.reduce_sum(values * mask), total)
