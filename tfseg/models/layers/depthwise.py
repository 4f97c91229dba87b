"""The Mix-FFN's convolution."""

from __future__ import annotations

import tensorflow as tf
from transformers.models.segformer import modeling_tf_segformer as hf


class DepthwiseConv(hf.TFSegformerDWConv):
    """3x3 depthwise convolution of the Mix-FFN.

    Hugging Face's `Conv2D(groups=channels)` runs through a jit-compiled fallback on the CPU.
    With as many groups as channels each output channel sees one input channel, which is what
    `tf.nn.depthwise_conv2d` computes from the same kernel with its last two axes swapped.
    """

    def call(self, hidden_states: tf.Tensor, height, width) -> tf.Tensor:
        """Convolves `[batch, height * width, channels]`, keeping the shape."""
        convolution = self.depthwise_convolution
        kernel = tf.transpose(convolution.kernel, (0, 1, 3, 2))
        shape = tf.shape(hidden_states)
        grid = tf.reshape(hidden_states, (shape[0], height, width, self.dim))
        grid = tf.nn.depthwise_conv2d(grid, kernel, (1, 1, 1, 1), "SAME")
        return tf.reshape(tf.nn.bias_add(grid, convolution.bias), (shape[0], -1, self.dim))
