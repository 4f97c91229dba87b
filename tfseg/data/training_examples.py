"""From a decoded example to what a training step takes: resize or crop, augment, normalise."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfseg.data import augmentation, cutout, masks, mosaic, rand_augment, transforms
from tfseg.data.transforms import Preprocessing

Example = dict[str, tf.Tensor]
Pair = tuple[tf.Tensor, tf.Tensor]


def prepare(
    examples: Sequence[Example],
    seed: tf.Tensor,
    *,
    kind: str,
    preprocessing: Preprocessing,
    crop_size: tuple[int, int],
    random_scale: tuple[float, float],
    max_class_share: float,
    ignore_index: int,
    colors: dict[str, Any],
) -> Pair:
    """Prepares an example for training.

    Args:
        examples: The example, and for a mosaic those that go with it.
        seed: int32 or int64 `[2]`. The same seed gives the same result.
        kind: One of the values of --augmentation.
        preprocessing: The model's.
        crop_size: (height, width) in pixels of a random crop.
        random_scale: Smallest and largest factor of a random crop.
        max_class_share: Largest share of one class in a random crop.
        ignore_index: Mask value of void pixels.
        colors: Ranges of colour changes, as `augmentation.random_colors` takes them.

    Returns:
        Image float32 `[height, width, 3]` normalised, mask int32 `[height, width]`; of `crop_size`,
        or of the model's size where the augmentation does not crop.
    """
    if kind in ("none", "flip", "basic"):
        image, mask = _prepare_whole(examples[0], seed, kind, preprocessing, colors)
        return preprocessing.normalize(image), mask
    crop = functools.partial(
        augmentation.augment,
        base_size=preprocessing.image_size,
        random_scale=random_scale,
        ignore_index=ignore_index,
        max_class_share=max_class_share,
        **colors,
    )
    image, mask = _prepare_crop(examples, seed, kind, crop, crop_size, ignore_index)
    image = preprocessing.normalize(image)
    # Beyond the image the model sees the mean colour, which normalisation maps to zero.
    return tf.where(tf.math.is_nan(image), 0.0, image), mask


def _prepare_whole(
    example: Example,
    seed: tf.Tensor,
    kind: str,
    preprocessing: Preprocessing,
    colors: dict[str, Any],
) -> Pair:
    image = preprocessing.resize(example["image"])
    mask = masks.resize_mask(example["mask"], preprocessing.image_size)
    if kind != "none":
        image, mask = augmentation.random_flip(image, mask, seed)
    if kind == "basic":
        colors_seed = tf.random.experimental.stateless_fold_in(seed, 1)
        image = augmentation.random_colors(image, colors_seed, **colors)
    return image, mask


def _prepare_crop(
    examples: Sequence[Example],
    seed: tf.Tensor,
    kind: str,
    crop: functools.partial,
    crop_size: tuple[int, int],
    ignore_index: int,
) -> Pair:
    pairs = [(transforms.to_unit_range(each["image"]), each["mask"]) for each in examples]
    if kind == "mosaic":
        return mosaic.mosaic(pairs, seed, size=crop_size, crop=crop)
    image, mask = crop(*pairs[0], seed, crop_size=crop_size)
    further_seed = tf.random.experimental.stateless_fold_in(seed, 1)
    if kind == "rand_augment":
        return rand_augment.rand_augment(image, mask, further_seed, ignore_index=ignore_index)
    if kind == "cutout":
        image = cutout.cutout(image, further_seed)
    return image, mask
