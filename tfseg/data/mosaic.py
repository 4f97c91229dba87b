"""Mosaic: one training image from random crops of four.

https://arxiv.org/abs/2004.10934. keras-cv's layer of that name, which is no longer developed, takes
the four images from a batch. Here they follow one another in the order of the epoch: the mosaic of
an example depends on its place in that order and not on how batches are divided. So processes that
each prepare a part of a batch make the mosaics that one process would make. An example that is not
cached is decoded four times an epoch, once for each mosaic that it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

NUM_IMAGES = 4
# Where the four meet, as a share of height and width; keras-cv has the same range.
CENTERS = (0.25, 0.75)

Pair = tuple[tf.Tensor, tf.Tensor]


def group_records(records: tf.data.Dataset) -> tf.data.Dataset:
    """Groups each record with the three that follow it.

    The last records of an epoch have fewer followers, and these are repeated: the last one is
    grouped with itself.

    Args:
        records: The records of an epoch, in its order.

    Returns:
        As many tuples of `NUM_IMAGES` records. Records are not copied.
    """

    def group(_: tf.data.Dataset, window: Any) -> tf.data.Dataset:
        repeated = tf.data.Dataset.zip(window).repeat()
        return tf.data.Dataset.zip(
            tuple(repeated.skip(number) for number in range(NUM_IMAGES))
        ).take(1)

    # `window` hands a tuple on as several arguments, and anything else as one. With the numbers
    # there are always two.
    return records.enumerate().window(NUM_IMAGES, shift=1).flat_map(group)


def mosaic(
    pairs: Sequence[Pair],
    seed: tf.Tensor,
    *,
    size: tuple[int, int],
    crop: Callable[..., Pair],
) -> Pair:
    """Puts random crops of four images into the quarters of one.

    Args:
        pairs: `NUM_IMAGES` images, float32 `[height, width, 3]` in [0, 1], with their masks, int32
            `[height, width]`. They go to the upper left, upper right, lower left and lower right.
        seed: int32 or int64 `[2]`. The same seed gives the same result.
        size: (height, width) in pixels of the result.
        crop: Takes an image, a mask, a seed and `crop_size`, int32 (height, width) in pixels, and
            returns a random crop of that size, as `augmentation.augment` does.

    Returns:
        Image float32 `[*size, 3]` and mask int32 `size`.
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, NUM_IMAGES + 1))
    shares = tf.random.stateless_uniform((2,), seeds[-1], *CENTERS)
    top, left = tf.unstack(tf.cast(tf.round(shares * tf.constant(size, tf.float32)), tf.int32))
    heights, widths = (top, size[0] - top), (left, size[1] - left)
    sizes = [(height, width) for height in heights for width in widths]
    crops = [
        crop(*pair, each, crop_size=crop_size)
        for pair, each, crop_size in zip(pairs, seeds, sizes, strict=False)
    ]
    images, masks = ([part[index] for part in crops] for index in range(2))
    return tf.ensure_shape(_join(images), (*size, 3)), tf.ensure_shape(_join(masks), size)


def _join(quarters: list[tf.Tensor]) -> tf.Tensor:
    upper, lower = tf.concat(quarters[:2], axis=1), tf.concat(quarters[2:], axis=1)
    return tf.concat([upper, lower], axis=0)
