"""The sum of feature maps of several scales at the finest one's size."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfseg.models.layers.compilation import compile_where_static


def sum_upsampled(finest: tf.Tensor, coarser: Sequence[tf.Tensor], bias: tf.Tensor) -> tf.Tensor:
    """Returns `finest + bias` and the others resized to its size, bilinear as `tf.image.resize`.

    Where each size is a whole multiple, no resized map exists: the sum is written in one pass that
    reads the small maps. An output pixel `k` of `factor` inside input pixel `i` lies at
    `u = (k + 1/2) / factor`, between `i - 1` and `i` or `i` and `i + 1`, so the three weights of a
    row depend on `k` alone.

    Args:
        finest: float32 `[batch, height, width, channels]`.
        coarser: Maps of smaller sizes, as many channels.
        bias: float32 `[channels]`.
    """
    size = finest.shape[1:3]
    shapes = [features.shape for features in coarser]
    is_static = all(shape.is_fully_defined() for shape in (finest.shape, *shapes))
    if not is_static or any(size[0] % each[1] or size[1] % each[2] for each in shapes):
        target = tf.shape(finest)[1:3]
        # The weights of a resize sum to one, and the coarsest map is the smallest to add to.
        *others, coarsest = coarser
        resized = [tf.image.resize(each, target) for each in (*others, coarsest + bias)]
        return tf.add_n([finest, *resized])

    @tf.custom_gradient
    def add_up(finest, bias, *coarser):
        def gradient(upstream):
            to_coarser = [_resize_gradient(upstream, features) for features in coarser]
            return upstream, tf.raw_ops.BiasAddGrad(out_backprop=upstream), *to_coarser

        widened = _widen(size[1], *coarser)
        return _add_rows(finest, bias, *widened), gradient

    return add_up(finest, bias, *coarser)


def _resize_gradient(upstream: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.ResizeBilinearGrad(
        grads=upstream, original_image=features, half_pixel_centers=True
    )


@compile_where_static
def _widen(width: int, *maps: tf.Tensor) -> list[tf.Tensor]:
    """Resizes the rows of maps and repeats their first and last one."""
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
    """Resizes an axis, whose ends are repeated once, by a whole factor."""
    places = [(k + 0.5) / factor for k in range(factor)]
    size = padded.shape[axis] - 2
    total = 0.0
    for start, weights in enumerate(
        (
            [max(0.5 - u, 0.0) for u in places],
            [1.0 - abs(u - 0.5) for u in places],
            [max(u - 0.5, 0.0) for u in places],
        )
    ):
        begin = [start if index == axis else 0 for index in range(4)]
        part = tf.slice(padded, begin, [size if index == axis else -1 for index in range(4)])
        part = tf.expand_dims(part, axis + 1)
        total += part * tf.reshape(tf.constant(weights), (factor, *[1] * (3 - axis)))
    shape = padded.shape.as_list()
    return tf.reshape(total, (*shape[:axis], size * factor, *shape[axis + 1 :]))
