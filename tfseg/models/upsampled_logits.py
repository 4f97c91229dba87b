"""Resizes logits so that memory never holds the pixels of a whole batch times all classes.

On a CPU this happens in bands of rows, which leave out the classes that cannot win. Accelerators
take one image at a time and all of its pixels and classes, because XLA compiles fixed shapes only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfseg import devices
from tfseg.data.transforms import half_pixel_position, resize_logits

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
    if not devices.current_form().compiles_parts:
        return _map_images(
            lambda image: tf.argmax(image, -1, output_type=tf.int32), logits, size, tf.int32
        )

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
    if not devices.current_form().compiles_parts:
        return _map_images(_classify_and_rate, logits, size, (tf.int32, tf.float32))

    def classify_and_rate_band(band: tf.Tensor, _, classes: tf.Tensor) -> list[tf.Tensor]:
        return [_pick_class(band, classes), tf.reduce_max(tf.nn.softmax(band), axis=-1)]

    # exp(-17) = 4e-8: all classes left out add up to less than a float32 near 1 resolves.
    margin = 17.0 + tf.math.log(tf.cast(tf.shape(logits)[-1], tf.float32))
    class_map, confidence = _map_pixels(
        classify_and_rate_band, logits, size, margin=margin, num_outputs=2
    )
    return tf.cast(class_map, tf.int32), confidence


def upsample_within(logits: tf.Tensor, size: tf.Tensor, shape: tuple) -> tf.Tensor:
    """Resizes logits to a size that is known only at run time, at the top left of a fixed shape.

    Args:
        logits: Floating point `[h, w, num_classes]`.
        size: int32 `[2]`, (height, width) in pixels.
        shape: (height, width) of the result, at least `size`.

    Returns:
        float32 `[*shape, num_classes]`. Beyond `size` the last row and column are repeated.
    """
    logits = tf.cast(logits, tf.float32)
    for axis in (0, 1):
        near, far, weight = _find_neighbours(
            tf.range(shape[axis]), tf.shape(logits)[axis], size[axis]
        )
        weight = tf.reshape(weight, (-1, *[1] * (2 - axis)))
        near, far = (tf.gather(logits, indices, axis=axis) for indices in (near, far))
        logits = near + weight * (far - near)
    return logits


def _find_neighbours(
    pixels: tf.Tensor, input_size: tf.Tensor, size: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the two input positions around each pixel, and the weight of the second one."""
    scale = tf.cast(input_size, tf.float32) / tf.cast(size, tf.float32)
    position = tf.maximum(half_pixel_position(tf.cast(pixels, tf.float32), scale), 0.0)
    near = tf.minimum(tf.cast(position, tf.int32), input_size - 1)
    return near, tf.minimum(near + 1, input_size - 1), position - tf.cast(near, tf.float32)


def _map_images(
    function: Callable[[tf.Tensor], Any], logits: tf.Tensor, size: tf.Tensor, signature: Any
) -> Any:
    """Calls a function on the resized logits `[height, width, num_classes]` of each image.

    Args:
        function: Returns tensors `[height, width]`.
        logits: `[batch, h, w, num_classes]`.
        size: int32 `[2]`, (height, width) in pixels.
        signature: Dtypes of what the function returns.
    """
    outputs = tf.map_fn(
        lambda image: function(resize_logits(image[None], size)[0]),
        logits,
        fn_output_signature=signature,
        parallel_iterations=1,
    )
    shape = (tf.shape(logits)[0], size[0], size[1])  # `map_fn` forgets it if there are no images
    return tf.nest.map_structure(lambda output: tf.reshape(output, shape), outputs)


def _classify_and_rate(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    highest = tf.reduce_max(tf.nn.softmax(image), axis=-1)
    return tf.argmax(image, -1, output_type=tf.int32), highest


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
        function: Returns float32 tensors `[batch, BAND_ROWS, width]`.
        logits: float32 `[batch, h, w, num_classes]`.
        size: int32 `[2]`, (height, width) in pixels.
        margin: See `map_bands`.
        num_outputs: Number of tensors that `function` returns.

    Returns:
        As many tensors `[batch, height, width]`.
    """
    spec = tf.TensorSpec([None, BAND_ROWS, None], tf.float32)
    outputs = map_bands(
        function, logits, size, output_signature=[spec] * num_outputs, margin=margin
    )
    return [_join_bands(bands, size[0]) for bands in outputs]


def _join_bands(bands: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
    """Turns `[bands, batch, BAND_ROWS, width]` into `[batch, height, width]`."""
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
    num_input_rows = tf.shape(logits)[1]
    upper, lower, weight = _find_neighbours(rows, num_input_rows, height)
    weight = weight[:, None]
    first, last = upper[0], lower[-1]
    count = last - first + 1
    weights = (1.0 - weight) * tf.one_hot(upper - first, count)
    weights += weight * tf.one_hot(lower - first, count)
    return logits[:, first : last + 1], weights
