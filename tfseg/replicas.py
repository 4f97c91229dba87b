"""Replicas: the copies of a model that share a training step under `tf.distribute`."""

from __future__ import annotations

import tensorflow as tf


def count_replicas() -> int:
    """Returns the number of replicas that share the current step; 1 outside of a step."""
    if tf.distribute.in_cross_replica_context():
        return 1
    return tf.distribute.get_replica_context().num_replicas_in_sync


def sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """Sums a tensor of every replica, so that each replica has the sum. It is differentiable.

    Args:
        value: Floating point, of the same static shape in every replica. With one replica, or
            outside of a step, the value is returned as it is.
    """
    if count_replicas() == 1:
        return value
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
