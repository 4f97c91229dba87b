"""Pure image and mask ops that training, evaluation and serving share."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

# ImageNet's, which every published SegFormer was trained with.
DEFAULT_MEAN = (0.485, 0.456, 0.406)
DEFAULT_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What happens to an image before the model sees it; saved with the weights.

    Attributes:
        image_size: (height, width) in pixels that images are resized to.
        mean: Per channel, subtracted from [0, 1] values.
        std: Per channel, divides what is left.
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float] = DEFAULT_MEAN
    std: tuple[float, float, float] = DEFAULT_STD

    def __call__(self, image: tf.Tensor) -> tf.Tensor:
        """Resizes and normalises uint8 `[..., height, width, 3]` to float32 at `image_size`."""
        image = to_unit_range(image)
        resized = tf.cond(
            tf.reduce_all(tf.shape(image)[-3:-1] == self.image_size),
            lambda: image,  # resizing it to its own size would take longer than all the rest
            lambda: resize_image(image, self.image_size),
        )
        return self.normalize(tf.ensure_shape(resized, (*image.shape[:-3], *self.image_size, 3)))

    def normalize(self, image: tf.Tensor) -> tf.Tensor:
        """Maps float32 `[..., 3]` in [0, 1] to `(image - mean) / std`."""
        return (image - tf.constant(self.mean)) / tf.constant(self.std)


def to_unit_range(image: tf.Tensor) -> tf.Tensor:
    """Maps uint8 0..255 to float32 [0, 1]."""
    return tf.cast(image, tf.float32) * (1.0 / 255.0)


def resize_image(image: tf.Tensor, size) -> tf.Tensor:
    """Resizes `[..., height, width, channels]` bilinearly, antialiased where it shrinks.

    Antialiasing is what PIL, and with it Hugging Face's SegformerImageProcessor, does.

    Args:
        image: float32 `[height, width, channels]` or with a leading batch dimension.
        size: int32 (height, width) in pixels.

    Returns:
        float32, the same rank.
    """
    return tf.image.resize(image, size, method="bilinear", antialias=True)


def resize_logits(logits: tf.Tensor, size) -> tf.Tensor:
    """Resizes logits `[batch, h, w, classes]` bilinearly with half-pixel centres.

    The same as PyTorch's `interpolate(mode="bilinear", align_corners=False)`, which Hugging
    Face applies to SegFormer's quarter-size logits.
    """
    return tf.image.resize(logits, size, method="bilinear")
