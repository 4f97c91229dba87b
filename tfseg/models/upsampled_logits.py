"""Resizes logits in bands of rows, so that memory never holds all pixels times all classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfseg import devices
from tfseg.data.transforms import resize_logits
from tfseg.models import padded_upsampling

# Bands of 32 rows take as long (512x512, 150 classes, 2 CPU cores); higher bands take more memory.
BAND_ROWS = 64


def map_bands(
    function: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Any],
    logits: tf.Tensor,
    size: tf.Tensor,
    *,
    output_signature: Any,
    margin: tf.Tensor | float | None = None,
) -> Any:
    """Calls a function on each band of logits that are resized as by `resize_logits`.

    A band's rows are interpolated between the input rows and then widened. Two bands run at a
    time, which uses two cores; `tf.map_fn`'s default of ten would hold ten bands in memory.

    Args:
        function: Takes a band, float32 `[batch, BAND_ROWS, width, num_kept]`; its first row; and
            the class ids that were kept, int32 `[num_kept]`. Rows past the last one repeat it.
        logits: float32 `[batch, h, w, num_classes]`.
        size: int32 `[2]`, (height, width) in pixels.
        output_signature: What `function` returns, see `tf.map_fn`.
        margin: Leave out the classes whose logit is lower than another one by more than this
            at every pixel of a band. If None, all classes are kept.

    Returns:
        What the function returned, stacked along a new first axis.
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

    def classify_band(band: tf.Tensor, _, classes: tf.Tensor) -> list[tf.Tensor]:
        return [_pick_class(band, classes)]

    (class_map,) = _map_pixels(classify_band, logits, size, margin=0.0, num_outputs=1)
    return tf.cast(class_map, tf.int32)


