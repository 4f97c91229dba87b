"""Upsampled logits in bands of rows, so that pixels times classes never exist as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfseg.data.transforms import half_pixel_position, resize_logits

# Bands of 32 rows took as long (512x512, 150 classes, 2 cores); higher ones hold more memory.
BAND_ROWS = 64


def map_bands(
    function: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Any],
    logits: tf.Tensor,
    size: tf.Tensor,
    *,
    output_signature: Any,
    margin: tf.Tensor | float | None = None,
) -> Any:
    """Calls a function on each band of logits resized as `resize_logits` does.

    A band's rows are interpolated between their two input rows and then widened. Two bands at a
    time use two cores; ten, `tf.map_fn`'s default, would hold ten.

    Args:
        function: Takes a band, float32 `[batch, BAND_ROWS, width, num_kept]`, its first row, and
            the classes kept, int32 `[num_kept]`; rows past the last one repeat it.
        logits: float32 `[batch, h, w, num_classes]`.
        size: int32 `[2]`, (height, width) in pixels.
        output_signature: What `function` returns, see `tf.map_fn`.
        margin: Leave classes out that are at least so much, in logits, below another one at each
            pixel of a band; all are kept where not given.

    Returns:
        What the function returned, stacked.
    """
    height, width = size[0], size[1]

    def do_band(first_row: tf.Tensor) -> Any:
        rows = tf.minimum(first_row + tf.range(BAND_ROWS), height - 1)
        near, weights = _find_input_rows(logits, rows, height)
        classes = tf.range(tf.shape(logits)[-1])
        if margin is not None:
            near, classes = _keep_contenders(near, classes, margin)
        shape = tf.shape(near)
        flat = tf.matmul(weights, tf.reshape(near, (shape[0], shape[1], shape[2] * shape[3])))
        band = tf.reshape(flat, (shape[0], BAND_ROWS, shape[2], shape[3]))
        return function(resize_logits(band, (BAND_ROWS, width)), first_row, classes)

    return tf.map_fn(
        do_band,
        tf.range(0, height, BAND_ROWS),
        fn_output_signature=output_signature,
        parallel_iterations=2,
    )


def classify_pixels(logits: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Picks the largest of the logits resized as `resize_logits` does.

    Args:
        logits: float32 `[batch, h, w, num_classes]`.
        size: int32 `[2]`, (height, width) in pixels.

    Returns:
        Class ids, int32 `[batch, height, width]`.
    """

    def classify_band(band: tf.Tensor, _, classes: tf.Tensor) -> tf.Tensor:
        # Ids are exact in float32, and oneDNN complains on stderr where it transposes integers.
        return tf.cast(tf.gather(classes, tf.argmax(band, axis=-1)), tf.float32)

    class_map = _map_pixels(classify_band, logits, size, margin=0.0)
    return tf.cast(class_map, tf.int32)


def rate_pixels(logits: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the softmax probability of the class that `classify_pixels` picks.

    Args:
        logits: float32 `[batch, h, w, num_classes]`.
        size: int32 `[2]`, (height, width) in pixels.

    Returns:
        float32 `[batch, height, width]`.
    """

    def rate_band(band: tf.Tensor, *_) -> tf.Tensor:
        return tf.reduce_max(tf.nn.softmax(band), axis=-1)

    # exp(-17) = 4e-8: what is left out, all classes together, is less than float32 can hold.
    margin = 17.0 + tf.math.log(tf.cast(tf.shape(logits)[-1], tf.float32))
    return _map_pixels(rate_band, logits, size, margin=margin)


def _map_pixels(
    function: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
    logits: tf.Tensor,
    size: tf.Tensor,
    *,
    margin: tf.Tensor | float,
) -> tf.Tensor:
    """`map_bands` for a function to `[batch, BAND_ROWS, width]`: `[batch, height, width]`."""
    spec = tf.TensorSpec([None, BAND_ROWS, None], tf.float32)
    bands = map_bands(function, logits, size, output_signature=spec, margin=margin)
    shape = tf.shape(bands)
    joined = tf.transpose(bands, (1, 0, 2, 3))
    return tf.reshape(joined, (shape[1], shape[0] * shape[2], shape[3]))[:, : size[0]]


def _keep_contenders(
    logits: tf.Tensor, classes: tf.Tensor, margin: tf.Tensor | float
) -> tuple[tf.Tensor, tf.Tensor]:
    is_kept = _find_contenders(logits, margin)

    def select() -> tuple[tf.Tensor, tf.Tensor]:
        kept = tf.boolean_mask(classes, is_kept)
        return tf.gather(logits, kept, axis=-1), kept

    # A gather of single channels takes as long as the rest for them.
    return tf.cond(tf.reduce_all(is_kept), lambda: (logits, classes), select)


def _find_contenders(logits: tf.Tensor, margin: tf.Tensor | float) -> tf.Tensor:
    """Returns which classes come nearer than `margin` to the largest resized logit anywhere.

    A resized logit lies between the smallest and the largest of the four logits around it. So a
    class whose largest is `margin` below the smallest of another one is out there; few of many
    classes remain in a part of an image, and the rest need not be resized at all.

    Args:
        logits: float32 `[batch, h, w, num_classes]`.
        margin: In logits.

    Returns:
        bool `[num_classes]`.
    """
    largest = tf.nn.max_pool2d(logits, 2, 1, "SAME")
    smallest = -tf.nn.max_pool2d(-logits, 2, 1, "SAME")
    threshold = tf.reduce_max(smallest, axis=-1, keepdims=True) - margin
    is_beaten = tf.reduce_all(largest < threshold, axis=(0, 1, 2))
    return ~is_beaten | tf.reduce_all(is_beaten)  # all of them: no images, or nan


def _find_input_rows(
    logits: tf.Tensor, rows: tf.Tensor, height: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the input rows around output rows, and their weights, `[len(rows), input rows]`.

    Bilinear with half-pixel centres.
    """
    num_input_rows = tf.shape(logits)[1]
    scale = tf.cast(num_input_rows, tf.float32) / tf.cast(height, tf.float32)
    position = tf.maximum(half_pixel_position(tf.cast(rows, tf.float32), scale), 0.0)
    upper = tf.minimum(tf.cast(position, tf.int32), num_input_rows - 1)
    lower = tf.minimum(upper + 1, num_input_rows - 1)
    weight = (position - tf.cast(upper, tf.float32))[:, None]
    first, last = upper[0], lower[-1]
    count = last - first + 1
    weights = (1.0 - weight) * tf.one_hot(upper - first, count)
    weights += weight * tf.one_hot(lower - first, count)
    return logits[:, first : last + 1], weights
