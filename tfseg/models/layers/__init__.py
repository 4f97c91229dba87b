"""Exact, faster stand-ins for layers of Hugging Face's TFSegformer, with the same weights.

Every stand-in keeps each weight's name and shape, so checkpoints load and save as before.
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
