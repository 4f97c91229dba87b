"""The figures of a report: prediction gallery, training curves and confusion matrix.

The figures are `matplotlib.figure.Figure` objects that are made without pyplot. Drawing therefore
needs no display, is thread-safe and does not change the state of a notebook.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np

from tfseg.data.labels import LabelSpec
from tfseg.report.visualization import VOID_COLOR, check_same_size, colorize

# Title of each panel of the training curves -> name of each line -> its column in `history.csv`.
CURVES = {
    "loss": {"train": "loss", "val": "val_loss"},
    "mean IoU": {"val": "val_mean_iou"},
    "learning rate": {"train": "learning_rate"},
}

_MAX_ANNOTATED_CLASSES = 20
_PANEL_INCHES = 3.2
_GAP_INCHES = 0.12
_LINE_INCHES = 0.22  # height of a line in a legend with text of 10 points
_CHARACTER_EMS = 0.6  # mean width of a letter in DejaVu Sans


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


def draw_prediction_gallery(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    class_maps: Sequence[np.ndarray],
    labels: LabelSpec,
):
    """Draws one row per example: the image, the true classes and the prediction.

    A legend below the rows names the classes that occur.

    Args:
        images: For each example the image, uint8 `[height, width, 3]`, RGB, 0..255. Sizes may
            differ between examples.
        masks: For each example the true class ids, integer `[height, width]`; `ignore_index` marks
            void pixels.
        class_maps: For each example the predicted class ids, integer `[height, width]`.
        labels: Names and colours of the classes.

    Returns:
        A `matplotlib.figure.Figure` with three axes per example, row by row, and one legend.

    Raises:
        ValueError: There is no example, the lists differ in length, or the image, the mask and the
            class map of an example differ in size.
    """
    _check_gallery(images, masks, class_maps)
    from matplotlib.figure import Figure

    width = 3 * _PANEL_INCHES + 4 * _GAP_INCHES
    handles, num_columns = _class_legend([*masks, *class_maps], labels, width)
    heights = [_PANEL_INCHES * min(len(image) / image.shape[1], 1.35) for image in images]
    legend_height = 0.2 + _LINE_INCHES * math.ceil(len(handles) / num_columns)
    bottom = sum(heights) + _GAP_INCHES * len(images) + legend_height
    figure = Figure(figsize=(width, bottom + 0.4))
    for index, height in enumerate(heights):
        truth, prediction = (colorize(ids[index], labels.palette) for ids in (masks, class_maps))
        bottom -= height
        row = _add_row(figure, (images[index], truth, prediction), bottom, height)
        bottom -= _GAP_INCHES
        if index == 0:
            for axes, heading in zip(row, ("image", "truth", "prediction"), strict=True):
                axes.set_title(heading)
    figure.legend(handles=handles, loc="lower center", ncols=num_columns, frameon=False)
    return figure


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
    axes = _matrix_axes([_plain(name, 24) for name in class_names], room=0.5 if annotated else 1.6)
    cmap = matplotlib.colormaps["Blues"].with_extremes(bad="0.85")
    picture = axes.imshow(percent, cmap=cmap, vmin=0, vmax=100)
    axes.set(xlabel="prediction", ylabel="truth")
    axes.set_title("percent of each true class", fontsize=10)
    if annotated:
        _annotate(axes, percent)
    else:
        axes.figure.colorbar(picture, shrink=0.6)
    return axes.figure


def _check_gallery(images, masks, class_maps):
    lengths = [len(values) for values in (images, masks, class_maps)]
    if len(images) == 0 or len(set(lengths)) > 1:
        raise ValueError(
            "a gallery needs as many masks and class maps as images, and at least one, "
            f"received {lengths[0]} images, {lengths[1]} masks, {lengths[2]} class maps"
        )
    for image, mask, class_map in zip(images, masks, class_maps, strict=True):
        check_same_size(image, mask, "mask")
        check_same_size(image, class_map, "class map")


def _plain(name: str, max_length: int) -> str:
    """Shortens a name, and escapes dollar signs, which matplotlib reads as formulas."""
    name = name if len(name) <= max_length else name[: max_length - 1] + "…"
    return name.replace("$", r"\$")


def _class_legend(class_maps: Sequence[np.ndarray], labels: LabelSpec, width: float):
    """Returns a legend entry for each class that occurs, and how many fit into `width` inches."""
    from matplotlib.patches import Patch

    present = set().union(*(np.unique(class_map).tolist() for class_map in class_maps))
    entries = [
        (_plain(name, 32), color)
        for class_id, (name, color) in enumerate(zip(labels.names, labels.palette, strict=True))
        if class_id in present
    ]
    if present - set(range(labels.num_classes)):
        entries.append(("void", VOID_COLOR))
    handles = [
        Patch(facecolor=np.divide(color, 255), edgecolor="0.4", linewidth=0.5, label=name)
        for name, color in entries
    ]
    entry_inches = 0.7 + 10 / 72 * _CHARACTER_EMS * max(len(name) for name, _ in entries)
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


def _matrix_axes(names: Sequence[str], room: float):
    """Returns axes for a matrix with named rows and columns, with `room` inches to its right."""
    from matplotlib.figure import Figure

    num_classes = len(names)
    side = float(np.clip(0.5 * num_classes, 2.8, np.clip(0.11 * num_classes, 10, 18)))
    points = float(np.clip(54 * side / num_classes, 4, 9))
    name_inches = points / 72 * _CHARACTER_EMS * max(map(len, names))
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
