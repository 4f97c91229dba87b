"""From examples to evaluation batches.

build_evaluation  share -> decode -> resize the images, keep the masks at their own size -> batch
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from tfseg import devices
from tfseg.config.defaults import SIZE_MULTIPLE
from tfseg.data import caching
from tfseg.data.labels import LabelSpec
from tfseg.data.pipeline import EVERYTHING, Example
from tfseg.data.split import Split
from tfseg.data.transforms import Preprocessing


def build_evaluation(
    split: Split,
    preprocessing: Preprocessing,
    labels: LabelSpec,
    *,
    batch_size: int,
    cache: str = "none",
    mask_size: tuple[int, int] | None = None,
    share: tf.distribute.InputContext = EVERYTHING,
    scales: Sequence[float] = (),
) -> tf.data.Dataset:
    """Builds one pass over every example, with masks at their own size.

    Args:
        split: The examples.
        preprocessing: The model's.
        labels: The data set's classes.
        batch_size: Number of examples per batch, over all replicas; the last batch may hold fewer.
        cache: See `caching.cache_examples`, for a split that is evaluated more than once.
        mask_size: (height, width) to which all masks are padded, see `choose_mask_size`. If given,
            all batches have one shape, as XLA needs it, and all pipelines equally many of them:
            examples of size (0, 0) fill up the last ones. By default each batch has its own shape.
        share: Which examples this pipeline yields: one in n, if there are n pipelines. A batch
            holds `batch_size` divided by the number of replicas, rounded up.
        scales: For test-time augmentation, factors of the model's image size. If given, `images` is
            a tuple of one tensor per scale, each resized from the image as it is stored.

    Returns:
        `(images, masks, sizes)`: float32 `[batch, height, width, 3]` normalised; int32
        `[batch, largest height, largest width]`, padded with the ignore index; int32
        `[batch, 2]`, the height and width of each mask in pixels.
    """
    scaled = [_scale(preprocessing, scale) for scale in scales]
    shapes = [(*one.image_size, 3) for one in scaled or [preprocessing]]
    image_shapes = tuple(shapes) if scaled else shapes[0]
    replica_batch_size = -(-batch_size // share.num_replicas_in_sync)
    part = split.records.shard(share.num_input_pipelines, share.input_pipeline_id)
    examples = dataclasses.replace(split, records=part).examples
    if len(part):
        examples, _ = caching.cache_examples(examples, cache, labels)

    def prepare(example: Example) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images = [
            tf.ensure_shape(one(example["image"]), shape)
            for one, shape in zip(scaled or [preprocessing], shapes, strict=True)
        ]
        mask = caching.widen_mask(example)["mask"]
        return tuple(images) if scaled else images[0], mask, tf.shape(mask)

    prepared = examples.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    if mask_size is not None:
        images = tuple(map(tf.zeros, shapes)) if scaled else tf.zeros(shapes[0])
        empty = (images, tf.zeros((0, 0), tf.int32), tf.zeros(2, tf.int32))
        num_missing = _fill_count(split.num_examples, replica_batch_size, share) - len(part)
        prepared = prepared.concatenate(tf.data.Dataset.from_tensors(empty).repeat(num_missing))
    return prepared.padded_batch(
        replica_batch_size,
        padded_shapes=(image_shapes, mask_size or (None, None), (2,)),
        padding_values=((0.0,) * len(scaled) if scaled else 0.0, labels.ignore_index, 0),
        drop_remainder=mask_size is not None,
    ).prefetch(tf.data.AUTOTUNE)


def _scale(preprocessing: Preprocessing, scale: float) -> Preprocessing:
    """Returns a preprocessing to the nearest size that the network takes."""
    height, width = (
        max(1, round(scale * side / SIZE_MULTIPLE)) * SIZE_MULTIPLE
        for side in preprocessing.image_size
    )
    return dataclasses.replace(preprocessing, image_size=(height, width))


def _fill_count(
    num_examples: int, replica_batch_size: int, share: tf.distribute.InputContext
) -> int:
    """Returns how many examples each pipeline yields, if all of their batches are full."""
    num_batches = -(-num_examples // (replica_batch_size * share.num_replicas_in_sync))
    num_replicas = share.num_replicas_in_sync // share.num_input_pipelines
    return num_batches * replica_batch_size * num_replicas


def choose_mask_size(split: Split) -> tuple[int, int] | None:
    """Returns to which (height, width) an evaluation pads its masks.

    It is the largest height and width of the split's masks, for which the split is read once. It
    is None if the devices of the current strategy take batches of any shape.
    """
    if not devices.current_form().fixed_shapes:
        return None
    sizes = split.examples.map(lambda example: tf.shape(example["mask"]))
    largest = sizes.reduce(tf.zeros(2, tf.int32), tf.maximum)
    height, width = largest.numpy().tolist()
    return height, width
