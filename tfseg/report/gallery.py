"""Predictions as a figure: each example's image, truth, prediction and errors side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfseg.data.labels import LabelSpec
from tfseg.report.figures import CHARACTER_EMS, plain_text
from tfseg.report.visualization import VOID_COLOR, check_same_size, colorize

_HEADINGS = ("image", "truth", "prediction", "errors")
_PANEL_INCHES = 2.7
_GAP_INCHES = 0.12
_LINE_INCHES = 0.22  # height of a line of text of 10 points
# Right, wrong, void. They differ in brightness, so nobody needs to see their hue.
_ERROR_COLORS = ((222, 222, 222), (160, 20, 40), (255, 255, 255))


class Prediction(NamedTuple):
    """An example and what a model predicts for it.

    Attributes:
        image: uint8 `[height, width, 3]`, RGB, 0..255.
        mask: True class ids and the ignore index, integer `[height, width]`.
        class_map: Predicted class ids, integer `[height, width]`.
        caption: A line above the pictures; may be empty.
    """

    image: np.ndarray
    mask: np.ndarray
    class_map: np.ndarray
    caption: str = ""


def draw_predictions(predictions: Sequence[Prediction], labels: LabelSpec):
    """Draws one row per example; a legend below the rows names the classes that occur.

    Args:
        predictions: The examples, whose sizes may differ.
        labels: Names and colours of the classes.

    Returns:
        A `matplotlib.figure.Figure` with four axes per example, row by row, and one legend.

    Raises:
        ValueError: There is no example, or the image, the mask and the class map of an example
            differ in size.
    """
    _check(predictions)
    from matplotlib.figure import Figure

    width = len(_HEADINGS) * (_PANEL_INCHES + _GAP_INCHES) + _GAP_INCHES
    maps = [each for prediction in predictions for each in (prediction.mask, prediction.class_map)]
    handles, num_columns = _class_legend(maps, labels, width)
    heights = [_PANEL_INCHES * min(len(p.image) / p.image.shape[1], 1.35) for p in predictions]
    legend_height = 0.2 + _LINE_INCHES * math.ceil(len(handles) / num_columns)
    caption_height = _LINE_INCHES + _GAP_INCHES
    bottom = sum(heights) + caption_height * len(predictions) + legend_height
    figure = Figure(figsize=(width, bottom + 1.5 * _LINE_INCHES))
    for index, (prediction, height) in enumerate(zip(predictions, heights, strict=True)):
        bottom -= height + caption_height
        row = _add_row(figure, _panels(prediction, labels), bottom, height)
        row[0].set_title(plain_text(prediction.caption, 110), loc="left", fontsize=10)
        if index == 0:
            _add_headings(figure, row)
    figure.legend(handles=handles, loc="lower center", ncols=num_columns, frameon=False)
    return figure


def draw_errors(mask: np.ndarray, class_map: np.ndarray, labels: LabelSpec) -> np.ndarray:
    """Paints right pixels light gray, wrong ones dark red and void ones white.

    Args:
        mask: True class ids and the ignore index, integer `[height, width]`.
        class_map: Predicted class ids, integer `[height, width]`.
        labels: The classes.

    Returns:
        uint8 `[height, width, 3]`, RGB.
    """
    kinds = np.where(mask == labels.ignore_index, 2, (mask != class_map).astype(int))
    return np.array(_ERROR_COLORS, np.uint8)[kinds]


def _check(predictions: Sequence[Prediction]) -> None:
    if not predictions:
        raise ValueError("a gallery needs at least one prediction, received none")
    for prediction in predictions:
        check_same_size(prediction.image, prediction.mask, "mask")
        check_same_size(prediction.image, prediction.class_map, "class map")


def _panels(prediction: Prediction, labels: LabelSpec) -> list[np.ndarray]:
    image, mask, class_map, _ = prediction
    painted = [colorize(ids, labels.palette) for ids in (mask, class_map)]
    return [image, *painted, draw_errors(mask, class_map, labels)]


def _add_headings(figure, row: list) -> None:
    """Writes above each column what it shows, above the caption of the first row."""
    for axes, heading in zip(row, _HEADINGS, strict=True):
        box = axes.get_position()
        top = 1 - 0.2 * _LINE_INCHES / figure.get_figheight()
        figure.text((box.x0 + box.x1) / 2, top, heading, ha="center", va="top", weight="bold")


def _class_legend(class_maps: Sequence[np.ndarray], labels: LabelSpec, width: float):
    """Returns a legend entry for each class that occurs, and how many fit into `width` inches."""
    from matplotlib.patches import Patch

    present = set().union(*(np.unique(class_map).tolist() for class_map in class_maps))
    entries = [
        (plain_text(name, 32), color)
        for class_id, (name, color) in enumerate(zip(labels.names, labels.palette, strict=True))
        if class_id in present
    ]
    if present - set(range(labels.num_classes)):
        entries.append(("void", VOID_COLOR))
    handles = [
        Patch(facecolor=np.divide(color, 255), edgecolor="0.4", linewidth=0.5, label=name)
        for name, color in entries
    ]
    entry_inches = 0.7 + 10 / 72 * CHARACTER_EMS * max(len(name) for name, _ in entries)
    return handles, min(len(handles), max(1, int(width / entry_inches)))


def _add_row(figure, panels: Sequence[np.ndarray], bottom: float, height: float) -> list:
    """Adds panels side by side, `bottom` inches above the lower edge of the figure."""
    width, total = figure.get_size_inches()
    row = []
    for column, panel in enumerate(panels):
        left = _GAP_INCHES + column * (_PANEL_INCHES + _GAP_INCHES)
        axes = figure.add_axes(
            (left / width, bottom / total, _PANEL_INCHES / width, height / total)
        )
        axes.imshow(panel, interpolation="antialiased" if column == 0 else "nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        row.append(axes)
    return row
