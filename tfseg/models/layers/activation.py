"""The activation of the Mix-FFN."""

from __future__ import annotations

import math

import tensorflow as tf

from tfseg.models.layers.compilation import compile_where_static


def gelu(x: tf.Tensor) -> tf.Tensor:
    """Gaussian error linear unit, `x * P(X <= x)`; the gradient keeps `x` and nothing else.

    Computed in float32 whatever the dtype of `x`. https://arxiv.org/abs/1606.08415
    """

    # Inside, because AutoGraph calls a module's decorated function without its decorator.
    @tf.custom_gradient
    def activate(x: tf.Tensor) -> tf.Tensor:
        return _gelu(x), lambda upstream: _gelu_gradient(x, upstream)

    return activate(x)


def _normal_distribution(x: tf.Tensor) -> tf.Tensor:
    return 0.5 + 0.5 * tf.math.erf(x * math.sqrt(0.5))


@compile_where_static
def _gelu(x: tf.Tensor) -> tf.Tensor:
    wide = tf.cast(x, tf.float32)
    return tf.cast(wide * _normal_distribution(wide), x.dtype)


@compile_where_static
def _gelu_gradient(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    wide = tf.cast(x, tf.float32)
    density = tf.exp(-0.5 * tf.square(wide)) / math.sqrt(2.0 * math.pi)
    slope = _normal_distribution(wide) + wide * density
    return tf.cast(tf.cast(upstream, tf.float32) * slope, x.dtype)
