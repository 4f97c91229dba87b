"""Decoded examples in memory, and how many of them fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfseg.config.defaults import CACHE_LIMIT_BYTES
from tfseg.data.split import Split, keep

# Largest shuffle buffer for examples that are not cached. The buffer holds their records, which are
# encoded files, or decoded examples if bad ones are skipped. Of cached examples it holds
# references, so the whole split is shuffled.
UNCACHED_SHUFFLE_BUFFER = 1000


def cache_examples(examples: tf.data.Dataset, cache: str) -> tuple[tf.data.Dataset, bool]:
    """Keeps decoded examples in memory, for a split that is read more than once.

    Args:
        examples: The examples of a `Split`.
        cache: `memory`, `none`, or `auto`, which caches up to `CACHE_LIMIT_BYTES`.

    Returns:
        The examples without their names, and whether they are cached.
    """
    examples = examples.map(lambda example: {key: example[key] for key in ("image", "mask")})
    if cache == "none" or (cache == "auto" and _decoded_bytes(examples) > CACHE_LIMIT_BYTES):
        return examples, False
    return examples.cache(), True


def choose_records(
    split: Split, cache: str, *, may_cache: bool = True
) -> tuple[tf.data.Dataset, Callable[[Any], dict[str, tf.Tensor]], int]:
    """Chooses what a training reads in every epoch.

    Args:
        split: The examples.
        cache: See `cache_examples`.
        may_cache: Whether to keep decoded examples at all. Input workers keep none, because their
            parts of the examples differ from epoch to epoch. They shuffle as widely as a training
            that caches, so that the order is the same.

    Returns:
        The records, how to decode them, and the number of records to shuffle in.
    """
    examples, is_cached = cache_examples(split.examples, cache)
    if is_cached and may_cache:
        return examples, keep, split.num_examples
    buffer_size = split.num_examples if is_cached else uncached_buffer_size(examples)
    return split.records, split.decode, buffer_size


def uncached_buffer_size(examples: tf.data.Dataset) -> int:
    """Returns how many decoded examples the shuffle buffer may hold within the cache's limit."""
    fitting = int(len(examples) * CACHE_LIMIT_BYTES / _decoded_bytes(examples))
    return max(1, min(len(examples), fitting, UNCACHED_SHUFFLE_BUFFER))


def _decoded_bytes(examples: tf.data.Dataset, sample_size: int = 8) -> float:
    """Estimates from the first examples how much memory all of them take."""
    sizes = [
        sum(value.size * value.itemsize for value in example.values())
        for example in examples.take(sample_size).as_numpy_iterator()
    ]
    return len(examples) * sum(sizes) / len(sizes)
