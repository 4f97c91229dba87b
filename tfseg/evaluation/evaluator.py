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
from tfseg.models.segformer import Segformer
from tfseg.models.upsampled_logits import BAND_ROWS, map_bands, upsample_within


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

    If it is made in the scope of a distribution strategy, all replicas score their parts of the
    batches at the same time, and the scores are those of all parts together. In several processes
    each of them calls `evaluate` and gets the same scores.
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
            batches: From `pipeline.build_evaluation`: images, masks padded with void to the largest
                mask of the batch, and the size of each mask. Under a distribution strategy these
                are distributed; a replica may get a batch of no images.

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
        self._strategy.run(self._score_batch, (images, masks, sizes))

    def _score_batch(self, images: tf.Tensor, masks: tf.Tensor, sizes: tf.Tensor) -> None:
        logits = tf.cast(self._model.quarter_logits(images, training=False), tf.float32)

        def score_one(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            if not devices.current_form().compiles_parts:
                image = logits[index], masks[index], sizes[index]
                class_map, *scores = score_padded_image(*image, self._ignore_index)
                self._confusion.update(masks[index], class_map)
                return tuple(scores)
            height, width = tf.unstack(sizes[index])
            return self._score_image(logits[index], masks[index, :height, :width])

        count = tf.shape(images)[0]
        losses, num_valid = tf.map_fn(
            score_one,
            tf.range(count),
            fn_output_signature=(tf.float32, tf.float32),
            parallel_iterations=1,  # the bands of an image already run in parallel
        )
        totals = [tf.reduce_sum(tf.cast(part, tf.float64)) for part in (losses, num_valid)]
        self._totals.assign_add(tf.stack([*totals, tf.cast(count, tf.float64)]))

    def _score_image(self, logits: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Updates the confusion matrix; returns the summed loss and the number of valid pixels."""
        below = ((0, BAND_ROWS), (0, 0))  # void below the image, where the last band reaches beyond
        mask_and_void = tf.pad(mask, below, constant_values=self._ignore_index)

        def score_band(band: tf.Tensor, first_row: tf.Tensor, _) -> tuple[tf.Tensor, tf.Tensor]:
            band_mask = mask_and_void[None, first_row : first_row + BAND_ROWS]
            self._confusion.update(band_mask, tf.argmax(band, -1, output_type=tf.int32))
            return cross_entropy_sum(band_mask, band, self._ignore_index)

        losses, num_valid = map_bands(
            score_band, logits[None], tf.shape(mask), output_signature=(tf.float32, tf.float32)
        )
        return tf.reduce_sum(losses), tf.reduce_sum(num_valid)


def score_padded_image(
    logits: tf.Tensor, mask: tf.Tensor, size: tf.Tensor, ignore_index: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Scores an image in the fixed shape of its padded mask, all pixels and classes at once.

    Args:
        logits: Floating point `[h, w, num_classes]`.
        mask: int32 `[height, width]`, void beyond `size`.
        size: int32 `[2]`, (height, width) of the mask without its padding.
        ignore_index: Mask value of void pixels.

    Returns:
        The class ids, int32 `[height, width]`; the summed cross-entropy and the number of valid
        pixels, float32 scalars.
    """
    upsampled = upsample_within(logits, size, tuple(tf.unstack(tf.shape(mask))))
    class_map = tf.argmax(upsampled, -1, output_type=tf.int32)
    return class_map, *cross_entropy_sum(mask, upsampled, ignore_index)


def metrics_to_json(metrics: Mapping[str, Any]) -> str:
    """Returns metrics as JSON text. A nan becomes null, because JSON has no nan."""
    clean = {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in metrics.items()
    }
    return json.dumps(clean, indent=2) + "\n"
