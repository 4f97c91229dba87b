"""Faster layers that compute exactly what those of Hugging Face's TFSegformer compute.

Each layer keeps the names and shapes of its weights, so checkpoints load and save as before.
"""

from tfseg import lazy_door

__getattr__ = lazy_door(
    __name__,
    Dense="dense",
    DepthwiseConv="depthwise",
    DropPath="drop_path",
    EfficientSelfAttention="attention",
    FusedDecodeHead="decode_head",
    GeluDense="activation",
    LayerNorm="normalization",
    PointwiseConv="dense",
    attend="attention",
    gelu="activation",
    relu_dropout="dropout",
    sum_upsampled="upsampling",
)
