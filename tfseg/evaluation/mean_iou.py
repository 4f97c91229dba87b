"""Segmentation scores, drawn from a confusion matrix or from masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

# What Hugging Face's `reduce_labels` turns label 0 into, whatever the ignore index is.
REDUCED_BACKGROUND = 255


def summarize_confusion(
    confusion: np.ndarray, class_names: Sequence[str] | None = None
) -> dict[str, float]:
    """Draws the usual figures from a confusion matrix, by the rules of `compute_mean_iou`.

    Args:
        confusion: Counts, integer `[num_classes, num_classes]`; rows are the truth.
        class_names: Name of each class; None: "0", "1", ...

    Returns:
        `mean_iou`, `mean_accuracy`, `overall_accuracy`, then `iou_<class>` of every class and
        `accuracy_<class>` of every class, all 0..1. Intersection over union is nan for a class
        that is neither true nor predicted, accuracy for one that is never true; the means leave
        nan out, and are nan when nothing was counted.

    Raises:
        ValueError: The matrix is not square, or the number of names differs.
    """
    confusion, class_names = _check_confusion(confusion, class_names)
    scores = _score(confusion, len(class_names))
    means = ("mean_iou", "mean_accuracy", "overall_accuracy")
    summary = {key: float(scores[key]) for key in means}
    for figure in ("iou", "accuracy"):
        per_category = zip(class_names, scores[f"per_category_{figure}"], strict=True)
        summary |= {f"{figure}_{class_name}": float(score) for class_name, score in per_category}
    return summary


def format_class_table(confusion: np.ndarray, class_names: Sequence[str] | None = None) -> str:
    """Lays the figures of each class out as an aligned plain-text table, in percent.

    Args:
        confusion: Counts, integer `[num_classes, num_classes]`; rows are the truth.
        class_names: Name of each class; None: "0", "1", ...

    Returns:
        A line for each class: intersection over union, accuracy, share of the true pixels; "-"
        where a figure does not exist. The last line holds the means.

    Raises:
        ValueError: The matrix is not square, or the number of names differs.
    """
    confusion, class_names = _check_confusion(confusion, class_names)
    scores = _score(confusion, len(class_names))
    shares = _divide(confusion.sum(axis=1), confusion.sum())
    columns = (scores["per_category_iou"], scores["per_category_accuracy"], shares)
    rows = [("class", "IoU %", "accuracy %", "pixels %")]
    for class_name, *figures in zip(class_names, *columns, strict=True):
        rows.append((class_name, *map(_format_percent, figures)))
    means = (scores["mean_iou"], scores["mean_accuracy"])
    rows.append(("mean", *map(_format_percent, means), ""))
    return _align(rows)


def compute_mean_iou(
    *,
    predictions: np.ndarray | Sequence[np.ndarray],
    references: np.ndarray | Sequence[np.ndarray],
    num_labels: int,
    ignore_index: int | None,
    reduce_labels: bool = False,
    nan_to_num: float | None = None,
    label_map: Mapping[int, int] | None = None,
) -> dict[str, float | np.ndarray]:
    """Mean intersection over union with the arguments, keys and figures of `evaluate`'s metric.

    https://huggingface.co/spaces/evaluate-metric/mean_iou. Shared with it, and easily missed:

    - Void is read from the references alone; a prediction of `ignore_index` is just wrong.
    - `label_map` comes first, then `reduce_labels`, then `ignore_index`, and all three touch the
      references only: predictions are class ids already.
    - `reduce_labels` makes label 0, and label 255, into 255, whatever `ignore_index` is. So with
      `ignore_index=0` it is the first class that is left out, and not the background.
    - A prediction outside 0..`num_labels - 1` lowers accuracy and adds to no class; a reference
      outside it that is not void adds to the union of the class predicted there.
    - Labels are reduced here, once: masks that a pipeline has reduced already need
      `reduce_labels=False`, or each class moves down by one a second time.

    Different from it (https://github.com/huggingface/evaluate/pull/810 has the first):

    - `label_map` maps every label by its original value and writes to no array of the caller.
      `evaluate` 0.4 fails on it in `compute`; in `_compute` it chains, {0: 1, 1: 2} sending 0
      to 2, and writes into the references.
    - Maps that differ in number or size, or are not integers, are errors; absent classes give
      nan without a warning.

    Args:
        predictions: Class ids, integer: a list of `[height, width]`, sizes may differ, or one
            array `[height, width]` or `[batch, height, width]`.
        references: True labels, integer, of the same sizes.
        num_labels: Number of classes.
        ignore_index: Label of void pixels after mapping and reduction; None: no label is void.
        reduce_labels: Subtract 1 from every reference label, 0 becoming 255.
        nan_to_num: What to put in the place of nan; it does not enter the means.
        label_map: Old reference label -> new one; other labels stay.

    Returns:
        `mean_iou`, `mean_accuracy`, `overall_accuracy`: float64, 0..1 or nan;
        `per_category_iou`, `per_category_accuracy`: float64 `[num_labels]`, nan where a class is
        absent.

    Raises:
        TypeError: A map is not of an integer dtype.
        ValueError: `num_labels` below 1, or numbers or sizes of maps that differ.
    """
    if num_labels < 1:
        raise ValueError(f"num_labels must be at least 1, received {num_labels}")
    predictions, references = _as_maps(predictions), _as_maps(references)
    if len(predictions) != len(references):
        raise ValueError(
            f"received {len(predictions)} predictions for {len(references)} references"
        )
    confusion = np.zeros([num_labels + 1, num_labels + 1], np.int64)
    for prediction, reference in zip(predictions, references, strict=True):
        prediction, reference = _integer_pair(prediction, reference)
        reference = _relabel(reference, label_map or {}, reduce_labels)
        counted = reference != ignore_index
        confusion += _count_pairs(reference[counted], prediction[counted], num_labels)
    scores = _score(confusion, num_labels)
    if nan_to_num is None:
        return scores
    return {key: np.nan_to_num(score, nan=nan_to_num) for key, score in scores.items()}


def _as_maps(maps) -> list:
    if hasattr(maps, "shape"):
        maps = np.asarray(maps)
        return list(maps) if maps.ndim > 2 else [maps]
    return list(maps)


def _integer_pair(prediction, reference) -> tuple[np.ndarray, np.ndarray]:
    """Both as int64 copies, so that no index overflows and no caller's array changes."""
    prediction, reference = np.asarray(prediction), np.asarray(reference)
    for argument, array in (("predictions", prediction), ("references", reference)):
        if array.dtype.kind not in "iub":
            raise TypeError(f"{argument} must be integer class ids, received {array.dtype}")
    if prediction.shape != reference.shape:
        raise ValueError(
            f"a prediction of shape {list(prediction.shape)} does not match its reference of shape "
            f"{list(reference.shape)}"
        )
    return prediction.astype(np.int64), reference.astype(np.int64)


def _relabel(reference: np.ndarray, label_map: Mapping[int, int], reduce_labels: bool):
    relabelled = reference.copy()
    for old_label, new_label in label_map.items():
        relabelled[reference == old_label] = new_label
    if not reduce_labels:
        return relabelled
    background = (relabelled == 0) | (relabelled == REDUCED_BACKGROUND)
    return np.where(background, REDUCED_BACKGROUND, relabelled - 1)


def _count_pairs(truth: np.ndarray, prediction: np.ndarray, num_labels: int) -> np.ndarray:
    """Confusion matrix `[num_labels + 1, num_labels + 1]`; the last entry is any other value."""
    size = num_labels + 1
    truth, prediction = (
        np.where((labels >= 0) & (labels < num_labels), labels, num_labels)
        for labels in (truth, prediction)
    )
    return np.bincount(truth * size + prediction, minlength=size**2).reshape(size, size)


def _score(confusion: np.ndarray, num_classes: int) -> dict[str, float | np.ndarray]:
    """Scores the first `num_classes` classes of a matrix that may hold further ones."""
    intersection = np.diag(confusion)[:num_classes]
    truth = confusion[:num_classes].sum(axis=1)
    prediction = confusion[:, :num_classes].sum(axis=0)
    iou = _divide(intersection, truth + prediction - intersection)
    accuracy = _divide(intersection, truth)
    return {
        "mean_iou": _mean_of_present(iou),
        "mean_accuracy": _mean_of_present(accuracy),
        "overall_accuracy": _divide(intersection.sum(), truth.sum()),
        "per_category_iou": iou,
        "per_category_accuracy": accuracy,
    }


def _divide(numerator, denominator):
    with np.errstate(invalid="ignore"):
        return np.true_divide(numerator, denominator)


def _mean_of_present(scores: np.ndarray) -> float:
    return _divide(np.nansum(scores), np.count_nonzero(~np.isnan(scores)))


def _check_confusion(confusion, class_names) -> tuple[np.ndarray, list[str]]:
    confusion = np.asarray(confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"a confusion matrix is square, received shape {list(confusion.shape)}")
    if class_names is None:
        class_names = [str(class_id) for class_id in range(len(confusion))]
    if len(class_names) != len(confusion):
        raise ValueError(
            f"received {len(class_names)} class names for a confusion matrix of {len(confusion)}"
        )
    return confusion, list(class_names)


def _format_percent(fraction: float) -> str:
    return "-" if np.isnan(fraction) else f"{100 * fraction:.2f}"


def _align(rows: Sequence[Sequence[str]]) -> str:
    """First column to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *figures in rows:
        cells = [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)
