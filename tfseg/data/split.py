"""Split: examples that a source has opened, with their number and what identifies them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfseg.data.sources.checks import EncodedExample
from tfseg.errors import UserError


class Part(NamedTuple):
    """One of the two parts into which --eval_fraction divides a split.

    Attributes:
        fraction: Share of the examples that are held out for scoring, above 0 and below 1.
        is_held_out: Whether this is the part held out for scoring, and not the rest to train on.
    """

    fraction: float
    is_held_out: bool


def choose_eval_split(
    default: str, *, train_split: str, eval_split: str | None, eval_fraction: float | None
) -> str:
    """Returns the split to score: with --eval_fraction, that of which a part is held out.

    Raises:
        UserError: A part of the training split is held out, and another eval split was named.
    """
    if eval_fraction is None:
        return eval_split or default
    if eval_split not in (None, train_split):
        raise UserError(
            f"--eval_fraction={eval_fraction:g} holds out a part of the training split "
            f"{train_split}, but --eval_split={eval_split} names another one; leave one of the "
            "two flags out"
        )
    return train_split


def keep(record: Any) -> Any:
    """Returns a record as it is; decodes records that are examples already."""
    return record


@dataclasses.dataclass(frozen=True)
class Split:
    """An opened split of a data set.

    Attributes:
        name: The split in the source's own syntax, e.g. `train` or `train[:80%]`.
        records: The examples before they are decoded, in a form that is small and cheap to read,
            such as paths or encoded bytes; of known cardinality. So whoever needs a part of the
            examples can select it first and decode it then.
        num_examples: Number of examples.
        digest: SHA-256, as hexadecimal digits, that identifies the examples and their order but
            not the folder they lie in. A folder and a Hugging Face data set hash every byte of
            their examples; TFDS hashes name, version, split, number of examples and size.
        decode: Turns a record into an example, in a graph: `image` uint8 `[height, width, 3]`,
            `mask` int32 `[height, width]` and `name` string scalar.
        read: Turns a record, as `records.as_numpy_iterator()` gives it, into an example that is not
            decoded; threads may call it. None if the source has no such form.
        pixels: Number of pixels by raw mask value; None if nobody has counted them.
        decode_values: Turns a record into the mask of its example alone, int32 `[height, width]` of
            raw values, which is faster; None if the source has no such form. It does not check the
            mask, as the source has done when it opened the split.
    """

    name: str
    records: tf.data.Dataset
    num_examples: int
    digest: str
    decode: Callable[[Any], dict[str, tf.Tensor]] = keep
    read: Callable[[Any], EncodedExample] | None = None
    pixels: Mapping[int, int] | None = None
    decode_values: Callable[[Any], tf.Tensor] | None = None

    def select(self, positions: Collection[int]) -> Split:
        """Returns the split with only the examples at these positions, in their order in it.

        The records stay undecoded. The digest stays too, so it no longer identifies the examples.
        """
        is_chosen = np.zeros(self.num_examples, bool)
        is_chosen[list(positions)] = True
        is_chosen = tf.constant(is_chosen)
        records = self.records.enumerate().filter(lambda index, _: is_chosen[index])
        records = records.map(lambda _, record: record)
        records = records.apply(tf.data.experimental.assert_cardinality(len(positions)))
        return dataclasses.replace(self, records=records, num_examples=len(positions))

    @property
    def examples(self) -> tf.data.Dataset:
        """The decoded examples."""
        if self.decode is keep:
            return self.records
        return self.records.map(self.decode, num_parallel_calls=tf.data.AUTOTUNE)
