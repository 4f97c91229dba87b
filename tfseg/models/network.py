"""Hugging Face's TensorFlow network with tfseg's exact, faster layers in the place of its own."""

from __future__ import annotations

import tensorflow as tf
from transformers import SegformerConfig
from transformers.models.segformer import modeling_tf_segformer as hf

from tfseg.models.layers.activation import GeluDense, gelu
from tfseg.models.layers.attention import EfficientSelfAttention
from tfseg.models.layers.decode_head import FusedDecodeHead
from tfseg.models.layers.dense import Dense
from tfseg.models.layers.depthwise import DepthwiseConv
from tfseg.models.layers.drop_path import DropPath
from tfseg.models.layers.normalization import LayerNorm


def use_exact_layers(network: hf.TFSegformerForSemanticSegmentation) -> None:
    """Puts the stand-ins in place of a network's own layers; call it before the network is built.

    Call it under the dtype policy that the network was made under. Afterwards `network.decode_head`
    takes channels-last features.
    """
    encoder, config = network.segformer.encoder, network.config
    for embedding in encoder.embeddings:
        _replace(embedding, "layer_norm")
    for stage, blocks in enumerate(encoder.block):
        for block in blocks:
            _replace_in_block(block, config, stage)
    encoder.layer_norms = [_stand_in(norm) for norm in encoder.layer_norms]
    network.decode_head = FusedDecodeHead(config, name="decode_head")


def _replace_in_block(block: hf.TFSegformerLayer, config: SegformerConfig, stage: int) -> None:
    if isinstance(block.drop_path, hf.TFSegformerDropPath):
        block.drop_path = DropPath(block.drop_path.drop_path)
    block.attention.self = EfficientSelfAttention(
        config,
        hidden_size=config.hidden_sizes[stage],
        num_attention_heads=config.num_attention_heads[stage],
        sequence_reduction_ratio=config.sr_ratios[stage],
        name="self",
    )
    _replace(block, "layer_norm_1", "layer_norm_2")
    _replace(block.attention.self, "query", "key", "value", "layer_norm")
    _replace(block.attention.dense_output, "dense")
    _replace(block.mlp, "dense1", "dense2")
    block.mlp.depthwise_convolution = DepthwiseConv(block.mlp.hidden_features, name="dwconv")
    if config.hidden_act == "gelu":
        _fuse_gelu(block.mlp)


def _fuse_gelu(mlp: hf.TFSegformerMixFFN) -> None:
    if mlp.dropout.rate:  # between the two, so that they stay apart
        mlp.intermediate_act_fn = gelu
    else:
        mlp.intermediate_act_fn = lambda hidden_states: hidden_states
        mlp.dense2 = GeluDense(mlp.dense2.units, name=mlp.dense2.name)


def _replace(parent: tf.keras.layers.Layer, *names: str) -> None:
    for name in names:
        layer = getattr(parent, name, None)  # attention has a norm only if it shortens sequences
        if layer is not None:
            setattr(parent, name, _stand_in(layer))


def _stand_in(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    if isinstance(layer, tf.keras.layers.LayerNormalization):
        return LayerNorm(epsilon=layer.epsilon, name=layer.name)
    return Dense(layer.units, name=layer.name)
