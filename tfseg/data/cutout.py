"""Cutout: an image loses a random rectangle, so that the model learns to use what lies around it.

https://arxiv.org/abs/1708.04552. The mask stays as it is, as in MMSegmentation's `RandomCutOut`,
albumentations' `CoarseDropout` and keras-cv's `RandomCutout` unless they are told otherwise: the
model must name what it cannot see. Were the rectangle void, the loss would only see less of each
image.
"""

from __future__ import annotations

import tensorflow as tf

# Smallest and largest side of the rectangle, as a share of the image's.
SIDES = (0.1, 0.5)


def cutout(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Takes a rectangle out of an image.

    Its centre lies anywhere in the image, so that it may reach beyond an edge.

    Args:
        image: float32 `[height, width, 3]`.
        seed: int32 or int64 `[2]`. The same seed gives the same result.

    Returns:
        float32 `[height, width, 3]`, NaN in the rectangle.
    """
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    sides = size * tf.random.stateless_uniform((2,), seeds[0], *SIDES)
    first = size * tf.random.stateless_uniform((2,), seeds[1]) - sides / 2
    rows, columns = (
        (places >= first[axis]) & (places < first[axis] + sides[axis])
        for axis, places in enumerate((tf.range(size[0]), tf.range(size[1])))
    )
    is_cut = rows[:, None, None] & columns[None, :, None]
    return tf.where(is_cut, float("nan"), image)
