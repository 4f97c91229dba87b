"""Image files: which files are images, and how their bytes become pixels."""

from __future__ import annotations

import tensorflow as tf
from etils import epath

from tfseg.data import exif, jpeg_markers
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
    """Decodes a JPEG, PNG, BMP or WebP file, or the first frame of a GIF or APNG, to RGB.

    The content decides, whatever the name of the file. Of 16 bits per channel the upper 8 count.

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
            lambda: _decode_other(image_bytes),
        )
    except tf.errors.InvalidArgumentError as error:
        is_animated = isinstance(image_bytes, bytes) and _is_animated_webp(image_bytes)
        raise ImageError(_ANIMATED if is_animated else _DAMAGED) from error
    return tf.ensure_shape(image, (None, None, 3))


def decode_with_mask(
    image_bytes: tf.Tensor, mask: tf.Tensor, *, apply_exif: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes an image as `decode_image` does, and turns its mask as it fits the image.

    Args:
        image_bytes: string scalar, the content of the file.
        mask: int32 `[height, width]`, as it is stored.
        apply_exif: Whether they are turned, see `exif`.

    Returns:
        The image, uint8 `[height, width, 3]`, and the mask.
    """
    image = decode_image(image_bytes, apply_exif=apply_exif)
    return image, exif.turn_mask(mask, image, image_bytes) if apply_exif else mask


_DAMAGED = "it is no JPEG, PNG, BMP, GIF or WebP, or it is damaged"
_BMP_HEAD_BYTES = 30  # up to the number of bits per pixel
_ANIMATED = "it is an animated WebP; save one of its frames as a PNG"


def _is_animated_webp(data: bytes) -> bool:
    """Whether a WebP file has the flag of animations in its extended header."""
    return data[8:16] == b"WEBPVP8X" and len(data) > 20 and bool(data[20] & 0x02)


def _decode_jpeg(image_bytes: tf.Tensor | bytes, apply_exif: bool) -> tf.Tensor:
    whole = jpeg_markers.check_end(tf.convert_to_tensor(image_bytes))
    pixels = tf.io.decode_jpeg(whole, channels=3, dct_method="INTEGER_ACCURATE")
    return exif.turn_image(pixels, image_bytes) if apply_exif else pixels


def _decode_other(image_bytes: tf.Tensor | bytes) -> tf.Tensor:
    head = tf.strings.substr(image_bytes, 0, _BMP_HEAD_BYTES)
    head = tf.io.decode_raw(head, tf.uint8, fixed_length=_BMP_HEAD_BYTES)
    is_bmp = tf.reduce_all(head[:2] == list(b"BM"))
    has_palette = is_bmp & tf.reduce_all(head[28:] == [8, 0])  # bits per pixel
    return tf.cond(
        has_palette,
        lambda: _decode_palette_bmp(image_bytes),
        lambda: tf.io.decode_image(image_bytes, channels=3, expand_animations=False),
    )


def _decode_palette_bmp(image_bytes: tf.Tensor | bytes) -> tf.Tensor:
    """Decodes a BMP file of 8 bits per pixel, whose palette TensorFlow does not apply.

    https://learn.microsoft.com/windows/win32/gdi/bitmap-storage
    """
    starts = tf.io.decode_raw(tf.strings.substr(image_bytes, 10, 8), tf.int32)
    pixels_start, palette_start = starts[0], 14 + starts[1]
    palette = tf.strings.substr(image_bytes, palette_start, pixels_start - palette_start)
    blue_green_red = tf.reshape(tf.io.decode_raw(palette, tf.uint8), [-1, 4])[:, :3]
    indices = tf.io.decode_bmp(image_bytes)[..., 0]
    return tf.gather(tf.reverse(blue_green_red, [1]), tf.cast(indices, tf.int32))
