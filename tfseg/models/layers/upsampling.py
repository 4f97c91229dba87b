"""Sums feature maps of several sizes at the size of the finest one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfseg import devices
from tfseg.data.transforms import half_pixel_position, neighbour_weights
from tfseg.models.layers.compilation import compile_where_static


def sum_upsampled(finest: tf.Tensor, coarser: Sequence[tf.Tensor], bias: tf.Tensor) -> tf.Tensor:
    """Returns `finest + bias` plus the other maps, resized bilinearly as by `tf.image.resize`.

    If the finest size is a whole multiple of each other size, no resized map is ever held on a CPU:
    one pass reads the small maps and writes the sum. Input pixel `i` then covers `factor` output
    pixels. The `k`-th of them lies between inputs `i - 1` and `i`, or `i` and `i + 1`, so its
    three weights depend on `k` alone. Accelerators have units for matrix products, so there the
    resizes of static shapes are products, see `_sum_products`.

    Args:
        finest: float32 `[batch, height, width, channels]`; of any floating-point type on an
            accelerator.
        coarser: Maps of smaller sizes with the same dtype and number of channels.
        bias: float32 `[channels]`.

    Returns:
        float32, of the shape of `finest`.
    """
    size = finest.shape[1:3]
    shapes = [features.shape for features in coarser]
    is_static = all(shape.is_fully_defined() for shape in (finest.shape, *shapes))
    if is_static and not devices.current_form().compiles_parts:
        return _sum_products(finest, coarser, bias)
    if not is_static or any(size[0] % each[1] or size[1] % each[2] for each in shapes):
        target = tf.shape(finest)[1:3]
        # The weights of a resize sum to one, and the coarsest map is the smallest to add to.
        *others, coarsest = coarser
        coarsest = tf.cast(coarsest, tf.float32) + bias
        resized = [tf.image.resize(each, target) for each in (*others, coarsest)]
        return tf.add_n([tf.cast(finest, tf.float32), *resized])

    @tf.custom_gradient
    def add_up(finest, bias, *coarser):
        def gradient(upstream):
            to_coarser = [_resize_gradient(upstream, features) for features in coarser]
            return upstream, tf.raw_ops.BiasAddGrad(out_backprop=upstream), *to_coarser

        widened = _widen(size[1], *coarser)
        return _add_rows(finest, bias, *widened), gradient

    return add_up(finest, bias, *coarser)


def _sum_products(finest: tf.Tensor, coarser: Sequence[tf.Tensor], bias: tf.Tensor) -> tf.Tensor:
    """Resizes the widths, stacks all rows, and resizes the heights and adds up in one product."""
    height, width = finest.shape[1:3]
    rows, weights = [], []
    for features in coarser:
        across = tf.constant(_resize_matrix(width, features.shape[2]), features.dtype)
        rows.append(tf.einsum("bhic,wi->bhwc", features, across))
        weights.append(_resize_matrix(height, features.shape[1]))
    down = tf.constant(np.concatenate(weights, 1), finest.dtype)
    resized = tf.einsum("biwc,hi->bhwc", tf.concat(rows, 1), down)
    return tf.cast(finest, tf.float32) + tf.cast(resized, tf.float32) + bias


def _resize_matrix(size: int, input_size: int) -> np.ndarray:
    """Returns the weights of `input_size` pixels in each of `size`, float32 `[size, input_size]`.

    They are exact in bfloat16 for factors up to 64, so a TPU's products do not round them.
    """
    scale = input_size / size
    positions = [half_pixel_position(index, scale) for index in range(size)]
    distances = np.clip(positions, 0, input_size - 1)[:, None] - np.arange(input_size)
    return np.maximum(1.0 - np.abs(distances), 0.0).astype(np.float32)


def _resize_gradient(upstream: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.ResizeBilinearGrad(
        grads=upstream, original_image=features, half_pixel_centers=True
    )


@compile_where_static
def _widen(width: int, *maps: tf.Tensor) -> list[tf.Tensor]:
    """Resizes each map along its width, and repeats its first and its last row."""
    wide = []
    for features in maps:
        padded = tf.concat([features[:, :, :1], features, features[:, :, -1:]], 2)
        rows = _interpolate(padded, 2, width // features.shape[2])
        wide.append(tf.concat([rows[:, :1], rows, rows[:, -1:]], 1))
    return wide


@compile_where_static
def _add_rows(finest: tf.Tensor, bias: tf.Tensor, *widened: tf.Tensor) -> tf.Tensor:
    height = finest.shape[1]
    maps = [_interpolate(rows, 1, height // (rows.shape[1] - 2)) for rows in widened]
    return sum(maps, start=finest + bias)


def _interpolate(padded: tf.Tensor, axis: int, factor: int) -> tf.Tensor:
    """Resizes an axis by a whole factor; the input repeats both ends of the axis once."""
    positions = [half_pixel_position(k, 1 / factor) for k in range(factor)]
    size = padded.shape[axis] - 2
    total = 0.0
    for start, weights in enumerate(zip(*map(neighbour_weights, positions), strict=True)):
        begin = [start if index == axis else 0 for index in range(4)]
        part = tf.slice(padded, begin, [size if index == axis else -1 for index in range(4)])
        part = tf.expand_dims(part, axis + 1)
        total += part * tf.reshape(tf.constant(weights), (factor, *[1] * (3 - axis)))
    shape = padded.shape.as_list()
    return tf.reshape(total, (*shape[:axis], size * factor, *shape[axis + 1 :]))
