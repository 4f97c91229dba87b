"""Cross-entropy of logits upsampled four times, for programs that XLA compiles as a whole.

The full-size logits are never stored. Three passes over the quarter-size logits find the highest
logit of each pixel, the sum of its exponentials, and the gradient. In each of them the upsampled
logits are one expression under one reduction, which XLA evaluates where it is used. The gradient
gathers: a quarter-size logit takes part in the 8 x 8 pixels around it, and sums what they ask for.
So exponentials are computed four times, which takes a TPU or a GPU less time than to store them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from tfseg import devices
from tfseg.data.transforms import half_pixel_position, neighbour_weights
from tfseg.losses.targets import FACTOR, make_targets

# Pixels by their distance from the first of the four in a position, in each direction: those of the
# position itself, and all in whose interpolation it takes part.
_OWN = range(FACTOR)
_AROUND = range(-(FACTOR // 2), FACTOR + FACTOR // 2)


def upsampled_cross_entropy_sum(
    masks: tf.Tensor,
    logits: tf.Tensor,
    ignore_index: int,
    class_weights: tuple[float, ...] | None = None,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Does what `banded_cross_entropy.upsampled_cross_entropy_sum` does, in three passes.

    Arguments and result are described there.
    """
    settings = (logits.shape[-1], ignore_index, class_weights, label_smoothing)
    score, differentiate = _passes(devices.current_form().compiles_loss)

    @tf.custom_gradient
    def total_loss(quarter: tf.Tensor) -> tf.Tensor:
        total, normalizers = score(quarter, masks, settings)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return upstream * differentiate(quarter, normalizers, masks, settings)

        return total, gradient

    return total_loss(logits)


@functools.cache
def _passes(is_compiled: bool) -> tuple[Callable, Callable]:
    if not is_compiled:
        return _score, _gather_gradient
    return tuple(tf.function(each, jit_compile=True) for each in (_score, _gather_gradient))


def _arrange(logits: tf.Tensor) -> list[tf.Tensor]:
    """Returns the logits of the left neighbours, of the positions and of the right neighbours.

    Columns come last, because they fill the lanes of a TPU, where 150 classes would be padded to
    256. Rows come first and repeat both ends, so that the neighbours above and below are slices.
    Merging all axes but the last keeps that order in memory; otherwise XLA copies each slice. The
    edge is its own neighbour.

    Returns:
        Three tensors, float32 `[(height + 2) * num_classes * batch, width]`.
    """
    batch, _, width, num_classes = logits.shape
    lines = tf.reshape(tf.transpose(logits, (1, 3, 0, 2)), (-1, width))
    columns = tf.range(width)
    left = tf.where(columns == 0, lines, tf.pad(lines[:, :-1], ((0, 0), (1, 0))))
    right = tf.where(columns == width - 1, lines, tf.pad(lines[:, 1:], ((0, 0), (0, 1))))
    row = num_classes * batch
    return [tf.concat([part[:row], part, part[-row:]], 0) for part in (left, lines, right)]


