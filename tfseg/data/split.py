"""Split: examples that a source has opened, with their number and what identifies them."""

from __future__ import annotations

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Split:
    """An opened split of a data set.

    Attributes:
        name: The split in the source's own syntax, e.g. `train` or `train[:80%]`.
        examples: `image` uint8 `[height, width, 3]`, `mask` int32 `[height, width]` and `name`
            string scalar; of known cardinality.
        num_examples: Number of examples.
        digest: SHA-256, as hexadecimal digits, that identifies the examples and their order but
            not the folder they lie in. A folder and a Hugging Face data set hash every byte of
            their examples; TFDS hashes name, version, split, number of examples and size.
    """

    name: str
    examples: tf.data.Dataset
    num_examples: int
    digest: str
