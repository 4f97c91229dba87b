"""First weights of a SegFormer from scratch, drawn as the reference implementation draws them.

Keras would draw Glorot for everything, whose fan of a depthwise kernel counts channels that no
output sees. Linear layers take a truncated normal of deviation 0.02, convolutions He's normal
over their fan-out a group, the classifier a normal of deviation 0.01.
https://github.com/NVlabs/SegFormer/blob/master/mmseg/models/backbones/mix_transformer.py
"""

from __future__ import annotations

import math
import zlib

import tensorflow as tf

_LINEAR_STD = 0.02
_CLASSIFIER_STD = 0.01


def initialize(network: tf.keras.Model, seed: int) -> None:
    """Draws every kernel of a built network; biases are 0 and norms 1, as Keras leaves them.

    Each kernel's stream is seeded by `seed` and its name, so the same seed gives the same weights
    whatever the order.
    """
    for variable in network.trainable_variables:
        if variable.name.endswith("/kernel:0"):
            # Without the network's own name, which Keras numbers from the second one on.
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