def _split_pixels(masks: tf.Tensor) -> tf.Tensor:
    """Returns the pixels of each position, `[4, 4, height, batch, width]`."""
    batch, height, _ = masks.shape
    by_column = tf.stack([masks[:, :, column::FACTOR] for column in _OWN])
    rows = tf.reshape(by_column, (FACTOR, batch, height // FACTOR, FACTOR, -1))
    return tf.transpose(rows, (3, 0, 2, 1, 4))


def _score(quarter: tf.Tensor, masks: tf.Tensor, settings: tuple) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the loss and, for each pixel, `log(sum_c exp(z_c) / sum_c t_c)`.

    Args:
        quarter: Logits, float32 `[batch, height, width, num_classes]`.
        masks: int32 `[batch, 4 * height, 4 * width]`.
        settings: Arguments of `make_targets` after the place of the classes.

    Returns:
        A float32 scalar, and float32 `[4, 4, height, batch, width]` in the order of
        `_split_pixels`: infinite for void pixels.
    """
    labels = _split_pixels(masks)
    flat = tf.reshape(labels, (-1, *labels.shape[2:]))
    logits = _upsample(_arrange(quarter), _OWN, _grid_shape(quarter))
    highest = tf.reduce_max(logits, 2)
    normalizer = tf.reduce_sum(tf.exp(logits - highest[:, :, None]), 2)
    normalizer = tf.math.log(normalizer) + highest
    targets = make_targets(flat, 2, *settings)
    mass = tf.reduce_sum(targets, 2)
    picked = tf.reduce_sum(targets * logits, 2)
    total = tf.reduce_sum(mass * normalizer - picked)
    return total, tf.reshape(normalizer - tf.math.log(mass), labels.shape)


def _gather_gradient(
    quarter: tf.Tensor, normalizers: tf.Tensor, masks: tf.Tensor, settings: tuple
) -> tf.Tensor:
    """Returns the gradient of the loss, float32 `[batch, height, width, num_classes]`."""
    normalizers = _look_around(normalizers, math.inf)
    labels = _look_around(_split_pixels(masks), settings[1])
    slopes = tf.exp(
        _upsample(_arrange(quarter), _AROUND, _grid_shape(quarter)) - normalizers[:, :, None]
    )
    slopes -= make_targets(labels, 2, *settings)
    count = len(_AROUND)
    by_row = tf.repeat(_shares(quarter.shape[1]), count, 0)[:, :, None, None, None]
    by_column = tf.tile(_shares(quarter.shape[2]), (count, 1))[:, None, None, None, :]
    return tf.transpose(tf.reduce_sum(by_row * by_column * slopes, 0), (2, 0, 3, 1))


def _upsample(
    grid: list[tf.Tensor], offsets: Sequence[int], shape: tuple[int, int, int, int]
) -> tf.Tensor:
    """Returns the logits of pixels around each position.

    All nine neighbours enter each of them, most with weight 0: so this is one chain of operations,
    of which XLA stores no part.

    Args:
        grid: See `_arrange`.
        offsets: Distances of the pixels from the first one in each position.
        shape: (height, number of classes, batch, width).

    Returns:
        float32 `[len(offsets) ** 2, height, num_classes, batch, width]`.
    """
    row_size, size = shape[1] * shape[2], shape[0] * shape[1] * shape[2]
    weights = tf.constant(
        [neighbour_weights(half_pixel_position(offset, 1 / FACTOR)) for offset in offsets]
    )
    total = 0.0
    for row in range(3):
        for column, part in enumerate(grid):
            both = tf.reshape(weights[:, None, row] * weights[None, :, column], (-1, 1, 1, 1, 1))
            neighbours = part[row * row_size : row * row_size + size]
            total += both * tf.reshape(neighbours, (1, *shape))
    return total


def _grid_shape(quarter: tf.Tensor) -> tuple[int, int, int, int]:
    batch, height, width, num_classes = quarter.shape
    return height, num_classes, batch, width


def _shares(size: int) -> tf.Tensor:
    """Returns the share of each position in the pixels around it, float32 `[8, size]`.

    Beyond the edge a position is its own neighbour and has the whole pixel.
    """
    shares = []
    for offset in _AROUND:
        share = [1.0 - abs(half_pixel_position(offset, 1 / FACTOR))] * size
        share[0 if offset < FACTOR // 2 else -1] = 1.0
        shares.append(share)
    return tf.constant(shares)


def _look_around(pixels: tf.Tensor, outside: float) -> tf.Tensor:
    """Returns the 8 x 8 pixels around each position, `outside` beyond the image.

    Args:
        pixels: `[4, 4, height, batch, width]`.
        outside: Value of pixels beyond the image.

    Returns:
        `[64, height, batch, width]`.
    """
    for axis, along in ((0, 2), (1, 4)):
        first, last = tf.split(pixels, 2, axis)
        before, after = _move(last, along, -1, outside), _move(first, along, 1, outside)
        pixels = tf.concat([before, pixels, after], axis)
    return tf.reshape(pixels, (-1, *pixels.shape[2:]))


def _move(pixels: tf.Tensor, axis: int, step: int, outside: float) -> tf.Tensor:
    """Returns the values one position before (-1) or after (1) along an axis."""
    begin, padding, extent = [0] * 5, [(0, 0)] * 5, [-1] * 5
    begin[axis] = max(step, 0)
    padding[axis] = (max(-step, 0), max(step, 0))
    extent[axis] = pixels.shape[axis] - 1
    return tf.pad(tf.slice(pixels, begin, extent), padding, constant_values=outside)
