"""The orientation that a camera notes in a JPEG file, and how pixels are turned by it.

A camera that is held upright mostly stores its picture lying on its side, with a note in the EXIF
data that says how to turn it. Annotation tools and browsers show the turned picture. Everything
here is made of TensorFlow's operations, so that the served graph turns images without Python.

EXIF data: https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf, sections 4.5 and 4.6.
"""

from __future__ import annotations

import tensorflow as tf

from tfseg.data import jpeg_markers

UPRIGHT = 1  # the orientation of an image that needs no turning
FIRST_ON_SIDE = 5  # From this one on, turning makes height and width change places.

_EXIF_START = [0x4578, 0x6966, 0x0000]
_BIG_ENDIAN, _LITTLE_ENDIAN = b"MM\0*", b"II*\0"
_ENTRY_BYTES, _ORIENTATION, _SHORT = 12, 0x0112, 3


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def read_orientation(image_bytes: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation of a JPEG file.

    Args:
        image_bytes: string scalar, the content of a file.

    Returns:
        int32 scalar, 1 to 8. It is 1, upright, if the file is no JPEG, has no orientation, or is
        damaged before it.
    """
    start, length = _find_exif(image_bytes)
    return tf.cond(
        length > 0,
        lambda: _parse_exif(tf.strings.substr(image_bytes, start, length)),
        lambda: UPRIGHT,
    )


def turn_image(pixels: tf.Tensor, image_bytes: tf.Tensor) -> tf.Tensor:
    """Turns the stored pixels of a JPEG file upright, as PIL's `ImageOps.exif_transpose` does.

    For photographs of 500x400, of which a fifth begin with more segments than usual, this adds
    0.4 ms to the 0.55 ms that 2 cores take to decode one. As a function that is not inlined it
    would add 0.8 ms, even where the orientation is not read.

    Args:
        pixels: uint8 `[height, width, 3]`, as they are stored.
        image_bytes: string scalar, the content of the file.

    Returns:
        uint8 `[height, width, 3]`, upright.
    """
    orientation = tf.cond(
        _may_have_exif(image_bytes), lambda: read_orientation(image_bytes), lambda: UPRIGHT
    )
    return tf.ensure_shape(turn(pixels, orientation), [None, None, 3])


def turn_mask(mask: tf.Tensor, image: tf.Tensor, image_bytes: tf.Tensor) -> tf.Tensor:
    """Turns a mask that was drawn on the stored pixels of an image along with the image.

    The size tells. A mask of the size of the upright image was drawn on that, as annotation tools
    show it, and stays as it is; so does any mask where turning does not change the size.

    Args:
        mask: `[height, width]` of any dtype.
        image: uint8 `[height, width, 3]`, upright.
        image_bytes: string scalar, the file of the image.

    Returns:
        A mask of the same dtype. It stays as it is if it fits the image in neither way.
    """
    mask, size = tf.convert_to_tensor(mask), tf.shape(image)[:2]
    fits = tf.reduce_all(tf.shape(mask) == size)
    is_stored = tf.reduce_all(tf.shape(mask) == tf.reverse(size, [0])) & ~fits
    orientation = tf.cond(is_stored, lambda: read_orientation(image_bytes), lambda: UPRIGHT)
    turned = turn(mask, tf.where(orientation >= FIRST_ON_SIDE, orientation, UPRIGHT))
    return tf.ensure_shape(turned, [None, None])


def turn_mask_of_file(mask: tf.Tensor, image_bytes: tf.Tensor) -> tf.Tensor:
    """Does what `turn_mask` does, for a mask that fits its image, without decoding the image.

    Args:
        mask: `[height, width]` of any dtype.
        image_bytes: string scalar, the file of the image.

    Returns:
        A mask of the same dtype.
    """
    orientation = read_orientation(image_bytes)

    def turn_if_stored() -> tf.Tensor:
        stored = tf.image.extract_jpeg_shape(image_bytes)[:2]
        is_stored = tf.reduce_all(tf.shape(mask) == stored) & (stored[0] != stored[1])
        return turn(mask, tf.where(is_stored, orientation, UPRIGHT))

    turned = tf.cond(orientation >= FIRST_ON_SIDE, turn_if_stored, lambda: mask)
    return tf.ensure_shape(turned, [None, None])


def turn(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns stored pixels upright.

    Args:
        pixels: `[height, width]` or `[height, width, channels]` of any dtype.
        orientation: int32 scalar, 1 to 8. From 5 on, height and width change places.
    """
    return tf.cond(orientation == UPRIGHT, lambda: pixels, lambda: _turn(pixels, orientation))


def _turn(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    lies = orientation >= FIRST_ON_SIDE
    pixels = tf.cond(lies, lambda: _swap_axes(pixels), lambda: pixels)
    reverses_rows = tf.reduce_any(orientation == [3, 4, 7, 8])
    reverses_columns = tf.reduce_any(orientation == [2, 3, 6, 7])
    return tf.reverse(pixels, tf.boolean_mask([0, 1], [reverses_rows, reverses_columns]))


def _swap_axes(pixels: tf.Tensor) -> tf.Tensor:
    """Transposes height and width.

    `tf.transpose` of integers has TensorFlow print an error on some CPUs, even where nothing is
    turned, because its optimizer sees the operation.
    """
    height, width = tf.unstack(tf.shape(pixels)[:2])
    flat = tf.reshape(pixels, tf.concat([[height * width], tf.shape(pixels)[2:]], 0))
    return tf.gather(flat, tf.range(width)[:, None] + width * tf.range(height)[None, :])


def _may_have_exif(data: tf.Tensor) -> tf.Tensor:
    """Whether a JPEG file begins with more than the usual first segment, in very few operations."""
    first = jpeg_markers.read_head(data, 2)
    second = jpeg_markers.read_head(data, 4 + first[1])
    return (first[0] > jpeg_markers.APP0) | (
        (first[0] == jpeg_markers.APP0) & (second[0] >= jpeg_markers.APP0)
    )


def _find_exif(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where the EXIF data of a JPEG file start and how long they are; 0 without any.

    EXIF data stand among the application segments and comments with which a file begins.
    """
    position, head = jpeg_markers.find_segment(
        data, lambda head: (head[0] >= jpeg_markers.APP0) & ~_is_exif(head)
    )
    length = tf.where(_is_exif(head), head[1] + 2 - jpeg_markers.HEAD_BYTES, 0)
    return tf.minimum(position + jpeg_markers.HEAD_BYTES, tf.strings.length(data)), length


def _is_exif(head: tf.Tensor) -> tf.Tensor:
    return (head[0] == jpeg_markers.APP1) & tf.reduce_all(head[2:] == _EXIF_START)


def _parse_exif(exif: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in EXIF data, a string that starts with the byte order."""
    is_little = tf.strings.substr(exif, 0, len(_LITTLE_ENDIAN)) == _LITTLE_ENDIAN
    is_known = is_little | (tf.strings.substr(exif, 0, len(_BIG_ENDIAN)) == _BIG_ENDIAN)

    def number(digits: tf.Tensor) -> tf.Tensor:
        return _number(tf.cond(is_little, lambda: tf.reverse(digits, [-1]), lambda: digits))

    directory = tf.clip_by_value(number(_read(exif, tf.constant(4), 4)), 0, 0xFFFF)
    count = number(_read(exif, directory, 2))
    table = _read(exif, directory + 2, count * _ENTRY_BYTES)
    entries = tf.reshape(table, [count, _ENTRY_BYTES])
    is_orientation = number(entries[:, :2]) == _ORIENTATION
    is_orientation &= (number(entries[:, 2:4]) == _SHORT) & (number(entries[:, 4:8]) == 1)
    value = tf.reduce_max(tf.where(is_orientation, number(entries[:, 8:10]), 0))
    return tf.where(is_known & (value >= 1) & (value <= 8), value, UPRIGHT)


def _read(data: tf.Tensor, position: tf.Tensor, count: tf.Tensor | int) -> tf.Tensor:
    """Returns `count` bytes of a string as int32, with zeros for those beyond its end."""
    start = tf.minimum(position, tf.strings.length(data))
    found = tf.io.decode_raw(tf.strings.substr(data, start, count), tf.uint8)
    padded = tf.pad(tf.cast(found, tf.int32), [[0, count - tf.size(found)]])
    return tf.ensure_shape(padded, [count if isinstance(count, int) else None])


def _number(digits: tf.Tensor) -> tf.Tensor:
    """Returns the numbers with these bytes, the most significant first, along the last axis."""
    powers = [256**exponent for exponent in reversed(range(digits.shape[-1]))]
    return tf.reduce_sum(digits * powers, -1)
