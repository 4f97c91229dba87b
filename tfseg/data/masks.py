"""Mask files: how their bytes become raw values, and raw values become class ids."""

from __future__ import annotations

import contextlib
import functools
import io
import zlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from tfseg.data.labels import LabelSpec
from tfseg.data.segments import Segments, map_segments


class MaskError(ValueError):
    """Bytes that cannot be read as a mask; the message is the reason, without a name."""


def decode_mask(
    data: bytes, labels: LabelSpec | None = None, segments: Segments | None = None
) -> np.ndarray:
    """Decodes a mask file to raw values.

    PIL does this, because `tf.io.decode_png` turns the indices of a palette PNG into the gray of
    their colours.

    Args:
        data: The content of the file: a picture of one channel with 1, 8 or 16 bits; of three or
            four channels if the labels have a use for colours. Alpha is dropped.
        labels: The data set's classes, which say what the pixels mean; None if the pixels of one
            channel are the raw values.
        segments: What the raw value of each segment is, if the pixels are ids of segments.

    Returns:
        int32 `[height, width]`.

    Raises:
        MaskError: The file holds colours without a meaning, is no picture, or is damaged.
    """
    if segments is not None:
        ids = _decode_pixels(data, labels, has_segments=True)
        return map_segments(ids, *segments).numpy()
    values = _decode_pixels(data, labels)
    return values if labels is None else values // labels.instance_divisor


def read_mask_size(data: bytes) -> tuple[int, int]:
    """Returns height and width of a mask file in pixels; its pixels are not decoded.

    Raises:
        MaskError: The file is no picture, its beginning is damaged, or it has more pixels than PIL
            opens.
    """
    with _open_picture(data) as picture:
        return picture.height, picture.width


