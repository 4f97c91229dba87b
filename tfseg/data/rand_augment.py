"""RandAugment: a few random operations of moderate strength on an image and its mask.

https://arxiv.org/abs/1909.13719. The operations and their names are those of
https://arxiv.org/abs/1805.09501, table 6. As in PyTorch's versions, a larger magnitude changes more
in each of them. keras-cv has a layer of that name, which is no longer developed and cannot repeat
its draws in a `Dataset.map` that runs in parallel.
"""

from __future__ import annotations

import functools
import math

import tensorflow as tf

_MAX_ROTATION_DEGREES = 30.0
_MAX_SHEAR = 0.3
_MAX_TRANSLATION = 0.3  # of the height or the width
_MAX_ENHANCEMENT = 0.9  # of the factor 1 of color, contrast, brightness and sharpness
_MAX_LOST_BITS = 4

_GRAY = 0.5  # the colour beyond the image


def rand_augment(
    image: tf.Tensor,
    mask: tf.Tensor,
    seed: tf.Tensor,
    *,
    ignore_index: int,
    num_operations: int = 2,
    magnitude: float = 0.3,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies random operations one after the other.

    Args:
        image: float32 `[height, width, 3]` in [0, 1], NaN beyond the image.
        mask: int32 `[height, width]`, class ids.
        seed: int32 or int64 `[2]`. The same seed gives the same result.
        ignore_index: Mask value where a moved image leaves room.
        num_operations: How many operations are drawn; one may be drawn again.
        magnitude: Their strength in [0, 1].

    Returns:
        Image and mask of the same shapes, dtypes and ranges.
    """
    beyond = tf.math.is_nan(image)[..., 0]
    image = tf.where(beyond[..., None], _GRAY, image)
    for each in tf.unstack(tf.random.experimental.stateless_split(seed, num_operations)):
        draws = tf.unstack(tf.random.stateless_uniform((2,), each))
        choice = tf.cast(draws[0] * len(OPERATIONS), tf.int32)
        strength = tf.where(draws[1] < 0.5, -magnitude, magnitude)
        branches = [
            functools.partial(apply, name, image, mask, beyond, strength, ignore_index)
            for name in OPERATIONS
        ]
        image, mask, beyond = tf.switch_case(choice, branches)
    return tf.where(beyond[..., None], float("nan"), image), mask


def apply(
    name: str,
    image: tf.Tensor,
    mask: tf.Tensor,
    beyond: tf.Tensor,
    strength: tf.Tensor,
    ignore_index: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Changes the colours of the image, or moves image, mask and `beyond` alike.

    Args:
        name: One of `OPERATIONS`.
        image: float32 `[height, width, 3]` in [0, 1].
        mask: int32 `[height, width]`, class ids.
        beyond: bool `[height, width]`, where there is no image.
        strength: float32 scalar in [-1, 1]; the sign is the direction, where there are two.
        ignore_index: Mask value where a moved image leaves room.

    Returns:
        The new image, mask and `beyond`.
    """
    if name in _COLORS:
        return tf.clip_by_value(_COLORS[name](image, strength), 0.0, 1.0), mask, beyond
    coefficients = _MOVES[name](tf.cast(tf.shape(mask), tf.float32), strength)
    image = _transform(image, coefficients, "BILINEAR", _GRAY)
    # Where the image leaves room the transform writes 0, so 0 stands for void and for "beyond".
    planes = tf.stack([mask - ignore_index, 1 - tf.cast(beyond, tf.int32)], -1)
    mask, within = tf.unstack(_transform(planes, coefficients, "NEAREST", 0.0), axis=-1)
    return image, mask + ignore_index, within == 0


def _transform(
    pixels: tf.Tensor, coefficients: tf.Tensor, interpolation: str, fill_value: float
) -> tf.Tensor:
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels[None],
        transforms=tf.concat([coefficients, [0.0, 0.0]], 0)[None],
        output_shape=tf.shape(pixels)[:2],
        fill_value=fill_value,
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )[0]


