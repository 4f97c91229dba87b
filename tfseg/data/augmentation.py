"""Random crops, flips and colours for an image and its mask.

Every function takes a `seed`, int32 or int64 `[2]`. The same seed gives the same result, so a
resumed run sees what the uninterrupted run would have seen.
"""

from __future__ import annotations

import tensorflow as tf

NO_CHANGE = (1.0, 1.0)  # range of a factor

# How many crops of an image are tried until no class takes too much of one, as in SegFormer's own
# training. https://github.com/NVlabs/SegFormer
NUM_TRIES = 10
# A crop is judged by so many rows and columns of its mask. Every pixel of 512x512 would take 2.8 ms
# a try, this sample takes 0.5 ms, and the rest of the augmentation 10 to 30 ms (2 cores which other
# work used too, 2026-11-25).
_MAX_SAMPLED_LINES = 128


def augment(
    image: tf.Tensor,
    mask: tf.Tensor,
    seed: tf.Tensor,
    *,
    base_size: tuple[int, int],
    crop_size: tuple[int, int],
    random_scale: tuple[float, float],
    ignore_index: int,
    max_class_share: float = 1.0,
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
        crop_size: (height, width) in pixels of the result; numbers or int32 scalars.
        random_scale: Smallest and largest factor on `base_size`.
        ignore_index: Mask value where the crop reaches beyond the image.
        max_class_share: Largest share of one class, see `choose_offset`; 1 allows every crop.
        brightness: Maximum brightness shift, in units of the [0, 1] range.
        contrast: Smallest and largest factor of contrast.
        saturation: Smallest and largest factor of saturation.
        hue: Maximum hue shift, as a fraction of the hue cycle.

    Returns:
        Image float32 `[*crop_size, 3]` in [0, 1], NaN beyond the image; mask int32 `crop_size`.
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    scale, offsets = random_windows(tf.shape(mask), seeds[0], base_size, crop_size, random_scale)
    offset = offsets[0]
    if max_class_share < 1:
        offset = choose_offset(mask, scale, offsets, crop_size, ignore_index, max_class_share)
    image, mask = crop_and_resize(image, mask, scale, offset, crop_size, ignore_index)
    image, mask = random_flip(image, mask, seeds[1])
    return random_colors(image, seeds[2], brightness, contrast, saturation, hue), mask


def random_windows(
    size: tf.Tensor,
    seed: tf.Tensor,
    base_size: tuple[int, int],
    crop_size: tuple[int, int],
    random_scale: tuple[float, float],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws the scale of an image, and positions of the crop to choose from.

    Args:
        size: int32 `[2]`, height and width of the image in pixels.
        seed: int32 `[2]`.
        base_size: (height, width) in pixels to which a factor of 1 resizes the image.
        crop_size: (height, width) in pixels of the crop.
        random_scale: Smallest and largest factor. The factor is log-uniform, so that halving is
            as likely as doubling.

    Returns:
        The scale from the image's pixels to the crop's, float32 `[2]`, and upper left corners of
        the crop in scaled pixels, float32 `[NUM_TRIES, 2]`. A corner is negative if the crop is
        larger than the scaled image, which then lies anywhere inside the crop.
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    low, high = (tf.math.log(tf.constant(bound, tf.float32)) for bound in random_scale)
    factor = tf.exp(low + (high - low) * tf.random.stateless_uniform((), seeds[0]))
    scaled = tf.maximum(tf.round(factor * tf.constant(base_size, tf.float32)), 1.0)
    room = scaled - tf.cast(crop_size, tf.float32)
    offsets = tf.round(room * tf.random.stateless_uniform((NUM_TRIES, 2), seeds[1]))
    return scaled / tf.cast(size[:2], tf.float32), offsets


def choose_offset(
    mask: tf.Tensor,
    scale: tf.Tensor,
    offsets: tf.Tensor,
    crop_size: tuple[int, int],
    ignore_index: int,
    max_class_share: float,
) -> tf.Tensor:
    """Returns the first position at which no class takes too much of the crop.

    The crop then holds at least two classes, and none has more than `max_class_share` of the pixels
    that are not void. SegFormer trains with 0.75. If no position is good, the last one is taken.

    Args:
        mask: int32 `[height, width]`, class ids.
        scale: float32 `[2]`, factors from the mask's pixels to the crop's.
        offsets: float32 `[tries, 2]`, upper left corners of crops in scaled pixels.
        crop_size: (height, width) in pixels.
        ignore_index: Mask value of void pixels.
        max_class_share: Largest share of one class, in [0, 1].

    Returns:
        float32 `[2]`, one of the offsets.
    """
    scaled = tf.round(scale * tf.cast(tf.shape(mask), tf.float32))
    # A crop that holds the whole image has the same shares wherever the image lies in it.
    has_choice = tf.reduce_any(scaled > tf.cast(crop_size, tf.float32))
    last = tf.shape(offsets)[0] - 1

    def is_bad(number: tf.Tensor) -> tf.Tensor:
        values, inside = _crop_mask(mask, scale, offsets[number], crop_size, _MAX_SAMPLED_LINES)
        ids = tf.where(inside & (values != ignore_index), values + 1, 0)
        counts = tf.cast(tf.math.bincount(tf.reshape(ids, [-1])), tf.float32)[1:]
        is_mixed = tf.math.count_nonzero(counts) > 1
        limit = max_class_share * tf.reduce_sum(counts)
        return ~is_mixed | (tf.reduce_max(counts) > limit)

    (number,) = tf.while_loop(
        lambda number: has_choice & (number < last) & is_bad(number),
        lambda number: [number + 1],
        [tf.constant(0)],
    )
    return offsets[number]


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
    values, inside = _crop_mask(mask, scale, offset, crop_size)
    crop = tf.where(inside[..., None], crop, float("nan"))
    return crop, tf.where(inside, values, ignore_index)


def _crop_mask(
    mask: tf.Tensor,
    scale: tf.Tensor,
    offset: tf.Tensor,
    crop_size: tuple[int, int],
    max_lines: int | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a crop's nearest pixels of a mask, and whether they exist.

    With `max_lines` only every n-th row and column is taken, so that at most so many are left.
    """
    indices, inside = [], []
    for axis, length in enumerate(crop_size):
        step = 1 if max_lines is None else -(-length // max_lines)
        lines = _nearest_indices(length, scale[axis], offset[axis], tf.shape(mask)[axis])
        indices.append(lines[0][::step])
        inside.append(lines[1][::step])
    values = tf.gather(tf.gather(mask, indices[0]), indices[1], axis=1)
    return values, inside[0][:, None] & inside[1][None, :]


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
