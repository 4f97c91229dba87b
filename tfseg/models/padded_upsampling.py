"""Resizes the logits of each image to the image's own size, in tensors of one padded shape.

XLA compiles a program for fixed shapes, and a TPU runs nothing else. So images of different sizes
share one shape here, and a row or a column beyond an image repeats its last one.
"""

from __future__ import annotations

import tensorflow as tf

from tfseg.data.transforms import half_pixel_position


def resize_rows(
    logits: tf.Tensor, sizes: tf.Tensor, *, first_row: tf.Tensor | int, num_rows: int, width: int
) -> tf.Tensor:
    """Computes a band of rows of logits that are resized as by `transforms.resize_logits`.

    Both directions are weighted sums of two gathered neighbours. Matrix products would do the same,
    but a TPU rounds the factors of a float32 product to bfloat16.

    Args:
        logits: float32 `[batch, h, w, num_classes]`.
        sizes: int32 `[batch, 2]`, (height, width) of each image in pixels.
        first_row: First row of the band.
        num_rows: Number of rows of the band.
        width: Number of columns, at least the largest width in `sizes`.

    Returns:
        float32 `[batch, num_rows, width, num_classes]`.
    """
    rows = _interpolate(logits, sizes[:, 0], first_row + tf.range(num_rows), axis=1)
    return _interpolate(rows, sizes[:, 1], tf.range(width), axis=2)


def _interpolate(logits: tf.Tensor, sizes: tf.Tensor, places: tf.Tensor, axis: int) -> tf.Tensor:
    """Returns the logits at output places along an axis, for each image's own output size."""
    last = logits.shape[axis] - 1
    # An image without a pixel fills up a batch.
    scales = (last + 1.0) / tf.cast(tf.maximum(sizes, 1), tf.float32)
    positions = half_pixel_position(tf.cast(places, tf.float32), scales[:, None])
    positions = tf.clip_by_value(positions, 0.0, float(last))
    near = tf.cast(positions, tf.int32)
    far = tf.minimum(near + 1, last)
    weights = positions - tf.cast(near, tf.float32)
    weights = tf.reshape(weights, (*weights.shape[:1], *(1,) * (axis - 1), -1, *(1,) * (3 - axis)))
    before, after = (_gather(logits, indices, axis) for indices in (near, far))
    return before + weights * (after - before)


def _gather(logits: tf.Tensor, indices: tf.Tensor, axis: int) -> tf.Tensor:
    """Gathers along an axis with other indices `[batch, count]` for each image."""
    if axis == 1:
        return tf.gather(logits, indices, axis=1, batch_dims=1)
    rows = logits.shape[1]
    repeated = tf.tile(indices[:, None], (1, rows, 1))
    return tf.gather(logits, repeated, axis=2, batch_dims=2)
