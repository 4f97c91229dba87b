"""The marker segments of a JPEG file, read with TensorFlow's operations.

https://www.w3.org/Graphics/JPEG/itu-t81.pdf, section B.1.1.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

START_OF_IMAGE, START_OF_SCAN, APP0, APP1 = 0xFFD8, 0xFFDA, 0xFFE0, 0xFFE1
CUT_OFF = "the end of a JPEG file is missing"
HEAD_BYTES = 10  # of a marker, the length of its segment, and the start of its content

_FILLING, _FIRST_MARKER = 0xFFFF, 0xFF01
_END_OF_IMAGE = b"\xff\xd9"


def read_head(data: tf.Tensor, position: tf.Tensor | int) -> tf.Tensor:
    """Returns int32 `[5]`, the numbers of two bytes at the head of a segment; 0 beyond the end."""
    position = tf.minimum(position, tf.strings.length(data))
    head = tf.strings.substr(data, position, HEAD_BYTES)
    numbers = tf.io.decode_raw(head, tf.uint16, little_endian=False, fixed_length=HEAD_BYTES)
    return tf.cast(numbers, tf.int32)


def find_segment(
    data: tf.Tensor, is_passed: Callable[[tf.Tensor], tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the position and the head of the first segment of a file that is not passed over.

    Args:
        data: string scalar, the content of a file.
        is_passed: Tells of a head, see `read_head`, whether the search goes on behind its segment.

    Returns:
        int32 scalar and int32 `[5]`. The head is 0 if the file is no JPEG or ends before.
    """

    def is_searching(position: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
        return (head[0] == _FILLING) | ((head[0] >= _FIRST_MARKER) & is_passed(head))

    def go_on(position: tf.Tensor, head: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        position += tf.where(head[0] == _FILLING, 1, 2 + head[1])
        return position, read_head(data, position)

    is_jpeg = read_head(data, 0)[0] == START_OF_IMAGE
    first = tf.where(is_jpeg, 2, tf.strings.length(data))
    return tf.while_loop(is_searching, go_on, (first, read_head(data, first)))


def check_end(data: tf.Tensor) -> tf.Tensor:
    """Returns the content of a JPEG file, and fails if the end of the file is missing.

    libjpeg finds that too, but prints a line of its own about it. Nearly every file ends with the
    marker of its end. In others, such as phones write, bytes of other kinds follow; the marker is
    then searched behind the first segments, because a thumbnail among them has an end of its own.

    Raises:
        tf.errors.InvalidArgumentError: The end is missing; the error holds `CUT_OFF`.
    """
    end = tf.maximum(tf.strings.length(data) - len(_END_OF_IMAGE), 0)
    ends_as_usual = tf.strings.substr(data, end, len(_END_OF_IMAGE)) == _END_OF_IMAGE
    return tf.cond(ends_as_usual, lambda: data, lambda: _search_end(data))


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def _search_end(data: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.Assert(_has_end(data), [CUT_OFF])]):
        return tf.identity(data)


def _has_end(data: tf.Tensor) -> tf.Tensor:
    position, _ = find_segment(data, lambda head: head[0] != START_OF_SCAN)
    position = tf.minimum(position, tf.strings.length(data))
    scan = tf.io.decode_raw(tf.strings.substr(data, position, -1), tf.uint8)
    return tf.reduce_any((scan[:-1] == _END_OF_IMAGE[0]) & (scan[1:] == _END_OF_IMAGE[1]))
