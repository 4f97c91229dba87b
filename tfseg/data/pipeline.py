"""From a configuration to batches: read top-down.

load_split       source -> records, which decode to {"image", "mask" (class ids), "name"}
build_training   cache -> [per epoch: shuffle -> share -> decode -> augment -> batch] -> prefetch

`training_examples` augments, and `evaluation_batches` builds the batches of an evaluation.

Several processes that train together each build the same order of records, and take their share of
it before they decode. The share is given as a `tf.distribute.InputContext`, which
`Strategy.distribute_datasets_from_function` makes; by default it is everything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfseg.config.sections import DataConfig
from tfseg.config.train_data_section import TrainDataConfig, factor_range
from tfseg.data import (
    bad_examples,
    caching,
    catalog,
    data_service,
    mosaic,
    training_examples,
)
from tfseg.data.catalog import DatasetSpec
from tfseg.data.labels import LabelSpec
from tfseg.data.slices import Slices
from tfseg.data.split import Part, Split
from tfseg.data.transforms import Preprocessing
from tfseg.errors import UserError

Example = dict[str, tf.Tensor]

EVERYTHING = tf.distribute.InputContext()  # the share of a single process with a single replica


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
        label_map=data.label_map,
        instance_divisor=data.instance_divisor,
        pet_task=data.pet_task,
        data_dir=data.data_dir,
        mask_key=data.mask_key,
        image_suffix=data.image_suffix,
        mask_suffix=data.mask_suffix,
    )


def versioned_name(data: DataConfig, spec: DatasetSpec) -> str:
    """Returns the name that --dataset takes for the version of the data set that is read now.

    It has a version for TFDS alone: `oxford_iiit_pet:4.0.0`, `tfds:my_dataset:1.2.0`. Other names
    stay as they are.
    """
    if spec.source != "tfds":
        return spec.name
    from tfseg.data.sources import tfds

    prefix = spec.name.removesuffix(spec.path)  # "tfds:", or nothing before a catalog name
    return prefix + tfds.resolved_name(spec.path, data.data_dir)


def load_split(
    spec: DatasetSpec,
    config: DataConfig,
    split: str,
    max_examples: int | None,
    *,
    is_held_out: bool = False,
    apply_exif: bool = True,
) -> Split:
    """Opens a split and maps its masks to class ids.

    Args:
        spec: The data set.
        config: Where the data set lies and which keys it has.
        split: Split in the source's own syntax.
        max_examples: Use only the first so many examples; None for all.
        is_held_out: With --eval_fraction, whether the examples for evaluation are read instead of
            those for training.
        apply_exif: Whether JPEG files are turned upright by their EXIF orientation, and masks
            along with them that were drawn on the stored pixels; see `exif`.

    Returns:
        The split. Its masks hold class ids and the ignore index.

    Raises:
        UserError: The split cannot be read, or holds no example; see the sources.
    """
    loaded = _load_source(
        spec, config, split, max_examples, is_held_out, config.on_bad_example, apply_exif
    )
    if not loaded.num_examples:
        raise _no_example(split)
    checked = bad_examples.map_to_classes(loaded, spec.labels)
    if config.on_bad_example == "skip" and spec.source == "tfds":
        checked = bad_examples.skip_bad(checked)
        if not checked.num_examples:
            raise _no_example(split)
    return checked


def open_unchecked(
    spec: DatasetSpec,
    config: DataConfig,
    split: str,
    max_examples: int | None,
    *,
    is_held_out: bool = False,
    apply_exif: bool = True,
) -> Split:
    """Opens a split as `load_split` does, but keeps bad examples and decodes none.

    Its masks hold raw values. A folder and a Hugging Face data set have no digest, because that
    would read them.

    Raises:
        UserError: The split cannot be opened; see the sources.
    """
    return _load_source(spec, config, split, max_examples, is_held_out, "keep", apply_exif)


def _no_example(split: str) -> UserError:
    return UserError(f"split {split} holds no example; set --train_split and --eval_split")


def _load_source(
    spec: DatasetSpec,
    config: DataConfig,
    split: str,
    max_examples: int | None,
    is_held_out: bool,
    on_bad_example: str,
    apply_exif: bool,
) -> Split:
    if spec.source == "shapes":
        from tfseg.data.sources import shapes

        return shapes.load(split, data_dir=config.data_dir, max_examples=max_examples)
    part = Part(config.eval_fraction, is_held_out) if config.eval_fraction else None
    checked = {
        "part": part,
        "max_examples": max_examples,
        "on_bad_example": on_bad_example,
        "apply_exif": apply_exif,
    }
    if spec.source == "folder":
        from tfseg.data.sources import folder

        names = ("image_suffix", "mask_suffix", "segments_info")
        own = {name: getattr(config, name) for name in names}
        return folder.load(spec.path, split, spec.labels, **own, **checked)
    keys = {
        "image_key": config.image_key or spec.image_key,
        "mask_key": config.mask_key or spec.mask_key,
    }
    if spec.source == "huggingface":
        from tfseg.data.sources import huggingface

        source = {"config_name": config.dataset_config, "revision": config.dataset_revision}
        return huggingface.load(spec.path, split, spec.labels, **source, **keys, **checked)
    from tfseg.data.sources import tfds

    options = {
        "data_dir": config.data_dir,
        "object_class": spec.object_class,
        "max_examples": max_examples,
        "apply_exif": apply_exif,
    }
    return tfds.load(spec.path, split, spec.labels, **options, **keys)


def count_batches(num_examples: int, batch_size: int) -> int:
    """Returns the number of whole batches per epoch.

    Raises:
        UserError: One batch needs more examples than there are.
    """
    if batch_size > num_examples:
        raise UserError(
            f"--train_batch_size={batch_size} is larger than the {num_examples} training examples"
        )
    return num_examples // batch_size


def build_training(
    split: Split,
    config: TrainDataConfig,
    preprocessing: Preprocessing,
    labels: LabelSpec,
    *,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    share: tf.distribute.InputContext = EVERYTHING,
) -> tf.data.Dataset:
    """Builds endless training batches.

    Order and augmentation of an epoch depend only on `seed` and on the number of the epoch, so a
    run resumed at `first_epoch` sees the batches that the uninterrupted run would have seen. Each
    epoch drops its incomplete last batch; shuffling varies which examples those are.

    Args:
        split: The examples.
        config: Cache, crops and augmentation.
        preprocessing: The model's.
        labels: The data set's classes.
        batch_size: Number of examples per batch, over all replicas.
        seed: Seed of order and augmentation.
        first_epoch: Number of the first epoch, from 0.
        share: Which slices of every batch this pipeline yields, one after the other. The replicas
            have equal slices, in their order. Only the examples of these slices are augmented, and
            decoded if they are not cached.

    Returns:
        `(images, masks)` of one slice: float32 `[slice, height, width, 3]` normalised, int32
        `[slice, height, width]`.

    Raises:
        UserError: One batch needs more examples than there are.
    """
    num_batches = count_batches(split.num_examples, batch_size)
    records, decode, buffer_size = caching.choose_records(
        split, config.cache, labels, may_cache=config.data_service is None
    )
    options = _training_options(config, preprocessing, labels)
    prepare = functools.partial(_prepare_training, decode=decode, options=options)

    def epoch_batches(epoch: tf.Tensor, slices: Slices) -> tf.data.Dataset:
        # This sets the seed of this function's own graph, so the order does not depend on the
        # global seed. Also, `shuffle` cannot compare a seed that is a tensor with a global seed 0.
        tf.random.set_seed(1)
        order_seed = seed + epoch * 1_000_003  # A prime keeps the seeds of two runs apart.
        order = records.shuffle(buffer_size, order_seed, reshuffle_each_iteration=False)
        order = mosaic.group_records(order) if config.augmentation == "mosaic" else order

        def prepare_one(position: tf.Tensor, record: Any) -> tuple[tf.Tensor, tf.Tensor]:
            return prepare(record, tf.stack([tf.cast(order_seed, tf.int64), position]))

        prepared = slices.take(order, epoch).map(prepare_one, num_parallel_calls=tf.data.AUTOTUNE)
        return prepared.batch(slices.size, drop_remainder=True)

    def build(worker: int, num_workers: int) -> tf.data.Dataset:
        slices = Slices(batch_size, num_batches, first_epoch, share, worker, num_workers)
        epochs = tf.data.Dataset.range(first_epoch, 1 << 40)
        return epochs.flat_map(lambda epoch: epoch_batches(epoch, slices))

    service = config.data_service
    batches = data_service.distribute(build, service) if service else build(0, 1)
    # If the end were not known to be far, several processes would agree at every step that there
    # is another batch.
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return batches.apply(endless).prefetch(tf.data.AUTOTUNE)


def _prepare_training(
    record: Any, seed: tf.Tensor, decode: Callable[[Any], Example], options: dict[str, Any]
) -> tuple[tf.Tensor, tf.Tensor]:
    records = record if options["kind"] == "mosaic" else (record,)
    return training_examples.prepare([decode(each) for each in records], seed, **options)


def _training_options(
    config: TrainDataConfig, preprocessing: Preprocessing, labels: LabelSpec
) -> dict[str, Any]:
    """Returns the arguments of `training_examples.prepare`."""
    return {
        "kind": config.augmentation or "standard",
        "preprocessing": preprocessing,
        "crop_size": config.crop_size or preprocessing.image_size,
        "random_scale": config.random_scale,
        "max_class_share": config.max_class_share,
        "ignore_index": labels.ignore_index,
        "colors": {
            "brightness": config.brightness,
            "contrast": factor_range(config.contrast),
            "saturation": factor_range(config.saturation),
            "hue": config.hue,
        },
    }
