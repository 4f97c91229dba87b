"""The report of a run: one page with metrics, classes, pictures and what the run was.

The page is `templates/report.html`, filled in by Jinja. Its pictures are part of it, so that one
file can be sent on; they also lie beside it as PNG files.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from tfseg.data.labels import LabelSpec
from tfseg.files import write_atomically
from tfseg.report import class_bars, confusion_figure, figures, gallery
from tfseg.report.gallery import Prediction

# File -> heading and explanation of each picture, in the order of the page.
_PICTURES = {
    "curves.png": (
        "Training curves",
        "The dotted line marks the best mean IoU.",
    ),
    "classes.png": ("IoU of each class", "Whiskers, if any, are 95 % intervals over the images."),
    "predictions.png": (
        "Predictions",
        "The line above each row names the image, and its own mean IoU if that is known. In the "
        "last column wrong pixels are dark red and void ones white.",
    ),
    "confusion_matrix.png": (
        "Confusion matrix",
        "Which classes were predicted for the pixels of each true class.",
    ),
}
_CLASS_COLUMNS = {"iou": "IoU", "accuracy": "accuracy", "dice": "Dice"}


@dataclasses.dataclass(frozen=True)
class Content:
    """What a report shows.

    Attributes:
        title: Heading of the page.
        labels: Names, mask values and colours of the classes.
        metrics: Final metrics; `iou_<class>`, `accuracy_<class>` and `dice_<class>` fill the table
            of classes.
        confusion: Pixel counts, int64 `[num_classes, num_classes]`; rows are the true classes,
            columns the predicted ones.
        history: One row per evaluation, as `history.read_history` returns them. May be empty.
        predictions: Examples to show. May be empty.
        iou_intervals: float64 `[2, num_classes]`: lower and upper end of the interval of each
            class's IoU; None if they are not known.
        facts: Tables of what the run was: heading -> name -> text.
    """

    title: str
    labels: LabelSpec
    metrics: Mapping[str, float | str | None]
    confusion: np.ndarray
    history: Sequence[Mapping[str, float]] = ()
    predictions: Sequence[Prediction] = ()
    iou_intervals: np.ndarray | None = None
    facts: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)


def write_report(report_dir: epath.PathLike, content: Content) -> epath.Path:
    """Writes `index.html` and its pictures.

    Each file is written to a temporary name and then renamed. All pictures are drawn before the
    first file is written, so an error in drawing leaves an older report unchanged. Without history
    or predictions there is no `curves.png` or no `predictions.png`.

    Args:
        report_dir: Folder to write to. It is created if it does not exist.
        content: What the report shows.

    Returns:
        The path of `index.html`.

    Raises:
        ValueError: The history, the predictions or the confusion matrix do not fit together.
    """
    pictures = _draw_pictures(content)
    page = _render(content, pictures)
    report_dir = epath.Path(report_dir)
    for name, data in (*pictures.items(), ("index.html", page)):
        write_atomically(report_dir / name, data)
    return report_dir / "index.html"


def _draw_pictures(content: Content) -> dict[str, bytes]:
    """Returns file name -> PNG bytes, in the order of the page."""
    labels = content.labels
    drawn = {}
    if content.history:
        drawn["curves.png"] = figures.draw_training_curves(content.history)
    iou = [content.metrics.get(f"iou_{name}", math.nan) for name in labels.names]
    drawn["classes.png"] = class_bars.draw_class_bars(iou, labels, content.iou_intervals)
    if content.predictions:
        drawn["predictions.png"] = gallery.draw_predictions(content.predictions, labels)
    drawn["confusion_matrix.png"] = confusion_figure.draw_confusion_matrix(
        content.confusion, labels.names
    )
    return {name: figures.encode_figure(figure) for name, figure in drawn.items()}


def _render(content: Content, pictures: Mapping[str, bytes]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfseg.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html").render(
        title=content.title,
        headline=_headline(content.metrics),
        metrics=_overall_metrics(content),
        class_headings=("mask values", *_CLASS_COLUMNS.values(), "95 % interval", "% of pixels"),
        classes=_class_rows(content),
        pictures=[_picture(name, data) for name, data in pictures.items()],
        facts=content.facts,
    )


def _headline(metrics: Mapping[str, float | str | None]) -> str:
    mean_iou, low = metrics.get("mean_iou"), metrics.get("mean_iou_low")
    if mean_iou is None or low is None:
        return ""
    return (
        f"Mean IoU {_number(mean_iou)}, with a 95 % interval over the images of {_number(low)} "
        f"to {_number(metrics['mean_iou_high'])}."
    )


def _overall_metrics(content: Content) -> dict[str, str]:
    names = content.labels.names
    per_class = {f"{kind}_{name}" for name in names for kind in _CLASS_COLUMNS}
    metrics = content.metrics.items()
    return {name: _number(value) for name, value in metrics if name not in per_class}


def _class_rows(content: Content) -> list[dict]:
    labels, confusion = content.labels, np.asarray(content.confusion)
    shares = 100 * confusion.sum(axis=1) / max(int(confusion.sum()), 1)
    return [
        {
            "name": name,
            "color": tuple(map(int, labels.palette[class_id])),
            "cells": [
                _mask_values(labels, class_id),
                *(_number(content.metrics.get(f"{kind}_{name}")) for kind in _CLASS_COLUMNS),
                _interval(content.iou_intervals, class_id),
                f"{shares[class_id]:.2f}",
            ],
        }
        for class_id, name in enumerate(labels.names)
    ]


def _mask_values(labels: LabelSpec, class_id: int) -> str:
    return ", ".join(str(raw) for raw, own in labels.class_of_value.items() if own == class_id)


def _interval(intervals: np.ndarray | None, class_id: int) -> str:
    if intervals is None or np.isnan(intervals[:, class_id]).any():
        return "-"
    return " to ".join(_number(float(end)) for end in intervals[:, class_id])


def _picture(name: str, data: bytes) -> dict[str, str]:
    heading, explanation = _PICTURES[name]
    return {
        "id": name.removesuffix(".png"),
        "heading": heading,
        "explanation": explanation,
        "base64": base64.b64encode(data).decode(),
    }


def _number(value: float | str | None) -> str:
    """Returns a number with four decimals, or a dash if the value is undefined."""
    if isinstance(value, str):
        return value
    if value is None or math.isnan(value):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
