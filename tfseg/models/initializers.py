"""Draws the weights of a SegFormer from scratch as the reference implementation does.

Keras would use Glorot's initialiser for every layer; for a depthwise kernel it counts channels
that an output does not read. Here linear layers use a truncated normal distribution of standard
deviation 0.02, convolutions He's normal distribution over the fan-out per group, and the
classifier a normal distribution of standard deviation 0.01.
https://github.com/NVlabs/SegFormer/blob/master/mmseg/models/backbones/mix_transformer.py
"""

from __future__ import annotations

import math
import zlib

import tensorflow as tf

_LINEAR_STD = 0.02
_CLASSIFIER_STD = 0.01


def initialize(network: tf.keras.Model, seed: int) -> None:
    """Draws every kernel of a built network; biases stay 0 and norms 1, as Keras sets them.

    Each kernel is drawn from `seed` and its name, so the same seed gives the same weights in any
    order.

    Args:
        network: A built network.
        seed: Seed of all kernels.
    """
    for variable in network.trainable_variables:
        if variable.name.endswith("/kernel:0"):
            # Without the name of the network, to which Keras adds a number from the second one on.
            name = variable.name.split("/", 1)[1]
            stream = (seed, zlib.crc32(name.encode()))
            variable.assign(_draw(variable.name, variable.shape, stream))


def _draw(name: str, shape: tf.TensorShape, seed: tuple[int, int]) -> tf.Tensor:
    if len(shape) == 2:
        return tf.random.stateless_truncated_normal(shape, seed, stddev=_LINEAR_STD)
    if "decode_head/classifier" in name:
        return tf.random.stateless_normal(shape, seed, stddev=_CLASSIFIER_STD)
    height, width, _, out_channels = shape
    groups = out_channels if "dwconv" in name else 1
    fan_out = height * width * out_channels // groups
    return tf.random.stateless_normal(shape, seed, stddev=math.sqrt(2.0 / fan_out))
