"""Segmentation metrics, computed from a confusion matrix or from masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tfseg.evaluation.label_pairs import LabelPairs

# Hugging Face's `reduce_labels` turns label 0 into this value, whatever the ignore index is.
REDUCED_BACKGROUND = 255


def summarize_confusion(
    confusion: np.ndarray, class_names: Sequence[str] | None = None
) -> dict[str, float]:
    """Computes the usual metrics from a confusion matrix, by the rules of `compute_mean_iou`.

    Args:
        confusion: Pixel counts, integer `[num_classes, num_classes]`; rows are the true classes.
        class_names: Name of each class. If None, the names are "0", "1", and so on.

    Returns:
        `mean_iou`, `mean_accuracy`, `overall_accuracy`, `frequency_weighted_iou`, `mean_dice`, then
        `iou_<class>` for every class, then `accuracy_<class>` and `dice_<class>` for every class,
        all in [0, 1]. Dice is the F1 score of the pixels, `2 IoU / (1 + IoU)`. The weight of a
        class in the frequency-weighted mean is its share of the true pixels. IoU and Dice are nan
        for a class that is neither true nor predicted anywhere, and the accuracy is nan for a class
        that is never true. The means leave nan out; they are nan if nothing was counted.

    Raises:
        ValueError: The matrix is not square, or the number of names differs.
    """
    confusion, class_names = _check_confusion(confusion, class_names)
    scores = _score(confusion, len(class_names)) | _score_further(confusion)
    means = ("mean_iou", "mean_accuracy", "overall_accuracy", "frequency_weighted_iou", "mean_dice")
    summary = {key: float(scores[key]) for key in means}
    for metric in ("iou", "accuracy", "dice"):
        per_category = zip(class_names, scores[f"per_category_{metric}"], strict=True)
        summary |= {f"{metric}_{class_name}": float(score) for class_name, score in per_category}
    return summary


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
    """Computes mean intersection over union, with the interface of `evaluate`'s metric.

    https://huggingface.co/spaces/evaluate-metric/mean_iou. It shares these rules with that metric,
    which are easily missed:

    - Only the references decide which pixels are void. A prediction of `ignore_index` is wrong.
    - `label_map` is applied first, then `reduce_labels`, then `ignore_index`. All three apply to
      the references only, because predictions already are class ids.
    - `reduce_labels` turns labels 0 and 255 into 255, whatever `ignore_index` is. With
      `ignore_index=0` it therefore leaves out the first class and not the background.
    - A prediction outside 0..`num_labels - 1` lowers the accuracy of the true class and counts for
      no other class. A reference outside that range which is not void adds to the union of the
      class that is predicted there.
    - Labels are reduced here, once. If a pipeline has reduced the masks already, pass
      `reduce_labels=False`; otherwise every class moves down by one a second time.

    It differs from that metric in two ways (https://github.com/huggingface/evaluate/pull/810
    proposes the first):

    - `label_map` maps every label by its original value and does not change the caller's arrays.
      `evaluate` 0.4 fails on it in `compute`; in `_compute` it applies the entries one after the
      other, so that {0: 1, 1: 2} turns 0 into 2, and it writes into the references.
    - It raises an error if predictions and references differ in number or size or do not hold
      integers. Absent classes give nan without a warning.

    Args:
        predictions: Predicted class ids, integer: a list of `[height, width]` arrays, whose sizes
            may differ, or one array `[height, width]` or `[batch, height, width]`.
        references: True labels, integer, of the same sizes.
        num_labels: Number of classes.
        ignore_index: Label of void pixels after mapping and reduction. If None, no label is void.
        reduce_labels: Whether to subtract 1 from every reference label, with 0 becoming 255.
        nan_to_num: Value that replaces nan in the result. It does not enter the means.
        label_map: Old reference label -> new label. Labels that it does not name stay as they are.

    Returns:
        `mean_iou`, `mean_accuracy` and `overall_accuracy`: float64 in [0, 1], or nan.
        `per_category_iou` and `per_category_accuracy`: float64 `[num_labels]`, nan for absent
        classes.

    Raises:
        TypeError: A prediction or reference does not have an integer dtype.
        ValueError: `num_labels` is below 1, or predictions and references differ in number or size.
    """
    predictions, references = as_maps(predictions), as_maps(references)
    if len(predictions) != len(references):
        raise ValueError(
            f"received {len(predictions)} predictions for {len(references)} references"
        )
    pairs = LabelPairs()
    for prediction, reference in zip(predictions, references, strict=True):
        pairs.add(prediction, reference)
    return score_pairs(
        pairs,
        num_labels=num_labels,
        ignore_index=ignore_index,
        reduce_labels=reduce_labels,
        nan_to_num=nan_to_num,
        label_map=label_map,
    )


def score_pairs(
    pairs: LabelPairs,
    *,
    num_labels: int,
    ignore_index: int | None,
    reduce_labels: bool = False,
    nan_to_num: float | None = None,
    label_map: Mapping[int, int] | None = None,
) -> dict[str, float | np.ndarray]:
    """Computes the metrics of counted labels; see `compute_mean_iou`, whose work this is.

    Raises:
        ValueError: `num_labels` is below 1.
    """
    if num_labels < 1:
        raise ValueError(f"num_labels must be at least 1, received {num_labels}")
    truth, predicted, counts = pairs.counts()
    truth = _relabel(truth, label_map or {}, reduce_labels)
    is_counted = np.full(truth.shape, True) if ignore_index is None else truth != ignore_index
    confusion = _confusion(truth[is_counted], predicted[is_counted], counts[is_counted], num_labels)
    scores = _score(confusion, num_labels)
    if nan_to_num is None:
        return scores
    return {key: np.nan_to_num(score, nan=nan_to_num) for key, score in scores.items()}


def as_maps(maps) -> list:
    """Returns the `[height, width]` arrays of a list, or of an array of two or more axes."""
    if hasattr(maps, "shape"):
        maps = np.asarray(maps)
        return list(maps) if maps.ndim > 2 else [maps]
    return list(maps)


def _relabel(reference: np.ndarray, label_map: Mapping[int, int], reduce_labels: bool):
    relabelled = reference.copy()
    for old_label, new_label in label_map.items():
        relabelled[reference == old_label] = new_label
    if not reduce_labels:
        return relabelled
    background = (relabelled == 0) | (relabelled == REDUCED_BACKGROUND)
    return np.where(background, REDUCED_BACKGROUND, relabelled - 1)


def _confusion(
    truth: np.ndarray, predicted: np.ndarray, counts: np.ndarray, num_labels: int
) -> np.ndarray:
    """Returns int64 `[num_labels + 1, num_labels + 1]`; the last index stands for other labels."""
    truth, predicted = (
        np.where((labels >= 0) & (labels < num_labels), labels, num_labels)
        for labels in (truth, predicted)
    )
    confusion = np.zeros([num_labels + 1, num_labels + 1], np.int64)
    np.add.at(confusion, (truth, predicted), counts)
    return confusion


def _score(confusion: np.ndarray, num_classes: int) -> dict[str, float | np.ndarray]:
    """Computes the metrics of the first `num_classes` classes; the matrix may hold more rows."""
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


def _score_further(confusion: np.ndarray) -> dict[str, float | np.ndarray]:
    """Computes the metrics that `evaluate` does not have."""
    intersection, truth, prediction = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    iou = _divide(intersection, truth + prediction - intersection)
    dice = _divide(2 * intersection, truth + prediction)
    return {
        "frequency_weighted_iou": _divide(np.nansum(truth * iou), truth.sum()),
        "mean_dice": _mean_of_present(dice),
        "per_category_dice": dice,
    }


def _divide(numerator, denominator):
    with np.errstate(invalid="ignore"):
        return np.true_divide(numerator, denominator)


def _mean_of_present(scores: np.ndarray) -> float:
    return _divide(np.nansum(scores), np.count_nonzero(~np.isnan(scores)))


def _check_confusion(confusion, class_names) -> tuple[np.ndarray, list[str]]:
    confusion = np.asarray(confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(
            f"a confusion matrix must be square, received shape {list(confusion.shape)}"
        )
    if class_names is None:
        class_names = [str(class_id) for class_id in range(len(confusion))]
    if len(class_names) != len(confusion):
        raise ValueError(
            f"received {len(class_names)} class names for a confusion matrix of {len(confusion)}"
        )
    return confusion, list(class_names)
