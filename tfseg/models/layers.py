"""Exact, faster stand-ins for layers of Hugging Face's TFSegformer, with the same weights.

Every stand-in keeps each weight's name and shape, so checkpoints load and save as before.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from transformers import SegformerConfig
from transformers.models.segformer import modeling_tf_segformer as hf


def compile_where_static(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of tensors by XLA in graphs that know their shapes, as training's do.

    XLA fuses a chain of pointwise operations and reductions into one pass over the memory: GELU
    and its gradient take 11 ms instead of 39 ms for 4 million float32 (2 CPU cores), although a
    whole model is slower under XLA. It compiles anew for each shape, which eager calls and graphs
    of free shape, as in serving, should not wait for.
    """
    compiled = tf.function(function, jit_compile=True)

    @functools.wraps(function)
    def call(*tensors: tf.Tensor) -> Any:
        is_static = all(tensor.shape.is_fully_defined() for tensor in tensors)
        return (compiled if is_static and not tf.executing_eagerly() else function)(*tensors)

    return call


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
    return 0.5 * tf.math.erfc(-x * math.sqrt(0.5))


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


class LayerNorm(tf.keras.layers.LayerNormalization):
    """Layer normalisation over the channels with a hand-written gradient.

    Keras's own takes its unfused path for an epsilon of 1e-5 and broadcasts the scale to the
    input's size, forward and backward; this takes half its time on 2 CPU cores. With
    `y = (x - mean) * r`, `r = 1 / sqrt(variance + epsilon)`, the gradient of `y` is
    `r * (d - mean(d) - y * mean(d * y))`: https://arxiv.org/abs/1607.06450.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalises `[..., channels]`, keeping the shape; statistics are float32."""
        epsilon = self.epsilon

        @tf.custom_gradient
        def normalize(x: tf.Tensor) -> tf.Tensor:
            centered = x - tf.reduce_mean(x, -1, keepdims=True)
            variance = tf.reduce_mean(tf.square(centered), -1, keepdims=True)
            scale = tf.math.rsqrt(variance + epsilon)
            y = centered * scale

            def gradient(d: tf.Tensor) -> tf.Tensor:
                along_y = y * tf.reduce_mean(d * y, -1, keepdims=True)
                return scale * (d - tf.reduce_mean(d, -1, keepdims=True) - along_y)

            return y, gradient

        # Keras keeps scale and offset float32 in mixed precision.
        y = normalize(tf.cast(inputs, tf.float32)) * self.gamma + self.beta
        return tf.cast(y, inputs.dtype)


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


class DropPath(hf.TFSegformerDropPath):
    """Stochastic depth: training skips each example's block with a chance of `drop_path`.

    Hugging Face's multiplies by float32 whatever the input is, which fails in mixed precision.
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


class FusedDecodeHead(hf.TFSegformerDecodeHead):
    """The all-MLP decode head, fused at each scale before the resize.

    The head computes `fuse(concat_i(resize(x_i M_i + b_i)))` with a pointwise linear `fuse`,
    bias-free, on a quarter-size grid of 4 x 256 channels. Bilinear weights sum to one, so the
    resize commutes with pointwise linear maps and the same function is
    `sum_i resize(x_i (M_i W_i) + b_i W_i)`, where `W_i` is `fuse`'s slice for scale i: the
    large products run on the small grids. https://arxiv.org/abs/2105.15203, section 3.2.

    In mixed precision the products of kernels, the resizes and the sum are float32, everything on
    a grid of features has the layers' own dtype.
    """

    def __init__(self, config: SegformerConfig, **kwargs):
        # The head reads its layers' weights as float32 and leaves its inputs as they are; the
        # layers in it follow the policy under which it is made.
        super().__init__(config, dtype="float32", autocast=False, **kwargs)

    def call(self, hidden_states: Sequence[tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns float32 logits `[batch, height / 4, width / 4, num_classes]`.

        Args:
            hidden_states: The encoder's four feature maps, finest first, channels last.
            training: Batch statistics and dropout are on.
        """
        size = tf.shape(hidden_states[0])[1:3]
        # The published head concatenates the coarsest scale first.
        slices = tf.split(self.linear_fuse.kernel[0, 0], len(self.mlps))[::-1]
        fused = 0.0
        for features, mlp, fuse in zip(hidden_states, self.mlps, slices, strict=True):
            kernel = tf.cast(tf.matmul(mlp.proj.kernel, fuse), features.dtype)
            projected = tf.cast(tf.tensordot(features, kernel, 1), tf.float32)
            projected += tf.linalg.matvec(fuse, mlp.proj.bias, transpose_a=True)
            is_finest = features is hidden_states[0]
            fused += projected if is_finest else tf.image.resize(projected, size)
        fused = self.activation(self.batch_norm(fused, training=training))
        logits = self.classifier(self.dropout(fused, training=training))
        return tf.cast(logits, tf.float32)


def use_exact_layers(network: hf.TFSegformerForSemanticSegmentation) -> None:
    """Puts the stand-ins in place of a network's own layers; call it before the network is built.

    Call it under the dtype policy that the network was made under. Afterwards `network.decode_head`
    takes channels-last features.
    """
    encoder = network.segformer.encoder
    for embedding in encoder.embeddings:
        _replace_layer_norms(embedding, ("layer_norm",))
    for block in itertools.chain.from_iterable(encoder.block):
        if isinstance(block.drop_path, hf.TFSegformerDropPath):
            block.drop_path = DropPath(block.drop_path.drop_path)
        _replace_layer_norms(block, ("layer_norm_1", "layer_norm_2"))
        _replace_layer_norms(block.attention.self, ("layer_norm",))
        dim = block.mlp.depthwise_convolution.dim
        if network.config.hidden_act == "gelu":
            block.mlp.intermediate_act_fn = gelu
        block.mlp.depthwise_convolution = DepthwiseConv(dim, name="dwconv")
    encoder.layer_norms = [_like(norm) for norm in encoder.layer_norms]
    network.decode_head = FusedDecodeHead(network.config, name="decode_head")


def _replace_layer_norms(layer: tf.keras.layers.Layer, names: Sequence[str]) -> None:
    for name in names:
        norm = getattr(layer, name, None)  # attention has one only where it shortens sequences
        if norm is not None:
            setattr(layer, name, _like(norm))


def _like(norm: tf.keras.layers.LayerNormalization) -> LayerNorm:
    return LayerNorm(epsilon=norm.epsilon, name=norm.name)
