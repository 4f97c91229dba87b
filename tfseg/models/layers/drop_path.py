"""Stochastic depth."""

from __future__ import annotations

import tensorflow as tf
from transformers.models.segformer import modeling_tf_segformer as hf


class DropPath(hf.TFSegformerDropPath):
    """Stochastic depth: in training, each example skips the block with probability `drop_path`.

    Hugging Face's layer multiplies inputs of every dtype by float32, which fails in mixed
    precision.
    https://arxiv.org/abs/1603.09382
    """

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Zeroes some examples of `[batch, ...]` and scales the others to keep the mean."""
        if not training:
            return x
        keep = 1.0 - self.drop_path
        shape = (tf.shape(x)[0], *(1,) * (x.shape.rank - 1))
        kept = tf.floor(keep + tf.random.uniform(shape))
        return x * tf.cast(kept / keep, x.dtype)
