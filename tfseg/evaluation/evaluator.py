"""Scores a model on a data set: loss and confusion matrix, accumulated batch by batch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg import devices
from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.evaluation.confusion_matrix import ConfusionMatrix
from tfseg.evaluation.mean_iou import summarize_confusion
from tfseg.losses.cross_entropy import cross_entropy_sum
from tfseg.models import padded_upsampling
from tfseg.models.segformer import Segformer
from tfseg.models.upsampled_logits import BAND_ROWS, map_bands

# Counts of the confusion matrix, int32; summed loss and number of valid pixels, which float64 sums
# without losing digits.
Measures = tuple[tf.Tensor, tf.Tensor, tf.Tensor]

_BLOCK_PIXELS = 1 << 24  # float32 counts no more of them exactly


@dataclasses.dataclass(frozen=True)
class Scores:
    """What an evaluation measured.

    Attributes:
        loss: Mean cross-entropy over all pixels that are not void.
        confusion: Pixel counts, int64 `[num_classes, num_classes]`; rows are the true classes,
            columns the predicted ones.
        num_examples: Number of images that were scored.
    """

    loss: float
    confusion: np.ndarray
    num_examples: int

    def metrics(self, class_names: Sequence[str]) -> dict[str, float]:
        """Returns `loss` and the metrics of `mean_iou.summarize_confusion`."""
        return {"loss": self.loss, **summarize_confusion(self.confusion, class_names)}


class Evaluator:
    """Scores a model at each mask's own size. The graph is traced once for all calls.

    The logits of each image are resized to the size of its mask before the class is chosen, because
    prediction and serving do the same. The scores therefore describe the masks that users get.

    Batches whose masks have a fixed shape are scored with operations of fixed shape, which GPUs and
    TPUs run as one program that XLA compiles. Batches of other shapes are scored image by image in
    bands of rows, which stay in the cache of a CPU. Both give the same scores.
    """

    def __init__(self, model: Segformer, labels: LabelSpec):
        self._model = model
        self._ignore_index = labels.ignore_index
        self._confusion = ConfusionMatrix(
            num_classes=labels.num_classes, ignore_index=labels.ignore_index
        )
        # Summed loss, valid pixels and images. float64 counts exactly up to 2**53, float32 only to
        # 2**24.
        self._totals = tf.Variable(
            tf.zeros(3, tf.float64),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        self._strategy = tf.distribute.get_strategy()
        self._step: Callable[..., None] | None = None

    def evaluate(self, batches: tf.data.Dataset) -> Scores:
        """Scores every example of the batches once.

        Args:
            batches: From `evaluation_batches.build_evaluation`: images, masks padded with void to
                the largest mask of the batch, and the size of each mask. Under a distribution
                strategy these are distributed; a replica may get a batch of no images.

        Raises:
            UserError: Every pixel is void, so there is nothing to score.
        """
        self._confusion.reset()
        self._totals.assign(tf.zeros(3, tf.float64))
        # Without a signature, each new size of the masks would give a new graph.
        self._step = self._step or tf.function(
            self._score_on_replicas, input_signature=batches.element_spec
        )
        for images, masks, sizes in batches:
            self._step(images, masks, sizes)
        loss, num_valid, num_examples = tf.convert_to_tensor(self._totals).numpy()
        if not num_valid:
            raise UserError(
                f"every pixel of the {int(num_examples)} eval examples is void: the masks hold no "
                "value that --id2label or the data set assigns to a class"
            )
        return Scores(float(loss / num_valid), self._confusion.result(), int(num_examples))

    def _score_on_replicas(self, images: tf.Tensor, masks: tf.Tensor, sizes: tf.Tensor) -> None:
        score = self._score_batch
        if devices.current_form().compiles_loss and masks.shape.is_fully_defined():
            score = tf.function(score, jit_compile=True)
        self._strategy.run(score, (images, masks, sizes))

    def _score_batch(self, images: tf.Tensor, masks: tf.Tensor, sizes: tf.Tensor) -> None:
        counts, *totals = self.measure(images, masks, sizes)
        self._confusion.add(counts)
        num_examples = tf.math.count_nonzero(tf.reduce_prod(sizes, -1))
        self._totals.assign_add(tf.stack([*totals, tf.cast(num_examples, tf.float64)]))

    def measure(self, images: tf.Tensor, masks: tf.Tensor, sizes: tf.Tensor) -> Measures:
        """Measures a batch without adding it to the totals; see `evaluate` for the arguments.

        Returns:
            Counts of the confusion matrix, the summed loss and the number of valid pixels.
        """
        logits = tf.cast(self._model.quarter_logits(images, training=False), tf.float32)
        if masks.shape.is_fully_defined() and logits.shape.is_fully_defined():
            return self._measure_blocks(logits, masks, sizes)
        return self._measure_one_by_one(logits, masks, sizes)

    def _measure_blocks(self, logits: tf.Tensor, masks: tf.Tensor, sizes: tf.Tensor) -> Measures:
        """Measures a batch of fixed shape, a block of rows of all images at a time."""
        batch, height, width = masks.shape
        num_pixels = min(_BLOCK_PIXELS, padded_upsampling.BLOCK_LOGITS // logits.shape[-1])
        num_rows = max(1, min(height, num_pixels // (batch * width)))
        num_blocks = -(-height // num_rows)
        below = ((0, 0), (0, num_blocks * num_rows - height), (0, 0))
        masks = tf.pad(masks, below, constant_values=self._ignore_index)

        def measure_block(index: tf.Tensor | int) -> Measures:
            first_row = index * num_rows
            block = padded_upsampling.resize_rows(
                logits, sizes, first_row=first_row, num_rows=num_rows, width=width
            )
            block_masks = tf.slice(masks, (0, first_row, 0), (batch, num_rows, width))
            return self._measure_pixels(block_masks, block)

        if num_blocks == 1:
            return measure_block(0)
        return _sum(tf.map_fn(measure_block, tf.range(num_blocks), **self._one_by_one()))

    def _measure_one_by_one(
        self, logits: tf.Tensor, masks: tf.Tensor, sizes: tf.Tensor
    ) -> Measures:
        def measure_one(index: tf.Tensor) -> Measures:
            height, width = tf.unstack(sizes[index])
            return self._measure_image(logits[index], masks[index, :height, :width])

        # One by one, because the bands of an image already run in parallel.
        indices = tf.range(tf.shape(logits)[0])
        return _sum(tf.map_fn(measure_one, indices, **self._one_by_one()))

    def _measure_image(self, logits: tf.Tensor, mask: tf.Tensor) -> Measures:
        """Measures one image at the size of its mask, in bands of rows."""
        below = ((0, BAND_ROWS), (0, 0))  # void below the image, where the last band reaches beyond
        mask_and_void = tf.pad(mask, below, constant_values=self._ignore_index)

        def measure_band(band: tf.Tensor, first_row: tf.Tensor, _) -> Measures:
            band_mask = mask_and_void[None, first_row : first_row + BAND_ROWS]
            return self._measure_pixels(band_mask, band)

        bands = map_bands(
            measure_band, logits[None], tf.shape(mask), output_signature=self._signature()
        )
        return _sum(bands)

    def _measure_pixels(self, masks: tf.Tensor, logits: tf.Tensor) -> Measures:
        counts = self._confusion.count(masks, tf.argmax(logits, -1, output_type=tf.int32))
        totals = cross_entropy_sum(masks, logits, self._ignore_index)
        return counts, *(tf.cast(total, tf.float64) for total in totals)

    def _signature(self) -> tuple[tf.TensorSpec, tf.TensorSpec, tf.TensorSpec]:
        num_counts = self._confusion.num_classes**2 + 1
        scalar = tf.TensorSpec([], tf.float64)
        return tf.TensorSpec([num_counts], tf.int32), scalar, scalar

    def _one_by_one(self) -> dict[str, Any]:
        return {"fn_output_signature": self._signature(), "parallel_iterations": 1}


def _sum(parts: Measures) -> Measures:
    """Adds up the measures of parts, which are stacked."""
    counts, loss, num_valid = (tf.reduce_sum(part, 0) for part in parts)
    return counts, loss, num_valid


def metrics_to_json(metrics: Mapping[str, Any]) -> str:
    """Returns metrics as JSON text. A nan becomes null, because JSON has no nan."""
    clean = {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in metrics.items()
    }
    return json.dumps(clean, indent=2) + "\n"
