"""Scores a model on a data set: loss and confusion matrix, accumulated batch by batch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfseg import devices
from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.evaluation import augmented_views, image_counts, measures
from tfseg.evaluation.confusion_matrix import ConfusionMatrix
from tfseg.evaluation.mean_iou import summarize_confusion
from tfseg.evaluation.measures import Measures
from tfseg.losses.cross_entropy import cross_entropy_sum
from tfseg.models import padded_upsampling
from tfseg.models.segformer import Segformer
from tfseg.models.upsampled_logits import BAND_ROWS

_BLOCK_PIXELS = 1 << 24  # float32 counts no more of them exactly


class ScoredImages(NamedTuple):
    """The images of one step, in the order of the data set.

    Attributes:
        counts: int64 `[num_images, 3, num_classes]`, see `image_counts.from_confusions`.
        class_maps: Predicted class ids of each image at the size of its mask, unsigned integers
            `[height, width]`; empty if they are not asked for.
    """

    counts: np.ndarray
    class_maps: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Scores:
    """What an evaluation measured.

    Attributes:
        loss: Mean cross-entropy over all pixels that are not void; None for masks alone.
        confusion: Pixel counts, int64 `[num_classes, num_classes]`; rows are the true classes,
            columns the predicted ones.
        num_examples: Number of images that were scored.
    """

    loss: float | None
    confusion: np.ndarray
    num_examples: int

    def metrics(self, class_names: Sequence[str]) -> dict[str, float]:
        """Returns `loss`, if there is one, and the metrics of `mean_iou.summarize_confusion`."""
        loss = {} if self.loss is None else {"loss": self.loss}
        return {**loss, **summarize_confusion(self.confusion, class_names)}


class Evaluator:
    """Scores a model at each mask's own size. The graph is traced once for all calls.

    The logits of each image are resized to the size of its mask before the class is chosen, because
    prediction and serving do the same. The scores therefore describe the masks that users get.

    Batches whose masks have a fixed shape are scored with operations of fixed shape, which GPUs and
    TPUs run as one program that XLA compiles. Batches of other shapes are scored image by image in
    bands of rows, which stay in the cache of a CPU. Both give the same scores.
    """

    def __init__(
        self,
        model: Segformer,
        labels: LabelSpec,
        *,
        per_image: bool = False,
        keeps_maps: bool = False,
        flips: bool = False,
    ):
        """Takes the strategy in whose scope it is built.

        Args:
            model: The SegFormer.
            labels: The data set's classes, in the order of the model's.
            per_image: Whether images are also counted apart, for `evaluate`'s `on_step`.
            keeps_maps: Whether `on_step` gets the class maps too.
            flips: Whether each image is also seen from left to right, see `augmented_views`.
        """
        self._model = model
        self._ignore_index = labels.ignore_index
        self._per_image, self._keeps_maps, self._flips = per_image, keeps_maps, flips
        self._confusion = ConfusionMatrix(
            num_classes=labels.num_classes, ignore_index=labels.ignore_index
        )
        self._map_dtype = image_counts.map_dtype(labels.num_classes)
        # Summed loss, valid pixels and images. float64 counts exactly up to 2**53, float32 only to
        # 2**24.
        self._totals = tf.Variable(
            tf.zeros(3, tf.float64),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        self._strategy = tf.distribute.get_strategy()
        self._step: Callable[..., Any] | None = None

    def evaluate(
        self, batches: tf.data.Dataset, on_step: Callable[[ScoredImages], None] | None = None
    ) -> Scores:
        """Scores every example of the batches once.

        Args:
            batches: From `evaluation_batches.build_evaluation`: images, or one such tensor per
                scale; masks padded with void to the largest mask of the batch, and the size of each
                mask. Under a distribution strategy these are distributed; a replica may get a batch
                of no images.
            on_step: Is called with the images of each step, if the evaluator counts per image. The
                images of several replicas follow one another as in the data set.

        Raises:
            UserError: Every pixel is void, so there is nothing to score.
        """
        self._confusion.reset()
        self._totals.assign(tf.zeros(3, tf.float64))
        # Without a signature, each new size of the masks would give a new graph.
        self._step = self._step or tf.function(
            self._score_on_replicas, input_signature=batches.element_spec
        )
        before = None  # Devices go on with a step while the images of the one before are taken.
        for images, masks, sizes in batches:
            scored = self._step(images, masks, sizes)
            if on_step is not None and before is not None:
                on_step(self._collect(before))
            before = scored
        if on_step is not None and before is not None:
            on_step(self._collect(before))
        loss, num_valid, num_examples = tf.convert_to_tensor(self._totals).numpy()
        if not num_valid:
            raise UserError(image_counts.all_void(int(num_examples)))
        return Scores(float(loss / num_valid), self._confusion.result(), int(num_examples))

    def _collect(self, scored: tuple[Any, ...]) -> ScoredImages:
        """Joins what the replicas give, without the empty examples that fill up batches."""
        counts, class_maps = [], []
        per_replica = [self._strategy.experimental_local_results(part) for part in scored]
        for replica in zip(*per_replica, strict=True):
            sizes, its_counts, *its_maps = (part.numpy() for part in replica)
            counts.append(its_counts[sizes.prod(-1) > 0])
            for maps in its_maps:
                pairs = zip(maps, sizes, strict=True)
                class_maps += [one[:height, :width] for one, (height, width) in pairs if height]
        return ScoredImages(np.concatenate(counts).astype(np.int64), class_maps)

    def _score_on_replicas(self, images: Any, masks: tf.Tensor, sizes: tf.Tensor) -> Any:
        return self._strategy.run(self._score_on_replica, (images, masks, sizes))

    def _score_on_replica(self, images: Any, masks: tf.Tensor, sizes: tf.Tensor) -> Any:
        score = self._score_batch
        if devices.current_form().compiles_loss and masks.shape.is_fully_defined():
            score = tf.function(score, jit_compile=True)
        return score(images, masks, sizes)

    def _score_batch(self, images: Any, masks: tf.Tensor, sizes: tf.Tensor) -> Any:
        counts, loss, num_valid, *class_maps = self.measure(images, masks, sizes)
        self._confusion.add(tf.reduce_sum(counts, 0) if self._per_image else counts)
        num_examples = tf.math.count_nonzero(tf.reduce_prod(sizes, -1))
        self._totals.assign_add(tf.stack([loss, num_valid, tf.cast(num_examples, tf.float64)]))
        if not self._per_image:
            return None
        num_classes = self._confusion.num_classes
        return sizes, image_counts.from_confusions(counts, num_classes), *class_maps

    def measure(
        self, images: tf.Tensor | tuple[tf.Tensor, ...], masks: tf.Tensor, sizes: tf.Tensor
    ) -> Measures:
        """Measures a batch without adding it to the totals; see `evaluate` for the arguments.

        Returns:
            Counts of the confusion matrix, with `per_image` for each image; the summed loss and the
            number of valid pixels; with `keeps_maps` the class maps, padded as the masks are.
        """
        views = augmented_views.quarter_logits(self._model, images, flips=self._flips)
        if all(tensor.shape.is_fully_defined() for tensor in (masks, *views)):
            return self._measure_blocks(views, masks, sizes)
        return self._measure_one_by_one(views, masks, sizes)

    def _measure_blocks(
        self, views: Sequence[tf.Tensor], masks: tf.Tensor, sizes: tf.Tensor
    ) -> Measures:
        """Measures a batch of fixed shape, a block of rows of all images at a time."""
        batch, height, width = masks.shape
        num_held = len(views) * views[0].shape[-1]  # for each pixel
        num_pixels = min(_BLOCK_PIXELS, padded_upsampling.BLOCK_LOGITS // num_held)
        num_rows = max(1, min(height, num_pixels // (batch * width)))
        num_blocks = -(-height // num_rows)
        below = ((0, 0), (0, num_blocks * num_rows - height), (0, 0))
        masks = tf.pad(masks, below, constant_values=self._ignore_index)

        def measure_block(index: tf.Tensor | int) -> Measures:
            first_row = index * num_rows
            block = augmented_views.resize_rows(
                views, sizes, first_row=first_row, num_rows=num_rows, width=width
            )
            block_masks = tf.slice(masks, (0, first_row, 0), (batch, num_rows, width))
            return self._measure_pixels(block_masks, block)

        if num_blocks == 1:
            return measure_block(0)
        blocks = tf.map_fn(measure_block, tf.range(num_blocks), **self._one_by_one(batch))
        sums, class_maps = measures.add_up(blocks)
        return *sums, *(measures.join_rows(maps)[:, :height] for maps in class_maps)

    def _measure_one_by_one(
        self, views: Sequence[tf.Tensor], masks: tf.Tensor, sizes: tf.Tensor
    ) -> Measures:
        def measure_one(index: tf.Tensor) -> Measures:
            height, width = tf.unstack(sizes[index])
            view_of_one = [logits[index, None] for logits in views]
            counts, loss, num_valid, *maps = self._measure_image(
                view_of_one, masks[index, :height, :width]
            )
            beyond = tf.shape(masks)[1:] - sizes[index]
            padding = tf.stack([tf.zeros_like(beyond), beyond], axis=1)
            return counts, loss, num_valid, *(tf.pad(class_map, padding) for class_map in maps)

        # One by one, because the bands of an image already run in parallel.
        indices, options = tf.range(tf.shape(sizes)[0]), self._one_by_one(1, map_rank=2)
        if self._keeps_maps:  # A list of no class maps has no shape in which it could be stacked.
            images = tf.cond(
                tf.size(indices) > 0,
                lambda: tf.map_fn(measure_one, indices, **options),
                lambda: measures.nothing(options["fn_output_signature"]),
            )
        else:
            images = tf.map_fn(measure_one, indices, **options)
        (counts, loss, num_valid), class_maps = measures.add_up(images)
        if self._per_image:
            counts = images[0][:, 0]
        return counts, loss, num_valid, *class_maps

    def _measure_image(self, views: Sequence[tf.Tensor], mask: tf.Tensor) -> Measures:
        """Measures one image at the size of its mask, in bands of rows."""
        below = ((0, BAND_ROWS), (0, 0))  # void below the image, where the last band reaches beyond
        mask_and_void = tf.pad(mask, below, constant_values=self._ignore_index)

        def measure_band(band: tf.Tensor, first_row: tf.Tensor) -> Measures:
            band_mask = mask_and_void[None, first_row : first_row + BAND_ROWS]
            return self._measure_pixels(band_mask, band)

        bands = augmented_views.map_bands(
            measure_band, views, tf.shape(mask), output_signature=self._signature(1)
        )
        sums, class_maps = measures.add_up(bands)
        return *sums, *(measures.join_rows(maps)[0, : tf.shape(mask)[0]] for maps in class_maps)

    def _measure_pixels(self, masks: tf.Tensor, logits: tf.Tensor) -> Measures:
        class_maps = tf.argmax(logits, -1, output_type=tf.int32)
        counts = self._confusion.count(masks, class_maps, per_image=self._per_image)
        totals = cross_entropy_sum(masks, logits, self._ignore_index)
        kept = [tf.cast(class_maps, self._map_dtype)] if self._keeps_maps else []
        return counts, *(tf.cast(total, tf.float64) for total in totals), *kept

    def _signature(self, num_images: int, map_rank: int = 3) -> tuple[tf.TensorSpec, ...]:
        num_counts = self._confusion.num_classes**2 + 1
        counts_shape = [num_images, num_counts] if self._per_image else [num_counts]
        scalar = tf.TensorSpec([], tf.float64)
        maps = [tf.TensorSpec([None] * map_rank, self._map_dtype)] if self._keeps_maps else []
        return tf.TensorSpec(counts_shape, tf.int32), scalar, scalar, *maps

    def _one_by_one(self, num_images: int, map_rank: int = 3) -> dict[str, Any]:
        signature = self._signature(num_images, map_rank)
        return {"fn_output_signature": signature, "parallel_iterations": 1}


def metrics_to_json(metrics: Mapping[str, Any]) -> str:
    """Returns metrics as JSON text. A nan becomes null, because JSON has no nan."""
    return json.dumps(without_nan(metrics), indent=2) + "\n"


def without_nan(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Returns metrics with None in the place of nan."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in metrics.items()
    }
