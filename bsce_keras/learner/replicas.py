"""Sums and means over the replicas of a `tf.distribute` strategy, inside a replica."""

import tensorflow as tf


def num_replicas():
    """Replicas in sync; 1 outside a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def all_reduce_sum(tensors):
    """Sums each tensor of a list over replicas; differentiable; free on one replica."""
    if num_replicas() == 1:
        return tensors
    replica = tf.distribute.get_replica_context()
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


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
