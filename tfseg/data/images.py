"""Image files: which files are images, and how their bytes become pixels."""

from __future__ import annotations

import tensorflow as tf
from etils import epath

from tfseg.data import exif
from tfseg.data.folder_layouts import IMAGE_SUFFIXES


class ImageError(ValueError):
    """Bytes that cannot be decoded as an image; the message is the reason, without a name."""


def list_images(folder: epath.Path) -> list[epath.Path]:
    """Returns the image files of a folder, sorted by name; it does not search subfolders.

    Upper-case suffixes count too. Hidden files, such as macOS's `._X.jpg`, do not.
    """
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )


def decode_image(image_bytes: tf.Tensor | bytes, *, apply_exif: bool = True) -> tf.Tensor:
    """Decodes a JPEG, PNG or BMP file, or the first frame of a GIF, to RGB.

    A JPEG file gives the pixels that PIL gives, and thus those that PyTorch's pipelines see.
    TensorFlow's default is a faster cosine transform, whose pixels are up to 5 levels off, which
    changes the class of one pixel in a hundred; the accurate one takes 4 % longer.

    Args:
        image_bytes: string scalar, the content of the file.
        apply_exif: Whether a JPEG file is turned upright by its EXIF orientation.

    Returns:
        uint8 `[height, width, 3]`; alpha is dropped, gray is repeated.

    Raises:
        ImageError: The bytes are not such an image, or are incomplete. Inside a `tf.function` or
            `Dataset.map`, TensorFlow raises `tf.errors.InvalidArgumentError` instead.
    """
    try:
        image = tf.cond(
            tf.io.is_jpeg(image_bytes),
            lambda: _decode_jpeg(image_bytes, apply_exif),
            lambda: tf.io.decode_image(image_bytes, channels=3, expand_animations=False),
        )
    except tf.errors.InvalidArgumentError as error:
        raise ImageError("it is no JPEG, PNG, BMP or GIF, or it is damaged") from error
    return tf.ensure_shape(image, (None, None, 3))


def _decode_jpeg(image_bytes: tf.Tensor | bytes, apply_exif: bool) -> tf.Tensor:
    pixels = tf.io.decode_jpeg(image_bytes, channels=3, dct_method="INTEGER_ACCURATE")
    return exif.turn_image(pixels, image_bytes) if apply_exif else pixels
