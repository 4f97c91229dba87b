"""From a configuration to batches: read top-down.

load_examples    source -> {"image", "mask" (class ids), "name"}
build_training   cache -> [an epoch: shuffle -> augment -> batch] -> repeat -> prefetch
build_evaluation resize the image, keep the mask at its own size -> batch with remainder
"""

from __future__ import annotations

import functools
import logging

import tensorflow as tf

from tfseg.config.sections import DataConfig, TrainDataConfig
from tfseg.data import augmentation, catalog, masks, transforms
from tfseg.data.catalog import DatasetSpec
from tfseg.data.labels import LabelSpec
from tfseg.data.transforms import Preprocessing
from tfseg.errors import UserError

_logger = logging.getLogger(__name__)
Example = dict[str, tf.Tensor]

CACHE_LIMIT_BYTES = 2 << 30  # "auto" keeps decoded examples in memory up to here.
# Most decoded examples in the shuffle buffer where they are not cached. Cached ones are
# references, so the whole split is shuffled.
UNCACHED_SHUFFLE_BUFFER = 1000


def get_spec(data: DataConfig) -> DatasetSpec:
    """Returns the facts about the configured data set.

    Raises:
        UserError: See `catalog.get_dataset_spec`.
    """
    return catalog.get_dataset_spec(
        data.dataset,
        id2label=data.id2label,
        ignore_index=data.ignore_index,
        reduce_labels=data.reduce_labels,
        strict_labels=data.strict_labels,
    )


def versioned_name(data: DataConfig, spec: DatasetSpec) -> str:
    """Returns the data set's name, with the version that was read where it has versions."""
    if spec.source != "tfds":
        return spec.name
    from tfseg.data.sources import tfds

    return tfds.resolved_name(spec.path, data.data_dir)


def load_examples(
    spec: DatasetSpec, config: DataConfig, split: str, max_examples: int | None
) -> tf.data.Dataset:
    """Loads a split as examples with class ids.

    Args:
        spec: The data set.
        config: Where it lies and which keys it has.
        split: Split in the source's own syntax.
        max_examples: Use the first so many.

    Returns:
        A data set of known cardinality: `image` uint8 `[height, width, 3]`, `mask` int32
        `[height, width]` of class ids and the ignore index, `name` string.

    Raises:
        UserError: The split cannot be read; see the sources.
    """
    examples = _load_source(spec, config, split, max_examples)
    check = functools.partial(_check_example, labels=spec.labels)
    examples = examples.map(check, num_parallel_calls=tf.data.AUTOTUNE)
    if config.on_bad_example == "skip" and spec.source == "tfds":
        examples = _skip_bad(examples)
    return examples


def _load_source(
    spec: DatasetSpec, config: DataConfig, split: str, max_examples: int | None
) -> tf.data.Dataset:
    if spec.source == "folder":
        from tfseg.data.sources import folder

        return folder.load(
            spec.path,
            split,
            spec.labels,
            max_examples=max_examples,
            on_bad_example=config.on_bad_example,
        )
    if spec.source == "shapes":
        from tfseg.data.sources import shapes

        examples = shapes.load(split, data_dir=config.data_dir)
        return examples if max_examples is None else examples.take(max_examples)
    keys = {
        "image_key": config.image_key or spec.image_key,
        "mask_key": config.mask_key or spec.mask_key,
        "max_examples": max_examples,
    }
    if spec.source == "tfds":
        from tfseg.data.sources import tfds

        return tfds.load(spec.path, split, data_dir=config.data_dir, **keys)
    from tfseg.data.sources import huggingface

    return huggingface.load(
        spec.path, split, spec.labels, on_bad_example=config.on_bad_example, **keys
    )


def _skip_bad(examples: tf.data.Dataset) -> tf.data.Dataset:
    """Reads everything once to count what is left without the examples that fail."""
    readable = examples.ignore_errors(log_warning=True)
    total = int(examples.cardinality())
    count = sum(1 for _ in readable)
    if count < total:
        _logger.warning("skipped %d of %d examples", total - count, total)
    return readable.apply(tf.data.experimental.assert_cardinality(count))


def _check_example(example: Example, labels: LabelSpec) -> Example:
    """Maps the mask to class ids; stops at a mask that does not fit its image."""
    image, mask = example["image"], tf.cast(example["mask"], tf.int32)
    tf.debugging.assert_equal(
        tf.shape(image)[:2],
        tf.shape(mask),
        tf.strings.join(["bad example ", example["name"], ": mask and image differ in size"]),
    )
    if labels.strict:
        known = tf.constant(labels.known_values)
        tf.debugging.assert_equal(
            tf.reduce_any(mask[..., None] == known, -1),
            True,
            tf.strings.join(["bad example ", example["name"], ": a mask value without a name"]),
        )
    return {**example, "mask": masks.map_mask_values(mask, labels)}


def count_examples(examples: tf.data.Dataset) -> int:
    """Returns the number of examples.

    Raises:
        UserError: There is none.
    """
    count = int(examples.cardinality())
    if count < 1:
        raise UserError("the split holds no example; set --train_split and --eval_split")
    return count


def count_batches(examples: tf.data.Dataset, batch_size: int) -> int:
    """Returns the number of whole batches in an epoch.

    Raises:
        UserError: A batch takes more examples than there are.
    """
    count = count_examples(examples)
    if batch_size > count:
        raise UserError(
            f"--train_batch_size={batch_size} is larger than the {count} training examples"
        )
    return count // batch_size