def classify_and_rate_pixels(logits: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Picks the largest of the resized logits and gives its softmax probability, in one pass.

    Args:
        logits: float32 `[batch, h, w, num_classes]`.
        size: int32 `[2]`, (height, width) in pixels.

    Returns:
        The class ids of `classify_pixels`, int32 `[batch, height, width]`, and the probability of
        each, float32 of the same shape.
    """

    def classify_and_rate_band(band: tf.Tensor, _, classes: tf.Tensor) -> list[tf.Tensor]:
        return [_pick_class(band, classes), tf.reduce_max(tf.nn.softmax(band), axis=-1)]

    # exp(-17) = 4e-8: all classes left out add up to less than a float32 near 1 resolves.
    margin = 17.0 + tf.math.log(tf.cast(tf.shape(logits)[-1], tf.float32))
    class_map, confidence = _map_pixels(
        classify_and_rate_band, logits, size, margin=margin, num_outputs=2
    )
    return tf.cast(class_map, tf.int32), confidence


def _pick_class(band: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    # Ids are exact in float32, and oneDNN complains on stderr when it transposes integers.
    return tf.cast(tf.gather(classes, tf.argmax(band, axis=-1)), tf.float32)


def _map_pixels(
    function: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], list[tf.Tensor]],
    logits: tf.Tensor,
    size: tf.Tensor,
    *,
    margin: tf.Tensor | float,
    num_outputs: int,
) -> list[tf.Tensor]:
    """Joins what a function returns for each band, see `map_bands`.

    Args:
        function: Returns float32 tensors `[batch, rows of the band, width]`.
        logits: float32 `[batch, h, w, num_classes]`.
        size: int32 `[2]`, (height, width) in pixels.
        margin: See `map_bands`.
        num_outputs: Number of tensors that `function` returns.

    Returns:
        As many tensors `[batch, height, width]`.
    """
    signature = [tf.TensorSpec([None, None, None], tf.float32)] * num_outputs
    if devices.current_form().fixed_shapes:
        outputs = _map_blocks(function, logits, size, output_signature=signature)
    else:
        outputs = map_bands(function, logits, size, output_signature=signature, margin=margin)
    return [_join_bands(bands, size[0]) for bands in outputs]


def _map_blocks(
    function: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], list[tf.Tensor]],
    logits: tf.Tensor,
    size: tf.Tensor,
    *,
    output_signature: list[tf.TensorSpec],
) -> list[tf.Tensor]:
    """Does what `map_bands` does with few large blocks, as GPUs and TPUs need them.

    The blocks have the fixed shape that XLA needs if the logits have one, so all classes are kept.
    """
    height, width = size[0], size[1]
    shape = tf.shape(logits)
    per_row = tf.maximum(shape[0] * width * shape[3], 1)
    num_rows = tf.clip_by_value(padded_upsampling.BLOCK_LOGITS // per_row, 1, height)
    sizes = tf.tile(size[None], (shape[0], 1))

    def do_block(first_row: tf.Tensor) -> list[tf.Tensor]:
        block = padded_upsampling.resize_rows(
            logits, sizes, first_row=first_row, num_rows=num_rows, width=width
        )
        return function(block, first_row, tf.range(shape[3]))

    return tf.map_fn(
        do_block,
        tf.range(0, height, num_rows),
        fn_output_signature=output_signature,
        parallel_iterations=1,
    )


def _join_bands(bands: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
    """Turns `[bands, batch, rows, width]` into `[batch, height, width]`."""
    shape = tf.shape(bands)
    joined = tf.transpose(bands, (1, 0, 2, 3))
    return tf.reshape(joined, (shape[1], shape[0] * shape[2], shape[3]))[:, :height]


def _keep_contenders(
    logits: tf.Tensor, classes: tf.Tensor, margin: tf.Tensor | float
) -> tuple[tf.Tensor, tf.Tensor]:
    is_kept = _find_contenders(logits, margin)

    def select() -> tuple[tf.Tensor, tf.Tensor]:
        kept = tf.boolean_mask(classes, is_kept)
        return tf.gather(logits, kept, axis=-1), kept

    # Skipped if every class is kept: gathering channels takes as long as all else for them.
    return tf.cond(tf.reduce_all(is_kept), lambda: (logits, classes), select)


def _find_contenders(logits: tf.Tensor, margin: tf.Tensor | float) -> tf.Tensor:
    """Finds the classes that come within `margin` of the largest resized logit somewhere.

    A resized logit lies between the smallest and the largest of the four logits around it. So at
    a place where the largest of them is more than `margin` below the smallest of another class,
    a class cannot win. Few of many classes remain in a part of an image; the others need not be
    resized at all.

    Args:
        logits: float32 `[batch, h, w, num_classes]`.
        margin: Difference between logits.

    Returns:
        bool `[num_classes]`.
    """
    largest = tf.nn.max_pool2d(logits, 2, 1, "SAME")
    smallest = -tf.nn.max_pool2d(-logits, 2, 1, "SAME")
    threshold = tf.reduce_max(smallest, axis=-1, keepdims=True) - margin
    is_beaten = tf.reduce_all(largest < threshold, axis=(0, 1, 2))
    return ~is_beaten | tf.reduce_all(
        is_beaten
    )  # All are beaten if there are no images, or by nan.


def _find_input_rows(
    logits: tf.Tensor, rows: tf.Tensor, height: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the input rows around output rows, and their weights for each output row.

    Args:
        logits: float32 `[batch, h, w, num_classes]`.
        rows: int32, consecutive output rows.
        height: Number of output rows in all.

    Returns:
        float32 `[batch, num_input_rows, w, num_classes]` and `[len(rows), num_input_rows]`.
    """
    upper, lower, weight = (
        part[0]
        for part in padded_upsampling.find_neighbours(rows, tf.shape(logits)[1], height[None])
    )
    weight = weight[:, None]
    first, last = upper[0], lower[-1]
    count = last - first + 1
    weights = (1.0 - weight) * tf.one_hot(upper - first, count)
    weights += weight * tf.one_hot(lower - first, count)
    return logits[:, first : last + 1], weights