def _identity(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    return image


def _auto_contrast(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    low, high = tf.reduce_min(image, (0, 1)), tf.reduce_max(image, (0, 1))
    return tf.where(high > low, (image - low) / tf.maximum(high - low, 1e-6), image)


def _equalize(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    channels = tf.unstack(_to_levels(image), axis=-1)
    return tf.cast(tf.stack([_equalize_channel(each) for each in channels], -1), tf.float32) / 255.0


def _equalize_channel(levels: tf.Tensor) -> tf.Tensor:
    """Spreads int32 levels 0..255 so that each is about as frequent, as PIL does."""
    histogram = tf.math.bincount(tf.reshape(levels, [-1]), minlength=256, maxlength=256)
    step = (tf.size(levels) - histogram[tf.reduce_max(levels)]) // 255
    table = (tf.cumsum(histogram, exclusive=True) + step // 2) // tf.maximum(step, 1)
    return tf.where(step > 0, tf.gather(tf.minimum(table, 255), levels), levels)


def _posterize(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    lost_bits = tf.cast(tf.round(_MAX_LOST_BITS * tf.abs(strength)), tf.int32)
    coarse = tf.bitwise.right_shift(_to_levels(image), lost_bits)
    return tf.cast(tf.bitwise.left_shift(coarse, lost_bits), tf.float32) / 255.0


def _solarize(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    return tf.where(image < 1.0 - tf.abs(strength), image, 1.0 - image)


def _color(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    return _enhance(tf.image.rgb_to_grayscale(image), image, strength)


def _contrast(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    return _enhance(tf.reduce_mean(tf.image.rgb_to_grayscale(image)), image, strength)


def _brightness(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    return _enhance(0.0, image, strength)


def _sharpness(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    weights = tf.constant([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13.0
    kernel = tf.tile(weights[..., None, None], (1, 1, 3, 1))
    smooth = tf.nn.depthwise_conv2d(image[None], kernel, (1, 1, 1, 1), "VALID")[0]
    inside = tf.pad(tf.ones_like(smooth[..., :1]), ((1, 1), (1, 1), (0, 0))) > 0
    padded = tf.pad(smooth, ((1, 1), (1, 1), (0, 0)))
    return _enhance(tf.where(inside, padded, image), image, strength)


def _enhance(plain: tf.Tensor | float, image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Moves an image away from a plain form of it, or towards it, as PIL's `ImageEnhance`."""
    return plain + (image - plain) * (1.0 + _MAX_ENHANCEMENT * strength)


def _to_levels(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.round(image * 255.0), tf.int32)


def _rotate(size: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    angle = strength * math.radians(_MAX_ROTATION_DEGREES)
    return _about_center(size, [[tf.cos(angle), tf.sin(angle)], [-tf.sin(angle), tf.cos(angle)]])


def _shear_x(size: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    return _about_center(size, [[1.0, _MAX_SHEAR * strength], [0.0, 1.0]])


def _shear_y(size: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    return _about_center(size, [[1.0, 0.0], [_MAX_SHEAR * strength, 1.0]])


def _translate_x(size: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    return tf.stack([1.0, 0.0, _MAX_TRANSLATION * strength * size[1], 0.0, 1.0, 0.0])


def _translate_y(size: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    return tf.stack([1.0, 0.0, 0.0, 0.0, 1.0, _MAX_TRANSLATION * strength * size[0]])


def _about_center(size: tf.Tensor, matrix: list[list[tf.Tensor | float]]) -> tf.Tensor:
    """Returns the coefficients that map a place in the result, (x, y), to one in the source."""
    center = (size[::-1] - 1.0) / 2.0
    shift = center - tf.linalg.matvec(matrix, center)
    (a, b), (c, d) = matrix
    return tf.stack([a, b, shift[0], c, d, shift[1]])


# Operations by name: of an image and a strength in [-1, 1], whose sign some do not use; and of an
# image's size and a strength, which give coefficients of a transform.
_COLORS = {
    "identity": _identity,
    "auto_contrast": _auto_contrast,
    "equalize": _equalize,
    "posterize": _posterize,
    "solarize": _solarize,
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
}
_MOVES = {
    "rotate": _rotate,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
OPERATIONS = (*_COLORS, *_MOVES)
