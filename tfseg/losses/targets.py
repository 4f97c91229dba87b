"""Targets of the cross-entropy at pixels between quarter-size logits."""

from __future__ import annotations

import tensorflow as tf

from tfseg.data.transforms import half_pixel_position

FACTOR = 4
# Bilinear weights of the second of two neighbours for the pixels between them: 1/8, 3/8, 5/8, 7/8.
FAR_WEIGHTS = tuple(half_pixel_position(FACTOR // 2 + k, 1 / FACTOR) for k in range(FACTOR))


def make_targets(
    labels: tf.Tensor,
    behind: int,
    num_classes: int,
    ignore_index: int,
    class_weights: tuple[float, ...] | None,
    label_smoothing: float,
) -> tf.Tensor:
    """Returns the targets `t` in the loss `-sum_c t_c log p_c` of each pixel, zero for void pixels.

    They have the shape of the labels with the classes as a new axis, `behind` axes before the end.
    XLA computes them where they are used and does not store them.
    """
    labels = labels[(..., None, *[slice(None)] * behind)]
    column = (slice(None), *[None] * behind)
    chosen = labels == tf.range(num_classes)[column]
    if class_weights is None and not label_smoothing:
        return tf.cast(chosen & (labels != ignore_index), tf.float32)
    weights = tf.constant(class_weights or (1.0,) * num_classes)[column]
    targets = tf.cast(chosen, tf.float32) * (1.0 - label_smoothing) + label_smoothing / num_classes
    return tf.where(labels != ignore_index, weights * targets, 0.0)
