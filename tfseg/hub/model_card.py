"""The model card: the README.md of a checkpoint folder."""

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

This model was initialised from {init_from} and trained with tfseg {version}. On the eval split,
with every mask scored at its own size, it has a mean IoU of {mean_iou:.4f} and an overall accuracy
of {overall_accuracy:.4f}.

| class | IoU |
|---|---|
{rows}

Load it in Keras with `tfseg.models.load_model(FOLDER)`, and in PyTorch with
`transformers.SegformerForSemanticSegmentation.from_pretrained(FOLDER)`.
"""


def model_card(
    labels: LabelSpec, metrics: Mapping[str, float], *, dataset: str, init_from: str
) -> str:
    """Returns the README.md of a checkpoint folder.

    Args:
        labels: The model's classes.
        metrics: `mean_iou`, `overall_accuracy` and `iou_<class>` for every class, in [0, 1] or nan.
        dataset: Name and version of the data set.
        init_from: Hub id or folder of the initial weights, or `scratch`.
    """
    rows = "\n".join(f"| {name} | {metrics[f'iou_{name}']:.4f} |" for name in labels.names)
    return _CARD.format(
        dataset=dataset,
        init_from="random weights" if init_from == "scratch" else init_from,
        version=tfseg.__version__,
        mean_iou=metrics["mean_iou"],
        overall_accuracy=metrics["overall_accuracy"],
        rows=rows,
    )
