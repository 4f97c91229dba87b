"""The depthwise convolution of the Mix-FFN."""

from __future__ import annotations

import tensorflow as tf
from transformers.models.segformer import modeling_tf_segformer as hf
from transformers.tf_utils import shape_list

from tfseg.models.layers.dense import sum_rows


class DepthwiseConv(hf.TFSegformerDWConv):
    """The 3x3 depthwise convolution of the Mix-FFN.

    Hugging Face uses `Conv2D(groups=channels)`, which falls back to slow jit-compiled code on the
    CPU. With as many groups as channels, each output channel reads one input channel. That is
    what `tf.nn.depthwise_conv2d` computes from the same kernel with its last two axes swapped.
    """

    def call(self, hidden_states: tf.Tensor, height, width) -> tf.Tensor:
        """Convolves `[batch, height * width, channels]`, keeping the shape."""
        convolution = self.depthwise_convolution
        kernel = tf.transpose(convolution.kernel, (0, 1, 3, 2))
        shape = shape_list(hidden_states)
        grid = tf.reshape(hidden_states, (shape[0], height, width, self.dim))
        grid = _convolve(grid, kernel, tf.convert_to_tensor(convolution.bias))
        return tf.reshape(grid, shape)


def _convolve(grid: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """TensorFlow's convolution and gradient, except that `sum_rows` gives the bias's gradient."""
    options = {"strides": (1, 1, 1, 1), "padding": "SAME"}

    @tf.custom_gradient
    def convolve(grid, kernel, bias):
        def gradient(upstream):
            to_grid = tf.nn.depthwise_conv2d_backprop_input(
                tf.shape(grid), kernel, upstream, **options
            )
            to_kernel = tf.nn.depthwise_conv2d_backprop_filter(
                grid, kernel.shape, upstream, **options
            )
            return to_grid, to_kernel, sum_rows(upstream)

        return tf.nn.bias_add(tf.nn.depthwise_conv2d(grid, kernel, **options), bias), gradient

    return convolve(grid, kernel, bias)
