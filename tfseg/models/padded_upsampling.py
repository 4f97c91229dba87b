"""Resizes the logits of each image to the image's own size, in tensors of one padded shape.

XLA compiles a program for fixed shapes, and a TPU runs nothing else. So images of different sizes
share one shape here, and a row or a column beyond an image repeats its last one.
"""

from __future__ import annotations

import tensorflow as tf

from tfseg.data.transforms import half_pixel_position

# Resized logits that a GPU or a TPU holds at a time: 1 GB of float32.
BLOCK_LOGITS = 1 << 28


def resize_rows(
    logits: tf.Tensor,
    sizes: tf.Tensor,
    *,
    first_row: tf.Tensor | int,
    num_rows: tf.Tensor | int,
    width: tf.Tensor | int,
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
    near, far, weights = find_neighbours(
        first_row + tf.range(num_rows), tf.shape(logits)[1], sizes[:, 0]
    )
    above, below = (tf.gather(logits, rows, axis=1, batch_dims=1) for rows in (near, far))
    band = above + weights[:, :, None, None] * (below - above)

    near, far, weights = find_neighbours(tf.range(width), tf.shape(logits)[2], sizes[:, 1])
    left, right = (
        tf.gather(band, tf.tile(columns[:, None], (1, num_rows, 1)), axis=2, batch_dims=2)
        for columns in (near, far)
    )
    return left + weights[:, None, :, None] * (right - left)


def find_neighbours(
    places: tf.Tensor, length: tf.Tensor, sizes: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Finds the two input pixels around each output pixel along one direction.

    Args:
        places: Output pixels, int32 `[count]`.
        length: Number of input pixels.
        sizes: Number of output pixels of each image, int32 `[batch]`.

    Returns:
        The near and the far neighbours, int32 `[batch, count]`, and the weights of the far ones,
        float32 of the same shape.
    """
    # An image without a pixel fills up a batch.
    scales = tf.cast(length, tf.float32) / tf.cast(tf.maximum(sizes, 1), tf.float32)
    positions = half_pixel_position(tf.cast(places, tf.float32), scales[:, None])
    positions = tf.clip_by_value(positions, 0.0, tf.cast(length - 1, tf.float32))
    near = tf.cast(positions, tf.int32)
    return near, tf.minimum(near + 1, length - 1), positions - tf.cast(near, tf.float32)
