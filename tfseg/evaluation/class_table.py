"""The table of per-class metrics that an evaluation prints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfseg.evaluation.mean_iou import summarize_confusion


def format_class_table(confusion: np.ndarray, class_names: Sequence[str]) -> str:
    """Formats the metrics of each class as an aligned plain-text table, in percent.

    Args:
        confusion: Pixel counts, integer `[num_classes, num_classes]`; rows are the true classes.
        class_names: `num_classes` names that differ.

    Returns:
        One line per class with its intersection over union, its accuracy, its Dice score and its
        share of the true pixels, or "-" where a metric is undefined. Below them stand the means
        over the classes, then the IoU weighted by the share of the pixels and the accuracy of all
        pixels.

    Raises:
        ValueError: The matrix is not square, or the number of names differs.
    """
    metrics = summarize_confusion(confusion, class_names)
    shares = np.sum(confusion, axis=1) / max(np.sum(confusion), 1)
    rows = [("class", "IoU %", "accuracy %", "Dice %", "pixels %")]
    for name, share in zip(class_names, shares, strict=True):
        values = (metrics[f"{kind}_{name}"] for kind in ("iou", "accuracy", "dice"))
        rows.append((name, *map(_format_percent, (*values, share))))
    means = (metrics[f"mean_{kind}"] for kind in ("iou", "accuracy", "dice"))
    rows.append(("mean", *map(_format_percent, means), ""))
    weighted = (metrics["frequency_weighted_iou"], metrics["overall_accuracy"])
    rows.append(("by pixels", *map(_format_percent, weighted), "", ""))
    return _align(rows)


def _format_percent(fraction: float) -> str:
    return "-" if np.isnan(fraction) else f"{100 * fraction:.2f}"


def _align(rows: Sequence[Sequence[str]]) -> str:
    """Aligns the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *values in rows:
        cells = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)
