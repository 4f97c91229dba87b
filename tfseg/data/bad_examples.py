"""Examples whose mask does not fit, found while a data set is read.

A source that cannot check its examples before training (TFDS) gives them unchecked to
`check_example`, which stops the reading of the data set with an error of TensorFlow's.
`naming_bad_examples` turns that error into a line for the user; `skip_bad` leaves such examples
out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tfseg.data import jpeg_markers, masks
from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split
from tfseg.errors import UserError

_logger = logging.getLogger(__name__)

Example = dict[str, tf.Tensor]

# TensorFlow surrounds an assertion's text with its own; these mark where ours begins and ends.
_BEGIN, _END = "bad example ", " (end of the bad example)"
# The operations that decode files, and the words about a pipeline that stand before their message.
_DECODER = re.compile(r"Decode(Jpeg|Png|Image|Bmp|Gif|Webp|WebP)\b")
_PIPELINE = re.compile(r"^.*\bIterator::\S+ |^\{\{[^}]*\}\} ")


@contextlib.contextmanager
def naming_bad_examples() -> Iterator[None]:
    """Turns the failure of `check_example` into a UserError; use it around training and scoring.

    Raises:
        UserError: The body read a bad example. The line names it and its fault, or only the fault
            if the file cannot be decoded.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        _, begin, text = error.message.partition(_BEGIN)
        fault, end, _ = text.partition(_END)
        if begin and end:
            raise UserError(
                f"{_BEGIN}{_unescape(fault)}; repair it, or --on_bad_example=skip to go on without "
                "it"
            ) from error
        if jpeg_markers.CUT_OFF in error.message:
            reason = jpeg_markers.CUT_OFF
        elif _DECODER.search(error.message):
            reason = _PIPELINE.sub("", error.message.partition("\n")[0])
        else:
            raise
        raise UserError(
            f"an image or a mask cannot be decoded ({reason}); repair it, or "
            "--on_bad_example=skip to name it and go on without it"
        ) from error


def _unescape(text: str) -> str:
    """Undoes the escapes with which TensorFlow writes quotes and other letters than ASCII."""
    return text.encode().decode("unicode_escape").encode("latin-1").decode(errors="replace")


def map_to_classes(split: Split, labels: LabelSpec) -> Split:
    """Returns a split of raw mask values as one of class ids, checked as it is decoded."""

    def decode(record: Any) -> Example:
        return check_example(split.decode(record), labels=labels)

    return dataclasses.replace(split, decode=decode)


def check_example(example: Example, labels: LabelSpec) -> Example:
    """Maps the mask of an example to class ids, and checks that it fits.

    Args:
        example: `image` uint8 `[height, width, 3]`, `mask` of raw values `[height, width]` and
            `name` string scalar.
        labels: The data set's classes.

    Returns:
        The example with `mask` int32 `[height, width]` of class ids and the ignore index.

    Raises:
        tf.errors.InvalidArgumentError: Mask and image differ in size, or labels are strict and
            the mask holds a value without a name.
    """
    size, mask = tf.shape(example["image"])[:2], example["mask"]
    _assert(
        tf.reduce_all(size == tf.shape(mask)),
        example["name"],
        ["its mask is ", _text(tf.shape(mask)), " (height x width) but the image is ", _text(size)],
    )
    mapped = masks.map_mask_values(mask, labels)
    if labels.strict:
        void = sorted(set(labels.known_values) - set(labels.class_values))
        is_intended = functools.reduce(tf.logical_or, [mask == value for value in void])
        unnamed = tf.boolean_mask(mask, (mapped == labels.ignore_index) & ~is_intended)
        _assert(
            tf.size(unnamed) == 0,
            example["name"],
            ["its mask holds the value ", _text(unnamed[:1]), ", which --id2label does not name"],
        )
    return {**example, "mask": mapped}


def _assert(condition: tf.Tensor, name: tf.Tensor, fault: list[str | tf.Tensor]) -> None:
    tf.debugging.Assert(condition, [tf.strings.join([_BEGIN, name, ": ", *fault, _END])])


def _text(numbers: tf.Tensor) -> tf.Tensor:
    return tf.strings.reduce_join(tf.strings.as_string(numbers), separator="x")


def skip_bad(split: Split) -> Split:
    """Returns a split without its bad examples, and logs which they are.

    This decodes every example once. The records stay as they are, so a training shuffles them and
    decodes them in parallel as before.

    Args:
        split: A split whose masks hold class ids, see `map_to_classes`.
    """
    total = split.num_examples
    good = _find_good(split)
    if len(good) < total:
        for index, record in enumerate(split.records.as_numpy_iterator()):
            if index not in good:
                _logger.warning("skipped: %s", record["name"].decode(errors="replace"))
        _logger.warning(
            "skipped %d of %d examples of split %s", total - len(good), total, split.name
        )
    return split.select(good)


def _find_good(split: Split) -> set[int]:
    def decode(index: tf.Tensor, record: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # TensorFlow leaves out what is not used, so a pixel of each must be.
        example = split.decode(record)
        return index, example["image"][:1, :1], example["mask"][:1, :1]

    decoded = split.records.enumerate().map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    good = decoded.ignore_errors()
    return {int(index) for index, _, _ in good.as_numpy_iterator()}
