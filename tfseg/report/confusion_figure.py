"""The confusion matrix as a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tfseg.report.figures import CHARACTER_EMS, plain_text

_MAX_ANNOTATED_CLASSES = 20


def draw_confusion_matrix(confusion: np.ndarray, class_names: Sequence[str]):
    """Draws which classes were predicted for the pixels of each true class, in percent.

    Up to 20 classes have numbers in their cells. A class without pixels has a gray row.

    Args:
        confusion: Pixel counts, int64 `[num_classes, num_classes]`; rows are the true classes,
            columns the predicted ones.
        class_names: `num_classes` names.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: The matrix is not square or does not match the names.
    """
    num_classes = len(class_names)
    if np.shape(confusion) != (num_classes, num_classes):
        raise ValueError(
            f"the confusion matrix of {num_classes} classes must have shape "
            f"[{num_classes}, {num_classes}], received {list(np.shape(confusion))}"
        )
    import matplotlib

    pixels = np.asarray(confusion, np.float64)
    totals = pixels.sum(axis=1, keepdims=True)
    percent = 100 * np.divide(pixels, totals, out=np.full_like(pixels, np.nan), where=totals > 0)
    annotated = num_classes <= _MAX_ANNOTATED_CLASSES
    axes = _matrix_axes(
        [plain_text(name, 24) for name in class_names], room=0.5 if annotated else 1.6
    )
    cmap = matplotlib.colormaps["Blues"].with_extremes(bad="0.85")
    picture = axes.imshow(percent, cmap=cmap, vmin=0, vmax=100)
    axes.set(xlabel="prediction", ylabel="truth")
    axes.set_title("percent of each true class", fontsize=10)
    if annotated:
        _annotate(axes, percent)
    else:
        axes.figure.colorbar(picture, shrink=0.6)
    return axes.figure


def _matrix_axes(names: Sequence[str], room: float):
    """Returns axes for a matrix with named rows and columns, with `room` inches to its right."""
    from matplotlib.figure import Figure

    num_classes = len(names)
    side = float(np.clip(0.5 * num_classes, 2.8, np.clip(0.11 * num_classes, 10, 18)))
    points = float(np.clip(54 * side / num_classes, 4, 9))
    name_inches = points / 72 * CHARACTER_EMS * max(map(len, names))
    horizontal = name_inches < 0.9 * side / num_classes
    height = side + (0.2 if horizontal else name_inches) + 0.7
    figure = Figure(figsize=(side + name_inches + room, height), layout="constrained")
    axes = figure.add_subplot()
    step = math.ceil(num_classes / 180)  # beyond 180 names, neighbours would overlap
    ticks = range(0, num_classes, step)
    axes.set_xticks(ticks, names[::step], fontsize=points, rotation=0 if horizontal else 90)
    axes.set_yticks(ticks, names[::step], fontsize=points)
    return axes


def _annotate(axes, percent: np.ndarray):
    for (row, column), value in np.ndenumerate(percent):
        if value >= 0.5:
            color = "white" if value > 60 else "black"
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", color=color, fontsize=9
            )
