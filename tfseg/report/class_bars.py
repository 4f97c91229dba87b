"""The IoU of each class as bars, with its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfseg.data.labels import LabelSpec
from tfseg.report.figures import plain_text

_BAR_INCHES = 0.24
_MANY_CLASSES = 40  # beyond which bars and names get smaller


def draw_class_bars(iou: Sequence[float], labels: LabelSpec, intervals: np.ndarray | None = None):
    """Draws a bar per class, in the order of the class ids.

    Args:
        iou: IoU of each class, in [0, 1]; nan for a class that occurs nowhere, which has no bar.
        labels: Names and colours of the classes.
        intervals: Lower and upper end of each IoU, float64 `[2, num_classes]`, drawn as whiskers;
            nan where there is none. None for no whiskers.

    Returns:
        A `matplotlib.figure.Figure` with one axes.

    Raises:
        ValueError: The number of values is not that of the classes.
    """
    if len(iou) != labels.num_classes:
        raise ValueError(f"received {len(iou)} values of IoU for {labels.num_classes} classes")
    from matplotlib.figure import Figure

    is_crowded = labels.num_classes > _MANY_CLASSES
    bar_inches = _BAR_INCHES * (0.6 if is_crowded else 1)
    figure = Figure(figsize=(8, 0.7 + bar_inches * labels.num_classes), layout="constrained")
    axes = figure.subplots()
    places = np.arange(labels.num_classes)
    colors = np.divide(labels.palette, 255)
    axes.barh(places, np.nan_to_num(iou), color=colors, edgecolor="0.3", linewidth=0.6)
    if intervals is not None:
        _draw_whiskers(axes, places, intervals)
    size = 6 if is_crowded else 9
    axes.set_yticks(places, [plain_text(name, 32) for name in labels.names], fontsize=size)
    axes.set(xlim=(0, 1), xlabel="IoU", ylim=(labels.num_classes - 0.5, -0.5))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_whiskers(axes, places: np.ndarray, intervals: np.ndarray) -> None:
    low, high = intervals
    known = ~(np.isnan(low) | np.isnan(high))
    middle = (low + high)[known] / 2
    half = (high - low)[known] / 2
    axes.errorbar(middle, places[known], xerr=half, fmt="none", ecolor="black", capsize=2)
