"""Mask files: how their bytes become raw values, and raw values become class ids."""

from __future__ import annotations

import io
import zlib

import numpy as np
import tensorflow as tf
from etils import epath
from PIL import Image, UnidentifiedImageError

from tfseg.data import images
from tfseg.data.labels import LabelSpec

MASK_SUFFIXES = (".png",)  # lossless; JPEG would change the values


class MaskError(ValueError):
    """Bytes that cannot be read as a mask; the message is the reason, without a name."""


def list_masks(folder: epath.Path) -> list[epath.Path]:
    """Returns the mask files of a folder, sorted by name; it does not search subfolders."""
    return images.list_files(folder, MASK_SUFFIXES)


def decode_mask(data: bytes) -> np.ndarray:
    """Decodes a mask file to raw values.

    PIL does this, because `tf.io.decode_png` turns the indices of a palette PNG into the gray of
    their colours.

    Args:
        data: The content of the file: a picture of one channel with 1, 8 or 16 bits.

    Returns:
        int32 `[height, width]`.

    Raises:
        MaskError: The file holds colours, is no picture, or is damaged.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            values = np.asarray(picture)
    except UnidentifiedImageError as error:
        raise MaskError("it is no picture, or its beginning is damaged") from error
    # PIL has no common base class for what it raises on damaged files.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MaskError(f"it is damaged: {error}") from error
    if values.ndim != 2:
        raise MaskError(
            f"it has {values.shape[2]} channels; a mask has one, whose values are class numbers"
        )
    return values.astype(np.int32)


def decode_mask_tensor(data: tf.Tensor) -> tf.Tensor:
    """Does what `decode_mask` does inside `Dataset.map`: string scalar to int32 `[height, width]`.

    TensorFlow decodes PNG files of one channel, in parallel and in any process that gets the
    graph. PIL decodes everything else, in the process that built the graph.

    Raises:
        tf.errors.InvalidArgumentError: Where `decode_mask` raises MaskError.
    """
    start = tf.strings.bytes_split(tf.strings.substr(data, 0, _PNG_HEADER_BYTES))
    is_long = tf.size(start) == _PNG_HEADER_BYTES
    start = tf.cond(is_long, lambda: start, lambda: tf.fill([_PNG_HEADER_BYTES], ""))
    is_gray, is_palette = (start[_COLOR_TYPE] == color for color in (b"\0", _PALETTE))
    is_png = tf.strings.reduce_join(start[: len(_PNG_START)]) == _PNG_START
    values = tf.cond(
        is_png & (is_gray | is_palette),
        lambda: _decode_png(data, start, is_palette),
        lambda: tf.numpy_function(decode_mask, [data], tf.int32, stateful=False),
    )
    values.set_shape((None, None))
    return values


# The beginning of every PNG file, up to the name of its first chunk, IHDR, and positions within
# that chunk: https://www.w3.org/TR/png-3/#11IHDR
_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"
_BIT_DEPTH, _COLOR_TYPE, _CHECKSUM, _PNG_HEADER_BYTES = 24, 25, 29, 33
_PALETTE = b"\3"
# What a checksum changes by if the colour type changes from palette to gray; a checksum is linear.
_CHECKSUM_CHANGE = zlib.crc32(b"IHDR" + bytes(9) + _PALETTE + bytes(3)) ^ zlib.crc32(
    b"IHDR" + bytes(13)
)


def _decode_png(data: tf.Tensor, start: tf.Tensor, is_palette: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG file of one channel; `start` is its beginning, one string per byte."""
    # As a gray picture a palette picture gives its indices instead of colours.
    data = tf.cond(is_palette, lambda: _relabel_as_gray(data, start), lambda: data)
    depth = tf.cast(tf.io.decode_raw(start[_BIT_DEPTH], tf.uint8)[0], tf.int32)
    values = tf.cond(
        depth == 16,
        lambda: tf.cast(tf.io.decode_png(data, 1, tf.uint16), tf.int32),
        lambda: tf.cast(tf.io.decode_png(data, 1), tf.int32),
    )
    # Decoders scale fewer than 8 bits to the range of 8. Indices are not scaled, nor is one bit.
    is_raw = is_palette | (depth == 1)
    step = tf.where(is_raw & (depth < 8), 255 // (tf.bitwise.left_shift(1, depth) - 1), 1)
    return values[..., 0] // step


def _relabel_as_gray(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    old = tf.io.decode_raw(tf.strings.reduce_join(start[_CHECKSUM:]), tf.uint8)
    change = tf.constant(list(_CHECKSUM_CHANGE.to_bytes(4)), tf.uint8)
    checksum = tf.gather(_EVERY_BYTE, tf.cast(tf.bitwise.bitwise_xor(old, change), tf.int32))
    before, after = start[:_COLOR_TYPE], start[_COLOR_TYPE + 1 : _CHECKSUM]
    head = tf.strings.reduce_join(tf.concat([before, [b"\0"], after, checksum], 0))
    return head + tf.strings.substr(data, _PNG_HEADER_BYTES, -1)


_EVERY_BYTE = [bytes([value]) for value in range(256)]


def map_mask_values(mask: tf.Tensor, labels: LabelSpec) -> tf.Tensor:
    """Maps raw mask values to class ids; values without a class become the ignore index.

    Args:
        mask: uint8, uint16 or int32 of any shape, raw values.
        labels: The data set's classes.

    Returns:
        int32 of the same shape, class ids and `labels.ignore_index`.
    """
    table = labels.lookup_table()
    raw = tf.cast(mask, tf.int32)
    index = tf.where(raw < 0, len(table) - 1, tf.minimum(raw, len(table) - 1))
    return tf.gather(table, index)


def resize_mask(mask: tf.Tensor, size) -> tf.Tensor:
    """Resizes an integer `[height, width]` mask to its nearest pixels, so no new value appears.

    Args:
        mask: Class ids or raw values.
        size: int32 (height, width) in pixels.

    Returns:
        The same dtype, `size`.
    """
    return tf.image.resize(mask[..., None], size, method="nearest")[..., 0]
