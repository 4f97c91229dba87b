"""Exact, faster stand-ins for layers of Hugging Face's TFSegformer, with the same weights.

Every stand-in keeps each weight's name and shape, so checkpoints load and save as before.
"""

from __future__ import annotations

from collections.abc import Sequence

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


class FusedDecodeHead(hf.TFSegformerDecodeHead):
    """The all-MLP decode head, fused at each scale before the resize.

    The head computes `fuse(concat_i(resize(x_i M_i + b_i)))` with a pointwise linear `fuse`,
    bias-free, on a quarter-size grid of 4 x 256 channels. Bilinear weights sum to one, so the
    resize commutes with pointwise linear maps and the same function is
    `sum_i resize(x_i (M_i W_i) + b_i W_i)`, where `W_i` is `fuse`'s slice for scale i: the
    large products run on the small grids. https://arxiv.org/abs/2105.15203, section 3.2.
    """

    def call(self, hidden_states: Sequence[tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns logits `[batch, height / 4, width / 4, num_classes]`.

        Args:
            hidden_states: The encoder's four feature maps, finest first, channels last.
            training: Batch statistics and dropout are on.
        """
        size = tf.shape(hidden_states[0])[1:3]
        # The published head concatenates the coarsest scale first.
        slices = tf.split(self.linear_fuse.kernel[0, 0], len(self.mlps))[::-1]
        fused = 0.0
        for features, mlp, fuse in zip(hidden_states, self.mlps, slices, strict=True):
            projected = tf.tensordot(features, tf.matmul(mlp.proj.kernel, fuse), 1)
            projected += tf.linalg.matvec(fuse, mlp.proj.bias, transpose_a=True)
            is_finest = features is hidden_states[0]
            fused += projected if is_finest else tf.image.resize(projected, size)
        fused = self.activation(self.batch_norm(fused, training=training))
        return self.classifier(self.dropout(fused, training=training))


def use_exact_layers(network: hf.TFSegformerForSemanticSegmentation) -> None:
    """Puts the stand-ins in place of a network's own layers; call it before the network is built.

    Afterwards `network.decode_head` takes channels-last features.
    """
    for blocks in network.segformer.encoder.block:
        for block in blocks:
            dim = block.mlp.depthwise_convolution.dim
            block.mlp.depthwise_convolution = DepthwiseConv(dim, name="dwconv")
    network.decode_head = FusedDecodeHead(network.config, name="decode_head")