def build_training(
    examples: tf.data.Dataset,
    config: TrainDataConfig,
    preprocessing: Preprocessing,
    labels: LabelSpec,
    *,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Builds endless training batches.

    Order and augmentation of an epoch depend on `seed` and the epoch's number alone, so a run
    resumed at `first_epoch` sees the batches that the uninterrupted run would have seen. An
    epoch drops the rest that fills no batch, another rest each time.

    Args:
        examples: From `load_examples`.
        config: Cache, crops and augmentation.
        preprocessing: The model's.
        labels: The data set's classes.
        batch_size: Examples in a batch.
        seed: Seed of order and augmentation.
        first_epoch: Epoch to start with.

    Returns:
        `(images, masks)`: float32 `[batch, height, width, 3]` normalised, int32
        `[batch, height, width]`.

    Raises:
        UserError: A batch takes more examples than there are.
    """
    count_batches(examples, batch_size)
    count = count_examples(examples)
    examples, is_cached = cache_examples(examples, config.cache)
    buffer_size = count if is_cached else _uncached_buffer(examples)
    prepare = functools.partial(
        _prepare_training, config=config, preprocessing=preprocessing, labels=labels
    )

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        # The seed of this function's own graph: the order then depends on nothing outside, and
        # `shuffle` cannot compare a seed that is a tensor with a global seed of 0.
        tf.random.set_seed(1)
        order_seed = seed + epoch * 1_000_003  # a prime: seeds of two runs do not meet
        shuffled = examples.shuffle(buffer_size, order_seed, reshuffle_each_iteration=False)

        def augment_one(index: tf.Tensor, example: Example) -> tuple[tf.Tensor, tf.Tensor]:
            return prepare(example, tf.stack([tf.cast(order_seed, tf.int64), index]))

        augmented = shuffled.enumerate().map(augment_one, num_parallel_calls=tf.data.AUTOTUNE)
        return augmented.batch(batch_size, drop_remainder=True)

    epochs = tf.data.Dataset.range(first_epoch, 1 << 40)
    return epochs.flat_map(epoch_batches).prefetch(tf.data.AUTOTUNE)


def cache_examples(examples: tf.data.Dataset, cache: str) -> tuple[tf.data.Dataset, bool]:
    """Keeps decoded examples in memory, for splits that are read more than once.

    Args:
        examples: From `load_examples`.
        cache: `memory`, `none`, or `auto`: up to `CACHE_LIMIT_BYTES`.

    Returns:
        The examples without their names, and whether they are cached.
    """
    examples = examples.map(lambda example: {key: example[key] for key in ("image", "mask")})
    if cache == "none" or (cache == "auto" and _decoded_bytes(examples) > CACHE_LIMIT_BYTES):
        return examples, False
    return examples.cache(), True


def _uncached_buffer(examples: tf.data.Dataset) -> int:
    """Examples to shuffle where they are not cached: what fits in the cache's limit."""
    count = count_examples(examples)
    fitting = int(count * CACHE_LIMIT_BYTES / _decoded_bytes(examples))
    return max(1, min(count, fitting, UNCACHED_SHUFFLE_BUFFER))


def _decoded_bytes(examples: tf.data.Dataset, sample_size: int = 8) -> float:
    """Estimates what all examples take in memory from the first ones."""
    sizes = [
        sum(value.size * value.itemsize for value in example.values())
        for example in examples.take(sample_size).as_numpy_iterator()
    ]
    return count_examples(examples) * sum(sizes) / len(sizes)


def _prepare_training(
    example: Example,
    seed: tf.Tensor,
    config: TrainDataConfig,
    preprocessing: Preprocessing,
    labels: LabelSpec,
) -> tuple[tf.Tensor, tf.Tensor]:
    if config.augmentation in ("none", "flip"):
        image = preprocessing(example["image"])
        mask = masks.resize_mask(example["mask"], preprocessing.image_size)
        flips = config.augmentation == "flip"
        return augmentation.random_flip(image, mask, seed) if flips else (image, mask)
    image, mask = augmentation.augment(
        transforms.to_unit_range(example["image"]),
        example["mask"],
        seed,
        base_size=preprocessing.image_size,
        crop_size=config.crop_size or preprocessing.image_size,
        random_scale=config.random_scale,
        ignore_index=labels.ignore_index,
        brightness=config.brightness,
        contrast=config.contrast,
        saturation=config.saturation,
        hue=config.hue,
    )
    if config.augmentation == "rand_augment":
        image = augmentation.rand_augment(image)
    image = preprocessing.normalize(image)
    # Beyond the image the model sees the mean colour, as with zero padding.
    return tf.where(tf.math.is_nan(image), 0.0, image), mask


def build_evaluation(
    examples: tf.data.Dataset, preprocessing: Preprocessing, labels: LabelSpec, *, batch_size: int
) -> tf.data.Dataset:
    """Builds one pass over every example, the remainder included, masks at their own size.

    Args:
        examples: From `load_examples`.
        preprocessing: The model's.
        labels: The data set's classes.
        batch_size: Largest number of examples in a batch.

    Returns:
        `(images, masks, sizes)`: float32 `[batch, height, width, 3]` normalised; int32
        `[batch, largest height, largest width]`, padded with the ignore index; int32
        `[batch, 2]`, height and width of each mask.
    """
    image_size = preprocessing.image_size

    def prepare(example: Example) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        image = tf.ensure_shape(preprocessing(example["image"]), (*image_size, 3))
        return image, example["mask"], tf.shape(example["mask"])

    return (
        examples.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        .padded_batch(
            batch_size,
            padded_shapes=((*image_size, 3), (None, None), (2,)),
            padding_values=(0.0, labels.ignore_index, 0),
        )
        .prefetch(tf.data.AUTOTUNE)
    )
