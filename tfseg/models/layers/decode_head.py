"""The decode head."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from transformers import SegformerConfig
from transformers.models.segformer import modeling_tf_segformer as hf

from tfseg import devices
from tfseg.models.layers.batch_norm import BatchNorm
from tfseg.models.layers.dense import PointwiseConv, project
from tfseg.models.layers.dropout import relu_dropout
from tfseg.models.layers.upsampling import sum_upsampled


class FusedDecodeHead(hf.TFSegformerDecodeHead):
    """The all-MLP decode head, which fuses each scale before it is resized.

    The published head computes `fuse(concat_i(resize(x_i M_i + b_i)))` on a quarter-size grid of
    4 x 256 channels, where `fuse` is pointwise, linear and without a bias. Bilinear weights sum to
    one, so a resize commutes with pointwise linear maps, and the same function is
    `sum_i resize(x_i (M_i W_i)) + b_i W_i`, where `W_i` is the slice of `fuse` for scale i. The
    large products then run on the small grids. Outside training, the batch normalisation that
    follows becomes a factor on `W_i` and on the bias of the sum.
    https://arxiv.org/abs/2105.15203, section 3.2.

    In mixed precision the products of kernels and the sum are float32; products with feature maps
    have the compute dtype of the layers. The resizes are float32 on a CPU. On accelerators they are
    products too, and their results have the compute dtype.
    """

    def __init__(self, config: SegformerConfig, **kwargs):
        # The head itself reads weights as float32 and does not cast its inputs. The layers inside
        # follow the global dtype policy.
        super().__init__(config, dtype="float32", autocast=False, **kwargs)
        self.classifier = PointwiseConv(config.num_labels, name="classifier")
        norm = self.batch_norm
        self.batch_norm = BatchNorm(momentum=norm.momentum, epsilon=norm.epsilon, name=norm.name)

    def call(self, hidden_states: Sequence[tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns float32 logits `[batch, height / 4, width / 4, num_classes]`.

        Args:
            hidden_states: The four feature maps of the encoder, finest first, channels last.
            training: Turns batch statistics and dropout on.
        """
        kernels, bias = self._fused_kernels()
        if not training:
            scale, shift = self._batch_norm_as_scale()
            kernels, bias = [kernel * scale for kernel in kernels], bias * scale + shift
        maps = [
            project(features, tf.cast(kernel, features.dtype))
            for features, kernel in zip(hidden_states, kernels, strict=True)
        ]
        if devices.current_form().compiles_parts:
            maps = [tf.cast(features, tf.float32) for features in maps]
        fused = sum_upsampled(maps[0], maps[1:], bias)
        if training:
            fused = self.batch_norm(fused, training=True)
        is_dropping = training and self.dropout.rate
        fused = relu_dropout(fused, self.dropout.rate) if is_dropping else self.activation(fused)
        return tf.cast(self.classifier(fused), tf.float32)

    def _fused_kernels(self) -> tuple[list[tf.Tensor], tf.Tensor]:
        # The published head concatenates the coarsest scale first.
        slices = tf.split(self.linear_fuse.kernel[0, 0], len(self.mlps))[::-1]
        kernels, bias = [], 0.0
        for mlp, fuse in zip(self.mlps, slices, strict=True):
            kernels.append(tf.matmul(mlp.proj.kernel, fuse))
            bias += tf.linalg.matvec(fuse, mlp.proj.bias, transpose_a=True)
        return kernels, bias

    def _batch_norm_as_scale(self) -> tuple[tf.Tensor, tf.Tensor]:
        norm = self.batch_norm
        scale = norm.gamma * tf.math.rsqrt(norm.moving_variance + norm.epsilon)
        return scale, norm.beta - norm.moving_mean * scale
