"""Mean IoU as a metric of Hugging Face's `evaluate`, for scripts that use `evaluate.load`.

This module imports `evaluate`, which takes seconds; `mean_iou` holds the computation.
"""

from __future__ import annotations

from collections.abc import Mapping

import datasets
import evaluate
import numpy as np

from tfseg.evaluation.label_pairs import LabelPairs
from tfseg.evaluation.mean_iou import as_maps, compute_mean_iou, score_pairs

_DESCRIPTION = "Mean intersection over union of segmentation masks, counted as they are added."
_INPUTS = """
Args:
    predictions: Predicted class ids, integer: a list of `[height, width]` arrays or one array.
    references: True labels, integer, of the same sizes.
    num_labels, ignore_index, reduce_labels, nan_to_num, label_map: For `compute`, see
        `tfseg.evaluation.compute_mean_iou`.
Returns:
    `mean_iou`, `mean_accuracy`, `overall_accuracy`, `per_category_iou`, `per_category_accuracy`.
"""


class MeanIoU(evaluate.Metric):
    """Takes the place of `evaluate.load("mean_iou")`, with its arguments and its results.

    `evaluate` keeps all masks in a file until `compute` reads them back. This metric counts pairs
    of labels as masks are added, so any number of masks take the same memory, at most a few
    megabytes; `compute` then applies `label_map`, `reduce_labels` and `ignore_index` to the counts,
    with the same result. https://huggingface.co/docs/evaluate/package_reference/main_classes

    Args:
        **kwargs: Those of `evaluate.EvaluationModule`. Counts are kept in this process, so
            `num_process` must be 1.

    Raises:
        ValueError: `num_process` is not 1.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        if self.num_process != 1:
            raise ValueError(
                f"num_process={self.num_process}: MeanIoU counts in one process; gather the masks "
                "of all processes first, or use num_process=1"
            )
        self._pairs = LabelPairs()

    def __len__(self) -> int:
        """Returns the number of masks that were added since the last `compute`."""
        return self._pairs.num_images

    def _info(self) -> evaluate.MetricInfo:
        sides = {"predictions": datasets.Image(), "references": datasets.Image()}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(sides),
        )

    def add(self, *, prediction=None, reference=None, predictions=None, references=None) -> None:
        """Counts the pixels of one mask, `[height, width]`.

        `evaluate.combine` and its guides call the arguments by their plural names.
        """
        self._pairs.add(
            prediction if predictions is None else predictions,
            reference if references is None else references,
        )

    def add_batch(self, *, predictions=None, references=None) -> None:
        """Counts the pixels of several masks.

        Raises:
            TypeError: A mask does not hold integers.
            ValueError: The masks differ in number or size; those before it are counted.
        """
        predictions, references = as_maps(predictions), as_maps(references)
        if len(predictions) != len(references):
            raise ValueError(
                f"received {len(predictions)} predictions for {len(references)} references"
            )
        for prediction, reference in zip(predictions, references, strict=True):
            self._pairs.add(prediction, reference)

    def compute(
        self,
        *,
        predictions=None,
        references=None,
        num_labels: int,
        ignore_index: int | None,
        nan_to_num: float | None = None,
        label_map: Mapping[int, int] | None = None,
        reduce_labels: bool = False,
    ) -> dict[str, float | np.ndarray]:
        """Scores all masks that were added, and starts anew.

        Args:
            predictions: More masks, which are added first; or None.
            references: Their true labels, or None.
            num_labels: Number of classes.
            ignore_index: See `compute_mean_iou`.
            nan_to_num: See `compute_mean_iou`.
            label_map: See `compute_mean_iou`.
            reduce_labels: See `compute_mean_iou`.

        Returns:
            See `compute_mean_iou`.

        Raises:
            ValueError: No mask was added.
        """
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references)
        if not len(self):
            raise ValueError("no mask was added: call add_batch first, or pass both sides here")
        pairs, self._pairs = self._pairs, LabelPairs()
        return score_pairs(
            pairs,
            num_labels=num_labels,
            ignore_index=ignore_index,
            nan_to_num=nan_to_num,
            label_map=label_map,
            reduce_labels=reduce_labels,
        )

    def _compute(self, *, predictions, references, **kwargs) -> dict[str, float | np.ndarray]:
        """Scores these masks alone; the guides call it to go round the file of `evaluate`."""
        return compute_mean_iou(predictions=predictions, references=references, **kwargs)
