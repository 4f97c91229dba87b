"""The model card that lies beside the weights."""

from __future__ import annotations

from collections.abc import Mapping

import tfseg
from tfseg.data.labels import LabelSpec

_CARD = """---
library_name: transformers
pipeline_tag: image-segmentation
tags:
- segformer
- image-segmentation
- tfseg
---

# SegFormer fine-tuned on {dataset}

Started from {init_from} and trained with tfseg {version}. Mean IoU {mean_iou:.4f}, overall accuracy
{overall_accuracy:.4f} on the eval split, at the masks' own size.

| class | IoU |
|---|---|
{rows}

In Keras: `tfseg.models.segformer.load_model(FOLDER)`. In PyTorch:
`transformers.SegformerForSemanticSegmentation.from_pretrained(FOLDER)`.
"""


def model_card(
    labels: LabelSpec, figures: Mapping[str, float], *, dataset: str, init_from: str
) -> str:
    """Returns the README.md of a checkpoint folder.

    Args:
        labels: The model's classes.
        figures: `mean_iou`, `overall_accuracy` and `iou_<class>`, in [0, 1].
        dataset: Name and version of the data set.
        init_from: Where the first weights came from.
    """
    rows = "\n".join(f"| {name} | {figures[f'iou_{name}']:.4f} |" for name in labels.names)
    return _CARD.format(
        dataset=dataset,
        init_from="random weights" if init_from == "scratch" else init_from,
        version=tfseg.__version__,
        mean_iou=figures["mean_iou"],
        overall_accuracy=figures["overall_accuracy"],
        rows=rows,
    )
