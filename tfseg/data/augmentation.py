"""Random crops, flips and colours for an image and its mask.

Every function takes a `seed`, int32 or int64 `[2]`. The same seed gives the same result, so a
resumed run sees what the uninterrupted run would have seen.
"""

from __future__ import annotations

import tensorflow as tf

NO_CHANGE = (1.0, 1.0)  # range of a factor


def augment(
    image: tf.Tensor,
    mask: tf.Tensor,
    seed: tf.Tensor,
    *,
    base_size: tuple[int, int],
    crop_size: tuple[int, int],
    random_scale: tuple[float, float],
    ignore_index: int,
    brightness: float = 0.0,
    contrast: tuple[float, float] = NO_CHANGE,
    saturation: tuple[float, float] = NO_CHANGE,
    hue: float = 0.0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies a random scale, crop, horizontal flip and colours.

    Args:
        image: float32 `[height, width, 3]` in [0, 1].
        mask: int32 `[height, width]`, class ids.
        seed: int32 `[2]`.
        base_size: (height, width) in pixels to which a factor of 1 resizes the image.
        crop_size: (height, width) in pixels of the result.
        random_scale: Smallest and largest factor on `base_size`.
        ignore_index: Mask value where the crop reaches beyond the image.
        brightness: Maximum brightness shift, in units of the [0, 1] range.
        contrast: Smallest and largest factor of contrast.
        saturation: Smallest and largest factor of saturation.
        hue: Maximum hue shift, as a fraction of the hue cycle.

    Returns:
        Image float32 `[*crop_size, 3]` in [0, 1], NaN beyond the image; mask int32 `crop_size`.
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    scale, offset = random_window(tf.shape(mask), seeds[0], base_size, crop_size, random_scale)
    image, mask = crop_and_resize(image, mask, scale, offset, crop_size, ignore_index)
    image, mask = random_flip(image, mask, seeds[1])
    return random_colors(image, seeds[2], brightness, contrast, saturation, hue), mask


def random_window(
    size: tf.Tensor,
    seed: tf.Tensor,
    base_size: tuple[int, int],
    crop_size: tuple[int, int],
    random_scale: tuple[float, float],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws the scale of an image and the position of the crop.

    Args:
        size: int32 `[2]`, height and width of the image in pixels.
        seed: int32 `[2]`.
        base_size: (height, width) in pixels to which a factor of 1 resizes the image.
        crop_size: (height, width) in pixels of the crop.
        random_scale: Smallest and largest factor. The factor is log-uniform, so that halving is
            as likely as doubling.

    Returns:
        The scale from the image's pixels to the crop's, float32 `[2]`, and the crop's upper left
        corner in scaled pixels, float32 `[2]`. The corner is negative if the crop is larger than
        the scaled image, which then lies anywhere inside the crop.
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    low, high = (tf.math.log(tf.constant(bound, tf.float32)) for bound in random_scale)
    factor = tf.exp(low + (high - low) * tf.random.stateless_uniform((), seeds[0]))
    scaled = tf.maximum(tf.round(factor * tf.constant(base_size, tf.float32)), 1.0)
    room = scaled - tf.constant(crop_size, tf.float32)
    offset = tf.round(room * tf.random.stateless_uniform((2,), seeds[1]))
    return scaled / tf.cast(size[:2], tf.float32), offset


def crop_and_resize(
    image: tf.Tensor,
    mask: tf.Tensor,
    scale: tf.Tensor,
    offset: tf.Tensor,
    crop_size: tuple[int, int],
    ignore_index: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Resizes and crops in one step, which computes only the pixels of the crop.

    The result equals that of two steps: resize the whole image by `scale`, bilinearly and with
    antialiasing (the mask to its nearest pixels), then cut out `crop_size` at `offset`.

    Args:
        image: float32 `[height, width, 3]`.
        mask: int32 `[height, width]`.
        scale: float32 `[2]`, factors from the image's pixels to the crop's.
        offset: float32 `[2]`, upper left corner of the crop in scaled pixels.
        crop_size: (height, width) in pixels.
        ignore_index: Mask value beyond the image.

    Returns:
        Image float32 `[*crop_size, 3]`, NaN beyond the image; mask int32 `crop_size`.
    """
    crop = tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=crop_size,
        scale=scale,
        translation=-offset,
        kernel_type="triangle",
        antialias=True,
    )[0]
    rows, rows_inside = _nearest_indices(crop_size[0], scale[0], offset[0], tf.shape(mask)[0])
    columns, columns_inside = _nearest_indices(crop_size[1], scale[1], offset[1], tf.shape(mask)[1])
    inside = rows_inside[:, None] & columns_inside[None, :]
    values = tf.gather(tf.gather(mask, rows), columns, axis=1)
    crop = tf.where(inside[..., None], crop, float("nan"))
    return crop, tf.where(inside, values, ignore_index)


def _nearest_indices(
    length: int, scale: tf.Tensor, offset: tf.Tensor, source_length: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the source index of each of `length` pixels, and whether that pixel exists."""
    source = tf.cast(source_length, tf.float32)
    scaled = tf.round(scale * source)
    places = tf.range(length, dtype=tf.float32) + offset
    # In this order of operations, half-pixel centres on an edge round as in tf.image.resize.
    indices = tf.cast(tf.floor((places + 0.5) * (source / scaled)), tf.int32)
    return tf.clip_by_value(indices, 0, source_length - 1), (places >= 0) & (places < scaled)


def random_flip(image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mirrors image `[h, w, 3]` and mask `[h, w]` together, left to right, with probability 0.5."""
    flip = tf.random.stateless_uniform((), seed) < 0.5
    image = tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image)
    mask = tf.cond(flip, lambda: tf.reverse(mask, [1]), lambda: mask)
    return image, mask


def random_colors(
    image: tf.Tensor,
    seed: tf.Tensor,
    brightness: float,
    contrast: tuple[float, float],
    saturation: tuple[float, float],
    hue: float,
) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue of a [0, 1] image, then clips to [0, 1].

    The image must be in [0, 1] because tf.image adds its brightness shift without scaling it.
    NaN marks pixels beyond the image; it counts as mid-gray here and stays NaN in the result.
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
    beyond = tf.math.is_nan(image)
    image = tf.where(beyond, 0.5, image)
    if brightness:
        image = tf.image.stateless_random_brightness(image, brightness, seeds[0])
    if contrast != NO_CHANGE:
        image = tf.image.stateless_random_contrast(image, *contrast, seeds[1])
    if saturation != NO_CHANGE:
        image = tf.image.stateless_random_saturation(image, *saturation, seeds[2])
    if hue:
        image = tf.image.stateless_random_hue(image, hue, seeds[3])
    return tf.where(beyond, float("nan"), tf.clip_by_value(image, 0.0, 1.0))
