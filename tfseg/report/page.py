"""The report of a run: a page with metrics, training curves, predictions, confusion matrix."""

from __future__ import annotations

import csv
import html
import math
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.files import write_atomically
from tfseg.report import figures

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { padding: .2rem 1rem .2rem 0; text-align: left; border-bottom: 1px solid #8884; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.swatch { display: inline-block; width: .9em; height: .9em; margin-right: .5em;
  border: 1px solid #888; vertical-align: -.1em; }
figure { margin: 1rem 0; }
img { max-width: 100%; background: white; }
"""


def read_history(path: epath.PathLike) -> list[dict[str, float]]:
    """Reads a `history.csv` with a header. An empty field becomes NaN.

    Args:
        path: A local path or any path that `etils.epath` can read, such as `gs://`.

    Returns:
        For each row, column name -> value.

    Raises:
        UserError: A field is not a number, or a row is longer or shorter than the header.
    """
    lines = epath.Path(path).read_text().splitlines()
    header, *rows = list(csv.reader(lines)) or [[]]
    return [_read_row(path, number, header, row) for number, row in enumerate(rows, 2) if row]


def write_report(
    report_dir: epath.PathLike,
    *,
    history_csv_rows: Sequence[Mapping[str, float]],
    gallery: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    confusion: np.ndarray,
    labels: LabelSpec,
    metrics: Mapping[str, float],
    title: str = "Training report",
) -> epath.Path:
    """Writes `index.html` and its figures.

    Each file is written to a temporary name and then renamed. All figures are drawn before the
    first file is written, so an error in drawing leaves an older report unchanged. If the history
    or the gallery is empty, the page has no `curves.png` or no `predictions.png`.

    Args:
        report_dir: Folder to write to. It is created if it does not exist.
        history_csv_rows: One row per evaluation, as `read_history` returns them. May be empty.
        gallery: For each example the image, uint8 `[height, width, 3]`, RGB, and the mask and the
            predicted class map, integer `[height, width]`. May be empty.
        confusion: Pixel counts, int64 `[num_classes, num_classes]`; rows are the true classes,
            columns the predicted ones.
        labels: Names and colours of the classes.
        metrics: Final metrics; `iou_<class>` and `accuracy_<class>` fill the table of classes.
        title: Heading of the page.

    Returns:
        The path of `index.html`.

    Raises:
        ValueError: The functions of `tfseg.report.figures` refuse the history, the gallery or the
            confusion matrix.
    """
    pictures = _draw_pictures(history_csv_rows, gallery, confusion, labels)
    page = _render_page(title, metrics, labels, np.asarray(confusion), pictures)
    report_dir = epath.Path(report_dir)
    for name, content in (*pictures.items(), ("index.html", page)):
        write_atomically(report_dir / name, content)
    return report_dir / "index.html"


def _read_row(path, number: int, header: list[str], row: list[str]) -> dict[str, float]:
    if len(row) != len(header):
        raise UserError(
            f"{path}, line {number}: expected {len(header)} fields as in the header, "
            f"received {len(row)}"
        )
    try:
        return {name: float(field or "nan") for name, field in zip(header, row, strict=True)}
    except ValueError as error:
        raise UserError(f"{path}, line {number}: expected numbers, received {row}") from error


def _draw_pictures(history, gallery, confusion, labels: LabelSpec) -> dict[str, bytes]:
    """Returns file name -> PNG bytes, in the order of the page."""
    drawn = {}
    if history:
        drawn["curves.png"] = figures.draw_training_curves(history)
    if gallery:
        images, masks, class_maps = zip(*gallery, strict=True)
        drawn["predictions.png"] = figures.draw_prediction_gallery(
            images, masks, class_maps, labels
        )
    drawn["confusion_matrix.png"] = figures.draw_confusion_matrix(confusion, labels.names)
    return {name: figures.encode_figure(figure) for name, figure in drawn.items()}


def _render_page(
    title: str,
    metrics: Mapping[str, float],
    labels: LabelSpec,
    confusion: np.ndarray,
    pictures: Mapping[str, bytes],
) -> str:
    captions = {
        "curves.png": "Training curves",
        "predictions.png": "Predictions",
        "confusion_matrix.png": "Confusion matrix",
    }
    sections = "\n".join(
        f'<h2>{captions[name]}</h2>\n<figure><img src="{name}" alt="{captions[name]}"></figure>'
        for name in pictures
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<h2>Final metrics</h2>
{_metrics_table(metrics, labels)}
<h2>Classes</h2>
{_class_table(metrics, labels, confusion)}
{sections}
</body>
</html>
"""


def _metrics_table(metrics: Mapping[str, float], labels: LabelSpec) -> str:
    per_class = {f"{kind}_{name}" for name in labels.names for kind in ("iou", "accuracy", "dice")}
    rows = "\n".join(
        f'<tr><th scope="row">{html.escape(name)}</th>{_number(value)}</tr>'
        for name, value in metrics.items()
        if name not in per_class
    )
    return f"<table>\n{rows}\n</table>"


def _class_table(metrics: Mapping[str, float], labels: LabelSpec, confusion: np.ndarray) -> str:
    shares = 100 * confusion.sum(axis=1) / max(int(confusion.sum()), 1)
    headings = "".join(
        f'<th scope="col" class="number">{heading}</th>'
        for heading in ("IoU", "accuracy", "% of pixels")
    )
    rows = []
    for name, color, share in zip(labels.names, labels.palette, shares, strict=True):
        swatch = f'<span class="swatch" style="background: rgb{tuple(color)}"></span>'
        cells = _number(metrics.get(f"iou_{name}")) + _number(metrics.get(f"accuracy_{name}"))
        rows.append(
            f'<tr><th scope="row">{swatch}{html.escape(name)}</th>{cells}'
            f'<td class="number">{share:.2f}</td></tr>'
        )
    return (
        f'<table>\n<thead><tr><th scope="col">class</th>{headings}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody>\n</table>"
    )


def _number(value: float | str | None) -> str:
    """Returns a table cell with four decimals, or with a dash if the value is undefined."""
    if isinstance(value, str):
        text = html.escape(value)
    elif value is None or math.isnan(value):
        text = "-"
    else:
        text = str(value) if isinstance(value, int) else f"{value:.4f}"
    return f'<td class="number">{text}</td>'
