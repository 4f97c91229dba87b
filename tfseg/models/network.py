"""Builds Hugging Face's TensorFlow network with tfseg's faster layers in place of its own.

The layers compute the same function, and every weight keeps its name and shape.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf
from transformers import SegformerConfig
from transformers.models.segformer import modeling_tf_segformer as hf

from tfseg.config.backbones import BACKBONES
from tfseg.errors import UserError
from tfseg.models.layers.activation import GeluDense, gelu
from tfseg.models.layers.attention import EfficientSelfAttention
from tfseg.models.layers.decode_head import FusedDecodeHead
from tfseg.models.layers.dense import Dense
from tfseg.models.layers.depthwise import DepthwiseConv
from tfseg.models.layers.drop_path import DropPath
from tfseg.models.layers.normalization import LayerNorm


def config_for_backbone(backbone: str) -> SegformerConfig:
    """Returns the configuration of a published SegFormer.

    Args:
        backbone: `mit-b0` to `mit-b5`.

    Raises:
        UserError: There is no such backbone.
    """
    if backbone not in BACKBONES:
        raise UserError(f"--backbone={backbone} is unknown (allowed: {', '.join(BACKBONES)})")
    size = BACKBONES[backbone]
    return SegformerConfig(
        hidden_sizes=list(size.hidden_sizes),
        depths=list(size.depths),
        decoder_hidden_size=size.decoder_hidden_size,
    )


def build_network(config: SegformerConfig, precision: str) -> hf.TFSegformerForSemanticSegmentation:
    """Builds a network with freshly drawn weights.

    Its decode head takes channels-last features: call `segformer.encoder` and `decode_head`
    instead of the network itself, as `Segformer.quarter_logits` does.

    Args:
        config: Hugging Face's configuration.
        precision: Keras's dtype policy: `float32`, `mixed_bfloat16` or `mixed_float16`.
    """
    with _dtype_policy(precision):
        network = hf.TFSegformerForSemanticSegmentation(config)
        _use_exact_layers(network)
    network.build_in_name_scope()
    return network


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    """Sets the global policy for a while, because Hugging Face's layers take none by argument."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def _use_exact_layers(network: hf.TFSegformerForSemanticSegmentation) -> None:
    """Replaces the layers of a network that is not built yet."""
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
    if mlp.dropout.rate:  # Dropout lies between the two, which keeps them apart.
        mlp.intermediate_act_fn = gelu
    else:
        mlp.intermediate_act_fn = lambda hidden_states: hidden_states
        mlp.dense2 = GeluDense(mlp.dense2.units, name=mlp.dense2.name)


def _replace(parent: tf.keras.layers.Layer, *names: str) -> None:
    for name in names:
        layer = getattr(parent, name, None)  # Attention has a norm only if it reduces keys.
        if layer is not None:
            setattr(parent, name, _stand_in(layer))


def _stand_in(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    if isinstance(layer, tf.keras.layers.LayerNormalization):
        return LayerNorm(epsilon=layer.epsilon, name=layer.name)
    return Dense(layer.units, name=layer.name)
