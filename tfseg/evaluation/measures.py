"""Measures of parts of a batch, and how they become those of the whole."""

from __future__ import annotations

import tensorflow as tf

# Counts of the confusion matrix, int32; summed loss and number of valid pixels, which float64 sums
# without losing digits; and class maps, if they are asked for.
Measures = tuple[tf.Tensor, ...]


def nothing(signature: tuple[tf.TensorSpec, ...]) -> Measures:
    """Returns the measures of no image."""
    return tuple(
        tf.zeros([0, *(length or 0 for length in spec.shape)], spec.dtype) for spec in signature
    )


def add_up(parts: Measures) -> tuple[Measures, tuple[tf.Tensor, ...]]:
    """Adds up the measures of parts, which are stacked; class maps stay as they are."""
    counts, loss, num_valid, *class_maps = parts
    return tuple(tf.reduce_sum(part, 0) for part in (counts, loss, num_valid)), tuple(class_maps)


def join_rows(parts: tf.Tensor) -> tf.Tensor:
    """Joins blocks of rows `[blocks, batch, rows, width]` to `[batch, blocks * rows, width]`."""
    shape = tf.shape(parts)
    joined = tf.transpose(parts, (1, 0, 2, 3))
    return tf.reshape(joined, (shape[1], shape[0] * shape[2], shape[3]))