@contextlib.contextmanager
def _open_picture(data: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            yield picture
    except UnidentifiedImageError as error:
        raise MaskError("it is no picture, or its beginning is damaged") from error
    except Image.DecompressionBombError as error:
        raise MaskError(f"it has too many pixels: {error}") from error
    # PIL has no common base class for what it raises on damaged files.
    except (OSError, ValueError, SyntaxError) as error:
        raise MaskError(f"it is damaged: {error}") from error


def _decode_pixels(data: bytes, labels: LabelSpec | None, has_segments: bool = False) -> np.ndarray:
    with _open_picture(data) as picture:
        keeps_indices = _takes_indices(labels, has_segments)
        pixels = np.asarray(picture if keeps_indices else picture.convert("RGB"))
    if pixels.ndim == 2:
        return pixels.astype(np.int32)
    if not (_takes_colors(labels, has_segments) and pixels.shape[2] in (3, 4)):
        raise MaskError(
            f"it has {pixels.shape[2]} channels; a mask has one, whose values are class numbers, "
            'or colours that --id2label names, such as {"128,64,128": "road"}'
        )
    return pixels[..., :3].astype(np.int32) @ np.array(_CHANNEL_FACTORS, np.int32)


def channels_to_values(pixels: tf.Tensor, labels: LabelSpec | None) -> tf.Tensor:
    """Returns the raw values of a decoded mask.

    Args:
        pixels: Integers `[height, width]` or `[height, width, channels]`. Of several channels the
            first counts, unless the labels have a use for colours.
        labels: The data set's classes, as in `decode_mask`.

    Returns:
        int32 `[height, width]`.
    """
    pixels = tf.cast(pixels, tf.int32)
    if pixels.shape.rank == 3:
        is_color = _takes_colors(labels) and pixels.shape[-1] == len(_CHANNEL_FACTORS)
        pixels = _color_values(pixels) if is_color else pixels[..., 0]
    return pixels if labels is None else pixels // labels.instance_divisor


def _color_values(pixels: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(pixels, tf.int32) * _CHANNEL_FACTORS, -1)


# Of red, green and blue; see `labels.color_value`.
_CHANNEL_FACTORS = (1, 256, 65_536)


def _takes_indices(labels: LabelSpec | None, has_segments: bool) -> bool:
    """Whether the values of a mask of one channel have a meaning, and not its colours."""
    return has_segments or labels is None or not labels.has_color_masks


def _takes_colors(labels: LabelSpec | None, has_segments: bool = False) -> bool:
    return has_segments or (labels is not None and labels.takes_colors)


def decode_mask_tensor(
    data: tf.Tensor,
    labels: LabelSpec | None = None,
    segments: tuple[tf.Tensor, tf.Tensor] | None = None,
) -> tf.Tensor:
    """Does what `decode_mask` does inside `Dataset.map`: string scalar to int32 `[height, width]`.

    TensorFlow decodes PNG files, in parallel and in any process that gets the graph. PIL decodes
    everything else, in the process that built the graph.

    Raises:
        tf.errors.InvalidArgumentError: Where `decode_mask` raises MaskError.
    """
    start = tf.strings.bytes_split(tf.strings.substr(data, 0, _PNG_HEADER_BYTES))
    is_long = tf.size(start) == _PNG_HEADER_BYTES
    start = tf.cond(is_long, lambda: start, lambda: tf.fill([_PNG_HEADER_BYTES], ""))
    is_png = tf.strings.reduce_join(start[: len(_PNG_START)]) == _PNG_START
    color_type, is_8_bit = start[_COLOR_TYPE], start[_BIT_DEPTH] == b"\x08"
    has_segments = segments is not None
    is_index = (color_type == _GRAY) | (color_type == _PALETTE)
    is_color = ((color_type == _RGB) | (color_type == _RGBA)) & is_8_bit
    values = tf.case(
        [
            (
                is_png & is_index & _takes_indices(labels, has_segments),
                lambda: _decode_png(data, start),
            ),
            (
                is_png & is_color & _takes_colors(labels, has_segments),
                lambda: _color_values(tf.io.decode_png(data, 3)),
            ),
        ],
        default=lambda: tf.numpy_function(
            functools.partial(_decode_pixels, labels=labels, has_segments=has_segments),
            [data],
            tf.int32,
            stateful=False,
        ),
    )
    values.set_shape((None, None))
    if has_segments:
        return map_segments(values, *segments)
    is_divided = labels is not None and labels.instance_divisor > 1
    return values // labels.instance_divisor if is_divided else values


# The beginning of every PNG file, up to the name of its first chunk, IHDR, and positions within
# that chunk: https://www.w3.org/TR/png-3/#11IHDR
_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"
_BIT_DEPTH, _COLOR_TYPE, _CHECKSUM, _PNG_HEADER_BYTES = 24, 25, 29, 33
_GRAY, _RGB, _PALETTE, _RGBA = b"\0", b"\2", b"\3", b"\6"
# What a checksum changes by if the colour type changes from palette to gray; a checksum is linear.
_CHECKSUM_CHANGE = zlib.crc32(b"IHDR" + bytes(9) + _PALETTE + bytes(3)) ^ zlib.crc32(
    b"IHDR" + bytes(13)
)


def _decode_png(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG file of one channel; `start` is its beginning, one string per byte."""
    is_palette = start[_COLOR_TYPE] == _PALETTE
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
    # Dividing by 1 would take longer than decoding.
    return tf.cond(step > 1, lambda: values[..., 0] // step, lambda: values[..., 0])


def _relabel_as_gray(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    old = tf.io.decode_raw(tf.strings.reduce_join(start[_CHECKSUM:]), tf.uint8)
    change = tf.constant(list(_CHECKSUM_CHANGE.to_bytes(4)), tf.uint8)
    checksum = tf.gather(_EVERY_BYTE, tf.cast(tf.bitwise.bitwise_xor(old, change), tf.int32))
    before, after = start[:_COLOR_TYPE], start[_COLOR_TYPE + 1 : _CHECKSUM]
    head = tf.strings.reduce_join(tf.concat([before, [_GRAY], after, checksum], 0))
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
    raw = tf.cast(mask, tf.int32)
    if max(labels.class_values) > _LARGEST_TABLE:
        values, class_ids = zip(*labels.class_of_value.items(), strict=True)
        return _look_up(raw, tf.constant(values), tf.constant(class_ids), labels.ignore_index)
    table = labels.lookup_table()
    index = tf.where(raw < 0, len(table) - 1, tf.minimum(raw, len(table) - 1))
    return tf.gather(table, index)


def _look_up(raw: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, default: int) -> tf.Tensor:
    """Replaces each key, of which the list is in ascending order, by its value."""
    flat = tf.reshape(raw, [-1])
    places = tf.minimum(tf.searchsorted(keys, flat), tf.size(keys) - 1)
    found = tf.where(tf.gather(keys, places) == flat, tf.gather(values, places), default)
    return tf.reshape(found, tf.shape(raw))


_LARGEST_TABLE = 65_535  # A table of all colours would take 67 MB.


def resize_mask(mask: tf.Tensor, size) -> tf.Tensor:
    """Resizes an integer `[height, width]` mask to its nearest pixels, so no new value appears.

    These are the pixels that Pillow takes, and thus Hugging Face's SegformerImageProcessor.

    Args:
        mask: Class ids or raw values.
        size: int32 (height, width) in pixels.

    Returns:
        The same dtype, `size`.
    """
    rows, columns = (_nearest_positions(tf.shape(mask)[axis], size[axis]) for axis in (0, 1))
    return tf.gather(tf.gather(mask, rows), columns, axis=1)


def _nearest_positions(length: tf.Tensor, new_length: tf.Tensor | int) -> tf.Tensor:
    """Returns which pixel of `length` lies nearest to each of `new_length`, int32.

    Where the centre of a new pixel falls between two pixels, rounding errors decide. Pillow adds up
    steps in double precision; the same sum gives the same errors. `tf.image.resize` takes other
    pixels where 64 become 96, or 640 become 480.
    """
    # TensorFlow's optimizer turns an ordinary division by a constant into a multiplication.
    step = tf.math.divide_no_nan(tf.cast(length, tf.float64), tf.cast(new_length, tf.float64))
    steps = tf.concat([[step / 2], tf.fill([new_length - 1], step)], 0)
    return tf.minimum(tf.cast(tf.cumsum(steps), tf.int32), length - 1)
