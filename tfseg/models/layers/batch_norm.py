"""Batch normalisation whose statistics cover the batches of all replicas."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfseg import replicas


class BatchNorm(tf.keras.layers.BatchNormalization):
    """Keras's BatchNormalization with the statistics of the global batch.

    With one replica it is Keras's own layer, whose fused kernel is the fastest. In several replicas
    the mean and the variance are those of the global batch, and so are the moving averages, with
    the unbiased variance as in the fused kernel. Keras's `synchronized=True` takes the biased
    variance there, and gives up the fused kernel on a single device too.

    The moving averages are equal in all replicas. So each replica updates its own copy, and one
    process alone can save them. Keras's are averaged when they are read, which takes all processes.
    """

    def add_weight(self, *args: Any, **kwargs: Any) -> tf.Variable:
        """Creates a weight; a moving average is not averaged over replicas when it is read."""
        if kwargs.get("synchronization") == tf.VariableSynchronization.ON_READ:
            kwargs["synchronization"] = tf.VariableSynchronization.ON_WRITE
            kwargs["aggregation"] = tf.VariableAggregation.NONE
        return super().add_weight(*args, **kwargs)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns normalised features of the inputs' shape and dtype.

        Args:
            inputs: Floating point `[batch, height, width, channels]`. In training each replica must
                have as many of them.
            training: Normalise with the statistics of the batch, and update the moving averages.
        """
        if not training or replicas.count_replicas() == 1:
            return super().call(inputs, training=training)
        return self._normalize_over_replicas(inputs)

    def _normalize_over_replicas(self, inputs: tf.Tensor) -> tf.Tensor:
        # Deviations from the moving mean are small, so that their squares lose no digits.
        old_mean = tf.identity(self.moving_mean)
        deviations = tf.cast(inputs, tf.float32) - old_mean
        squares = tf.square(deviations)
        sums = tf.stack([tf.reduce_sum(part, (0, 1, 2)) for part in (deviations, squares)])
        num_pixels = tf.reduce_prod(tf.shape(inputs)[:3]) * replicas.count_replicas()
        count = tf.cast(num_pixels, tf.float32)
        mean, square = tf.unstack(replicas.sum_over_replicas(sums) / count)
        variance = square - tf.square(mean)
        self._update(self.moving_mean, old_mean + mean)
        self._update(self.moving_variance, variance * count / (count - 1.0))
        scale = self.gamma * tf.math.rsqrt(variance + self.epsilon)
        return tf.cast((deviations - mean) * scale + self.beta, inputs.dtype)

    def _update(self, average: tf.Variable, value: tf.Tensor) -> None:
        average.assign_sub((average - value) * (1.0 - self.momentum))
