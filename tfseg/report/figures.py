"""The training curves as a figure, and what all figures of a report share.

The figures are `matplotlib.figure.Figure` objects that are made without pyplot. Drawing therefore
needs no display, is thread-safe and does not change the state of a notebook.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np

# Title of each panel of the training curves -> name of each line -> its column in `history.csv`.
CURVES = {
    "loss": {"train": "loss", "val": "val_loss"},
    "mean IoU": {"val": "val_mean_iou"},
    "learning rate": {"train": "learning_rate"},
}

CHARACTER_EMS = 0.6  # mean width of a letter in DejaVu Sans


def encode_figure(figure, dpi: int = 120) -> bytes:
    """Returns a matplotlib figure, cropped to its content, as PNG bytes.

    Args:
        figure: A `matplotlib.figure.Figure`.
        dpi: Pixels per inch.
    """
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", dpi=dpi, facecolor="white", bbox_inches="tight", pad_inches=0.1
    )
    return buffer.getvalue()


def draw_training_curves(history: Sequence[Mapping] | Mapping[str, Sequence[float]]):
    """Draws loss, mean IoU and learning rate per step or per epoch, and marks the best mean IoU.

    Missing columns and NaN values are left out. `CURVES` lists the columns that are drawn. The x
    axis is the column `step`; without it, the column `epoch`; without both, the number of the
    evaluation.

    Args:
        history: The rows of a `history.csv`, or its columns as in Keras's `History.history`.

    Returns:
        A `matplotlib.figure.Figure` with one axes for each quantity that has values. If none has
        values, it holds a line of text that says so.

    Raises:
        ValueError: The columns differ in length.
    """
    from matplotlib.figure import Figure

    x_name, x, panels = _read_curves(_columns(history))
    figure = Figure(figsize=(0.6 + 4.4 * max(len(panels), 1), 3.8), layout="constrained")
    if not panels:
        figure.text(0.5, 0.5, "no finite value recorded", ha="center", va="center")
        return figure
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, lines) in zip(row, panels.items(), strict=True):
        _draw_lines(axes, x, lines)
        axes.set(title=title, xlabel=x_name)
    if "mean IoU" in panels:
        _mark_best(figure, x_name, x, panels["mean IoU"]["val"])
    return figure


def plain_text(name: str, max_length: int) -> str:
    """Returns a text on one line, shortened; matplotlib would read dollar signs as formulas."""
    name = " ".join(name.split())
    name = name if len(name) <= max_length else name[: max_length - 1] + "…"
    return name.replace("$", r"\$")


def _columns(history: Sequence[Mapping] | Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
    """Returns a history as float64 columns, with NaN where a row has no finite value."""
    if not isinstance(history, Mapping):
        names = dict.fromkeys(name for row in history for name in row)
        history = {name: [row.get(name, math.nan) for row in history] for name in names}
    lengths = {name: len(values) for name, values in history.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"a history needs columns of one length, received {lengths}")
    columns = {name: np.array(values, np.float64) for name, values in history.items()}
    columns = {n: np.where(np.isfinite(c), c, np.nan) for n, c in columns.items()}
    return {name: column for name, column in columns.items() if not np.isnan(column).all()}


def _read_curves(columns: dict[str, np.ndarray]):
    """Returns the name of the x axis, its values, and panel title -> line name -> values."""
    x_name = next((name for name in ("step", "epoch") if name in columns), "evaluation")
    panels = {}
    for title, lines in CURVES.items():
        for line, name in lines.items():
            if name in columns:
                panels.setdefault(title, {})[line] = columns[name]
    num_rows = len(next(iter(columns.values()), ()))
    return x_name, columns.get(x_name, 1.0 + np.arange(num_rows)), panels


def _draw_lines(axes, x: np.ndarray, lines: dict[str, np.ndarray]):
    for name, values in lines.items():
        drawn = ~np.isnan(x + values)
        marker = "o" if drawn.sum() <= 30 else None
        axes.plot(x[drawn], values[drawn], marker=marker, markersize=3.5, label=name)
    if len(lines) > 1:
        axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _mark_best(figure, x_name: str, x: np.ndarray, mean_iou: np.ndarray):
    """Draws a line through every panel at the best mean IoU, and a star in the mean IoU's panel."""
    best = int(np.nanargmax(mean_iou))
    for axes in figure.axes:
        axes.axvline(x[best], color="0.6", linestyle=":", zorder=0)
        if axes.get_title() == "mean IoU":
            axes.plot(x[best], mean_iou[best], "*", color="tab:red", markersize=13)
            axes.set_title(f"mean IoU, best {mean_iou[best]:.3f} at {x_name} {x[best]:g}")
