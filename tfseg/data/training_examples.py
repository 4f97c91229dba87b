"""From one example to what a training batch holds of it: resize or crop, augment, normalise."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfseg.config.train_data_section import TrainDataConfig, factor_range
from tfseg.data import augmentation, cutout, masks, mosaic, rand_augment, transforms
from tfseg.data.labels import LabelSpec
from tfseg.data.transforms import Preprocessing

Example = dict[str, tf.Tensor]


def prepare(
    record: Any,
    seed: tf.Tensor,
    decode: Callable[[Any], Example],
    config: TrainDataConfig,
    preprocessing: Preprocessing,
    labels: LabelSpec,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Prepares the example of a record, or a mosaic of the examples of several records.

    Args:
        record: A record of a `Split`; for a mosaic a tuple of them.
        seed: int64 `[2]`. The same seed gives the same result.
        decode: Turns a record into an example.
        config: Crops and augmentation.
        preprocessing: The model's.
        labels: The data set's classes.

    Returns:
        Image float32 `[height, width, 3]`, normalised, and mask int32 `[height, width]`.
    """
    records = record if config.augmentation == "mosaic" else (record,)
    examples = [decode(each) for each in records]
    if config.augmentation in ("none", "flip", "basic"):
        image, mask = _prepare_whole(examples[0], seed, config, preprocessing)
        return preprocessing.normalize(image), mask
    image, mask = _prepare_crop(examples, seed, config, preprocessing.image_size, labels)
    image = preprocessing.normalize(image)
    # Beyond the image the model sees the mean colour, which normalisation maps to zero.
    return tf.where(tf.math.is_nan(image), 0.0, image), mask


def _prepare_whole(
    example: Example, seed: tf.Tensor, config: TrainDataConfig, preprocessing: Preprocessing
) -> tuple[tf.Tensor, tf.Tensor]:
    image = preprocessing.resize(example["image"])
    mask = masks.resize_mask(example["mask"], preprocessing.image_size)
    if config.augmentation != "none":
        image, mask = augmentation.random_flip(image, mask, seed)
    if config.augmentation == "basic":
        colors_seed = tf.random.experimental.stateless_fold_in(seed, 1)
        image = augmentation.random_colors(image, colors_seed, **_color_ranges(config))
    return image, mask


def _prepare_crop(
    examples: list[Example],
    seed: tf.Tensor,
    config: TrainDataConfig,
    size: tuple[int, int],
    labels: LabelSpec,
) -> tuple[tf.Tensor, tf.Tensor]:
    crop_size, void = config.crop_size or size, labels.ignore_index
    crop = functools.partial(
        augmentation.augment,
        base_size=size,
        random_scale=config.random_scale,
        ignore_index=void,
        max_class_share=config.max_class_share,
        **_color_ranges(config),
    )
    pairs = [(transforms.to_unit_range(each["image"]), each["mask"]) for each in examples]
    if config.augmentation == "mosaic":
        return mosaic.mosaic(pairs, seed, size=crop_size, crop=crop)
    image, mask = crop(*pairs[0], seed, crop_size=crop_size)
    further_seed = tf.random.experimental.stateless_fold_in(seed, 1)
    if config.augmentation == "rand_augment":
        return rand_augment.rand_augment(image, mask, further_seed, ignore_index=void)
    if config.augmentation == "cutout":
        image = cutout.cutout(image, further_seed)
    return image, mask


def _color_ranges(config: TrainDataConfig) -> dict[str, Any]:
    return {
        "brightness": config.brightness,
        "contrast": factor_range(config.contrast),
        "saturation": factor_range(config.saturation),
        "hue": config.hue,
    }
