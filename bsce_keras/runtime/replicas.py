"""Sums and means over the replicas of a strategy, called inside a replica."""

import tensorflow as tf


def num_replicas():
    """Returns the number of replicas in sync; 1 outside a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def share_of(number):
    """Returns `(start, end)` of this replica's even share of `number` items."""
    replicas = num_replicas()
    if replicas == 1:
        return 0, number
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return number * replica // replicas, number * (replica + 1) // replicas


def all_reduce_sum(tensors):
    """Sums each tensor of a list over replicas; differentiable."""
    if num_replicas() == 1:
        return tensors
    replica = tf.distribute.get_replica_context()
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def gather_shares(rows, number):
    """Joins the rows of all replicas, each with its `share_of` them; differentiable.

    Args:
        rows: rows of this replica, shape `(share, d)`.
        number: number of rows of all replicas.

    Returns:
        Tensor of shape `(number, d)`, the same on every replica.
    """
    if num_replicas() == 1:
        return rows
    start, end = share_of(number)
    return all_reduce_sum([tf.pad(rows, [[start, number - end], [0, 0]])])[0]


def mean_over_replicas(tensors):
    """Averages float tensors over replicas in one packed reduction."""
    if num_replicas() == 1 or not tensors:
        return tensors
    sizes = [tensor.shape.num_elements() for tensor in tensors]
    packed = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
    mean = all_reduce_sum([packed])[0] / num_replicas()
    return [
        tf.reshape(part, tensor.shape)
        for part, tensor in zip(tf.split(mean, sizes), tensors, strict=True)
    ]
