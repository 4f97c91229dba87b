"""Decoded examples in memory, and how many of them fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.config.defaults import CACHE_LIMIT_BYTES
from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split

Example = dict[str, tf.Tensor]


def cache_examples(
    examples: tf.data.Dataset, cache: str, labels: LabelSpec
) -> tuple[tf.data.Dataset, bool]:
    """Keeps decoded examples in memory, for a split that is read more than once.

    Args:
        examples: The examples of a `Split`.
        cache: `memory`, `none`, or `auto`, which caches up to `CACHE_LIMIT_BYTES`.
        labels: The data set's classes.

    Returns:
        The examples without their names, their masks of `mask_dtype`, which `widen_mask` turns back
        to int32; and whether they are cached.
    """
    dtype = mask_dtype(labels)
    examples = examples.map(
        lambda example: {"image": example["image"], "mask": tf.cast(example["mask"], dtype)}
    )
    if cache == "none" or (cache == "auto" and _estimate_bytes(examples) > CACHE_LIMIT_BYTES):
        return examples, False
    return examples.cache(), True


def mask_dtype(labels: LabelSpec) -> tf.DType:
    """Returns the smallest type that holds the class ids and the ignore index: often one byte.

    int32 would take more memory than the image itself, 4 bytes per pixel to its 3.
    """
    largest = max(labels.num_classes - 1, labels.ignore_index)
    fitting = (dtype for dtype in (tf.uint8, tf.uint16) if largest <= dtype.max)
    return tf.int32 if labels.ignore_index < 0 else next(fitting, tf.int32)


def widen_mask(example: Example) -> Example:
    """Returns an example with its mask as int32."""
    return {**example, "mask": tf.cast(example["mask"], tf.int32)}


def choose_records(
    split: Split, cache: str, labels: LabelSpec, *, may_cache: bool = True
) -> tuple[tf.data.Dataset, Callable[[Any], Example], int]:
    """Chooses what a training reads in every epoch.

    Args:
        split: The examples.
        cache: See `cache_examples`.
        labels: The data set's classes.
        may_cache: Whether to keep decoded examples at all. Input workers keep none, because their
            parts of the examples differ from epoch to epoch. They shuffle as widely as a training
            that caches, so that the order is the same.

    Returns:
        The records, how to decode them, and the number of records to shuffle in.
    """
    examples, is_cached = cache_examples(split.examples, cache, labels)
    if is_cached and may_cache:
        return examples, widen_mask, split.num_examples
    buffer_size = split.num_examples if is_cached else shuffle_buffer_size(split.records)
    return split.records, split.decode, buffer_size


def shuffle_buffer_size(records: tf.data.Dataset) -> int:
    """Returns how many records a shuffle may hold within the cache's limit, and at least one.

    Paths are so small that all of them fit, however large the images are. Of encoded files, as TFDS
    gives them, a large data set has more than fit.
    """
    fitting = int(len(records) * CACHE_LIMIT_BYTES / _estimate_bytes(records))
    return max(1, min(len(records), fitting))


def _estimate_bytes(records: tf.data.Dataset, sample_size: int = 8) -> float:
    """Estimates from the first records how much memory all of them take."""
    sizes = [
        sum(np.asarray(value).nbytes for value in tf.nest.flatten(record))
        for record in records.take(sample_size).as_numpy_iterator()
    ]
    return len(records) * sum(sizes) / len(sizes)
