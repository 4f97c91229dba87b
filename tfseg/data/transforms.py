"""Image operations that training, evaluation and serving share."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

# Mean and standard deviation of ImageNet, with which every published SegFormer was trained.
DEFAULT_MEAN = (0.485, 0.456, 0.406)
DEFAULT_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What is done to an image before the model sees it; saved with the weights.

    Attributes:
        image_size: (height, width) in pixels to which images are resized.
        mean: Subtracted from each channel of a [0, 1] image.
        std: Divides each channel afterwards.
        apply_exif: Whether a JPEG file is turned upright by its EXIF orientation when it is
            decoded, see `images.decode_image`.
        reduce_labels: Whether class ids are the values of the masks minus one, and 0 is void. The
            images do not depend on it; transformers prepares masks by it.
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float] = DEFAULT_MEAN
    std: tuple[float, float, float] = DEFAULT_STD
    apply_exif: bool = True
    reduce_labels: bool = dataclasses.field(default=False, compare=False)

    def __call__(self, image: tf.Tensor) -> tf.Tensor:
        """Resizes and normalises uint8 `[..., height, width, 3]` to float32 at `image_size`."""
        return self.normalize(self.resize(image))

    def resize(self, image: tf.Tensor) -> tf.Tensor:
        """Resizes uint8 `[..., height, width, 3]` to float32 in [0, 1] at `image_size`."""
        if image.shape[-3:-1] == self.image_size:
            # XLA compiles both sides of a condition, and it has no resize with antialiasing.
            return to_unit_range(image)
        levels = tf.cast(image, tf.float32)
        resized = tf.cond(
            tf.reduce_all(tf.shape(image)[-3:-1] == self.image_size),
            lambda: levels,  # Resizing it to its own size would take longer than all the rest.
            lambda: resize_levels(levels, self.image_size),
        )
        return to_unit_range(tf.ensure_shape(resized, (*image.shape[:-3], *self.image_size, 3)))

    def normalize(self, image: tf.Tensor) -> tf.Tensor:
        """Maps float32 `[..., 3]` in [0, 1] to `(image - mean) / std`."""
        return (image - tf.constant(self.mean)) / tf.constant(self.std)


def to_unit_range(image: tf.Tensor) -> tf.Tensor:
    """Maps levels 0..255, uint8 or float32, to float32 [0, 1]."""
    return tf.cast(image, tf.float32) * (1.0 / 255.0)


def resize_levels(levels: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes an image bilinearly, with antialiasing if it shrinks, as Pillow does.

    Hugging Face's SegformerImageProcessor uses Pillow, which resizes one axis after the other and
    rounds to whole levels each time. One pass without rounding takes about half the time, but is up
    to one level off, which changes the class of some pixels in a thousand.

    Few values differ by one level from Pillow's, which has weights of 22 bits. Most do where the
    sizes have a ratio such as 2 to 3, at which many results lie halfway between two levels.

    Args:
        levels: float32 `[height, width, channels]` or with a leading batch dimension, whole numbers
            from 0 to 255.
        size: (height, width) in pixels.

    Returns:
        float32 of the same rank, whole numbers from 0 to 255.
    """
    height, width = tf.unstack(tf.shape(levels)[-3:-1])
    # Pillow 13 begins with the rows, unless columns shrink while rows grow.
    rows_first = (height <= size[0]) | (width >= size[1])
    between = tf.where(rows_first, [height, size[1]], [size[0], width])
    for target in (between, size):
        levels = tf.image.resize(levels, target, method="bilinear", antialias=True)
        levels = tf.floor(levels + 0.5)
    return levels


def resize_logits(logits: tf.Tensor, size) -> tf.Tensor:
    """Resizes logits `[batch, h, w, classes]` bilinearly with half-pixel centres.

    The same as PyTorch's `interpolate(mode="bilinear", align_corners=False)`, which Hugging
    Face applies to SegFormer's quarter-size logits.
    """
    return tf.image.resize(logits, size, method="bilinear")


def half_pixel_position(index, scale):
    """Returns where an output pixel lies on the input, as `resize_logits` places it.

    Pixels have their centres at half numbers. Between input pixels `i` and `i + 1`, at `i + w`,
    a bilinear resize weighs them with `1 - w` and `w`.

    Args:
        index: Index of the output pixel along an axis, a number or a float tensor.
        scale: Input size divided by output size, of the same type.

    Returns:
        A fractional index of the input; below 0 or past the last pixel at the edges, where the
        outermost pixel is repeated.
    """
    return (index + 0.5) * scale - 0.5


def neighbour_weights(position: float) -> tuple[float, float, float]:
    """Returns the bilinear weights of an input pixel's neighbour before, itself and the one after.

    Args:
        position: Where an output pixel lies from the input pixel's centre, in [-1, 1].
    """
    return max(-position, 0.0), 1.0 - abs(position), max(position, 0.0)
