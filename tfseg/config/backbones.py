"""The Mix Transformer backbones of SegFormer by name, with their sizes."""

from __future__ import annotations

from typing import NamedTuple


class BackboneSize(NamedTuple):
    """What distinguishes one backbone from another.

    Attributes:
        hidden_sizes: Channels of each of the four stages.
        depths: Transformer blocks in each stage.
        decoder_hidden_size: Channels of the decode head.
    """

    hidden_sizes: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    decoder_hidden_size: int


_SMALL, _LARGE = (32, 64, 160, 256), (64, 128, 320, 512)

# Table 6 of https://arxiv.org/abs/2105.15203
BACKBONES = {
    "mit-b0": BackboneSize(_SMALL, (2, 2, 2, 2), 256),
    "mit-b1": BackboneSize(_LARGE, (2, 2, 2, 2), 256),
    "mit-b2": BackboneSize(_LARGE, (3, 4, 6, 3), 768),
    "mit-b3": BackboneSize(_LARGE, (3, 4, 18, 3), 768),
    "mit-b4": BackboneSize(_LARGE, (3, 8, 27, 3), 768),
    "mit-b5": BackboneSize(_LARGE, (3, 6, 40, 3), 768),
}
