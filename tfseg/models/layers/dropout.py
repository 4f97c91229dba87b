"""The activation and the dropout of the decode head in one operation."""

from __future__ import annotations

import tensorflow as tf
from transformers.tf_utils import shape_list

from tfseg.models.layers.compilation import compile_where_static

_LEVELS = 1 << 16  # 16 random bits per value, twice as fast as the 32 bits of `tf.nn.dropout`


def relu_dropout(x: tf.Tensor, rate: float) -> tf.Tensor:
    """Returns `tf.nn.dropout(tf.nn.relu(x), rate)` in half the time.

    Only the result is kept for the gradient, which passes where the result is above 0: a kept
    value is scaled by at least 1, so it is above 0 exactly where the input is. It takes 17 ms
    instead of 35 ms for 8 million values (2 CPU cores).
    https://jmlr.org/papers/v15/srivastava14a.html

    Args:
        x: `[..., channels]`.
        rate: Probability that a value is dropped, in [0, 1), rounded to a multiple of 2 ** -16.
            The other values are scaled up, so that the mean stays the same.
    """
    dropped_levels = min(round(rate * _LEVELS), _LEVELS - 1)
    scale = _LEVELS / (_LEVELS - dropped_levels)

    # Defined here, because AutoGraph would call a decorated module-level function undecorated.
    @tf.custom_gradient
    def activate(x: tf.Tensor) -> tf.Tensor:
        outputs = _relu_and_drop(x, _draw_bits(x), dropped_levels, scale)
        return outputs, lambda upstream: _pass_where_positive(outputs, upstream, scale)

    return activate(x)


def _draw_bits(x: tf.Tensor) -> tf.Tensor:
    """Draws int32 `[..., ceil(channels / 2)]`, all of whose bits are random."""
    *sizes, channels = shape_list(x)
    seed = tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)
    words = (*sizes, (channels + 1) // 2)
    return tf.random.stateless_uniform(words, seed, minval=None, maxval=None, dtype=tf.int32)


@compile_where_static
def _relu_and_drop(x: tf.Tensor, bits: tf.Tensor, dropped_levels: int, scale: float) -> tf.Tensor:
    *sizes, words = shape_list(bits)
    levels = tf.reshape(tf.bitcast(bits, tf.uint16), (*sizes, 2 * words))[..., : x.shape[-1]]
    is_kept = tf.cast(levels, tf.int32) >= dropped_levels
    return tf.where(is_kept, tf.nn.relu(x) * tf.cast(scale, x.dtype), tf.zeros((), x.dtype))


@compile_where_static
def _pass_where_positive(outputs: tf.Tensor, upstream: tf.Tensor, scale: float) -> tf.Tensor:
    passed = upstream * tf.cast(scale, upstream.dtype)
    return tf.where(outputs > 0, passed, tf.zeros((), upstream.dtype))
