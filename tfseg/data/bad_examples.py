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
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tfseg.data import masks
from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split
from tfseg.errors import UserError

_logger = logging.getLogger(__name__)

Example = dict[str, tf.Tensor]

# TensorFlow surrounds an assertion's text with its own; these mark where ours begins and ends.
_BEGIN, _END = "bad example ", " (end of the bad example)"


@contextlib.contextmanager
def naming_bad_examples() -> Iterator[None]:
    """Turns the failure of `check_example` into a UserError; use it around training and scoring.

    Raises:
        UserError: The body read a bad example; the line names it and its fault.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        _, begin, text = error.message.partition(_BEGIN)
        fault, end, _ = text.partition(_END)
        if not (begin and end):
            raise
        raise UserError(
            f"{_BEGIN}{_unescape(fault)}; repair it, or --on_bad_example=skip to go on without it"
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


def skip_bad(examples: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the examples that pass `check_example`, and logs how many do not.

    This reads every example once, because the number of the good ones must be known.
    """
    good = examples.ignore_errors(log_warning=True)
    total, count = len(examples), sum(1 for _ in good)
    if count < total:
        _logger.warning("skipped %d of %d examples", total - count, total)
    return good.apply(tf.data.experimental.assert_cardinality(count))
