"""Examples from TensorFlow Datasets."""

from __future__ import annotations

import functools
import hashlib
import logging
from typing import Any

import tensorflow as tf

from tfseg import network
from tfseg.data import masks
from tfseg.data.images import decode_with_mask
from tfseg.data.labels import LabelSpec, ObjectClass
from tfseg.data.sources.checks import EncodedExample
from tfseg.data.split import Split
from tfseg.errors import UserError, nearest_name

_logger = logging.getLogger(__name__)
_IMAGE_KEYS = ("image", "image_left")
_MASK_KEYS = ("segmentation_mask", "mask", "segmentation_label", "label", "annotation")


def load(
    path: str,
    split: str,
    labels: LabelSpec | None = None,
    *,
    data_dir: str | None = None,
    image_key: str | None = None,
    mask_key: str | None = None,
    object_class: ObjectClass | None = None,
    max_examples: int | None = None,
    apply_exif: bool = True,
) -> Split:
    """Opens a split of a TFDS data set, and downloads and prepares the data set if necessary.

    Args:
        path: TFDS name, with or without a version; without one, the newest version is read.
        split: Split in TFDS's syntax, e.g. `train[:80%]`.
        labels: Classes, which say what the pixels of a mask mean; see `channels_to_values`.
        data_dir: Folder of prepared data sets; TFDS's own folder by default.
        image_key: Image feature; by default one of a usual name, or else the only one that holds
            colour images.
        mask_key: Mask feature; by default one of a usual name, or else the only one that holds
            images of one channel.
        object_class: Feature that tells the class of the object in an image, if the mask does not.
        max_examples: Use only the first so many examples.
        apply_exif: Whether JPEG files are turned upright, and masks along with them; see `exif`.

    Returns:
        Examples with raw mask values, named by the data set's `file_name` or `name`, else
        `<split>_<index>`.

    Raises:
        UserError: The data set, split or feature is unknown, or it cannot be downloaded.
    """
    builder = open_builder(path, data_dir)
    prepare(builder)
    image_key, mask_key = _feature_keys(builder, path, image_key, mask_key)
    keys = {"image_key": image_key, "mask_key": mask_key, "object_class": object_class}
    options = {"max_examples": max_examples, "apply_exif": apply_exif}
    return read_split(builder, path, split, labels, **keys, **options)


def read_class_names(path: str, data_dir: str | None, mask_key: str | None) -> tuple[str, ...]:
    """Returns the class names that a data set declares for its masks; it needs no download.

    Returns:
        The names by mask value from 0; none if the data set declares none.

    Raises:
        UserError: TFDS does not know the data set.
    """
    features = open_builder(path, data_dir).info.features
    key = mask_key or _find_mask_key(features)
    names = getattr(features[key], "names", None) if key in features else None
    return tuple(names or ())


def resolved_name(path: str, data_dir: str | None = None) -> str:
    """Returns `name:version` with the version that `load` reads; `load` takes it as a path."""
    name, _, version = open_builder(path, data_dir).info.full_name.rpartition("/")
    return f"{name}:{version}"


def open_builder(path: str, data_dir: str | None):
    """Returns TFDS's builder for a name.

    Raises:
        UserError: TFDS does not know the name or the version.
    """
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(path, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        raise UserError(
            f"--dataset={path}: TensorFlow Datasets {tfds.__version__} knows no such data set"
            f"{nearest_name(path, known)}, and none is prepared under --data_dir"
        ) from None
    except (AssertionError, ValueError) as error:  # an unknown version or configuration
        raise UserError(
            f"--dataset={path}: {_one_line(error)}; leave version and config out"
        ) from error


def prepare(builder) -> None:
    """Downloads and prepares a data set, unless that was done before.

    TFDS retries an unreachable host for over three minutes, so this function first asks whether
    the host answers. TFDS needs no host for archives in `<data_dir>/downloads/manual`.

    Raises:
        UserError: The data set is not prepared, and its archives cannot be downloaded.
    """
    if builder.data_path.exists():
        return
    archives = builder.url_infos or {}
    manual_dir = builder.data_dir_root / "downloads" / "manual"
    missing = [url for url, info in archives.items() if not (manual_dir / info.filename).exists()]
    if missing and not network.host_answers(missing[0]):
        raise UserError(
            f"{builder.info.full_name} is not prepared under {builder.data_dir_root}, and "
            f"{missing[0]} does not answer; on a machine with a network run `tfds build "
            f"{builder.name} --data_dir=DIR`, copy DIR here and pass --data_dir=DIR, "
            "or use --dataset=shapes, which needs no download"
        )
    _logger.info("preparing %s under %s", builder.info.full_name, builder.data_path)
    _download_and_prepare(builder)


def _download_and_prepare(builder) -> None:
    import requests
    from tensorflow_datasets import download

    try:
        builder.download_and_prepare()
    except (
        AssertionError,  # raised if only a person may download the archives
        download.DownloadError,
        download.download_manager.NonMatchingChecksumError,
        requests.RequestException,
    ) as error:
        raise UserError(
            f"{builder.info.full_name} cannot be prepared under {builder.data_dir_root}: "
            f"{_one_line(error)}; give the folder of a prepared copy with --data_dir, or use "
            "--dataset=shapes"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _feature_keys(
    builder, path: str, image_key: str | None, mask_key: str | None
) -> tuple[str, str]:
    features = builder.info.features
    mask_key = mask_key or _find_mask_key(features)
    image_key = image_key or _find_image_key(features, mask_key)
    for kind, key in (("image", image_key), ("mask", mask_key)):
        received = f"--{kind}_key={key} is no feature" if key else f"no {kind} stands out"
        if key not in features:
            raise UserError(
                f"{received} of {path} (allowed: {', '.join(features)})"
                + ("" if key else f"; choose one with --{kind}_key")
            )
    return image_key, mask_key


def _find_mask_key(features) -> str | None:
    """Returns the feature of a usual name that has pixels, or the only image of one channel."""
    named = [key for key in _MASK_KEYS if key in features and _num_channels(features[key])]
    single = [key for key in features if _num_channels(features[key]) == 1]
    return named[0] if named else single[0] if len(single) == 1 else None


def _find_image_key(features, mask_key: str | None) -> str | None:
    pictures = [key for key in features if _num_channels(features[key]) == 3 and key != mask_key]
    named = [key for key in _IMAGE_KEYS if key in pictures]
    return named[0] if named else pictures[0] if len(pictures) == 1 else None


def _num_channels(feature) -> int:
    """Returns the number of channels of a feature that holds pixels; 0 for other features."""
    if not isinstance(feature.shape, tuple) or len(feature.shape) not in (2, 3):
        return 0
    return feature.shape[2] if len(feature.shape) == 3 else 1


def read_split(
    builder,
    name: str,
    split: str,
    labels: LabelSpec | None = None,
    *,
    image_key: str,
    mask_key: str,
    object_class: ObjectClass | None = None,
    max_examples: int | None,
    apply_exif: bool = False,
) -> Split:
    """Opens a split of a prepared builder; `name` is the data set's name in messages.

    Images have the static shape of their feature, unless they may be turned.

    Raises:
        UserError: The data set has no such split.
    """
    keys = (image_key, mask_key)
    kept = keys if object_class is None else (*keys, object_class.key)
    records = _open_encoded(builder, name, split, keys, max_examples)
    decode_mask = functools.partial(
        _decode_mask,
        feature=builder.info.features[mask_key],
        key=mask_key,
        labels=labels,
        object_class=object_class,
    )
    image_shape = builder.info.features[image_key].shape

    def read_record(record: dict[str, Any]) -> EncodedExample:
        name, mask = record["name"].decode(errors="replace"), decode_mask(record).numpy()
        return EncodedExample(record[image_key], mask, name, f"mask of {name}")

    def decode_record(record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        image, mask = record[image_key], decode_mask(record)
        if image.dtype == tf.string:
            image, mask = decode_with_mask(image, mask, apply_exif=apply_exif)
            if not apply_exif:
                image = tf.ensure_shape(image, (*image_shape[:2], 3))
        return {"image": image, "mask": mask, "name": record["name"]}

    def select(index: tf.Tensor, record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        default_name = tf.strings.join([split, "_", tf.strings.as_string(index)])
        name = record.get("file_name", record.get("name", default_name))
        return {**{key: record[key] for key in kept}, "name": name}

    selected = records.enumerate().map(select, num_parallel_calls=tf.data.AUTOTUNE)
    digest = _digest(builder.info, split, len(records))
    return Split(split, selected, len(records), digest, decode_record, read_record)


def _open_encoded(
    builder, name: str, split: str, keys: tuple[str, str], max_examples: int | None
) -> tf.data.Dataset:
    from tensorflow_datasets import decode

    skipped = {key: decode.SkipDecoding() for key in keys}
    try:
        records = builder.as_dataset(split=split, decoders=skipped, shuffle_files=False)
    except ValueError as error:
        raise UserError(
            f"{name} has no split {split!r} (allowed: {', '.join(builder.info.splits)}, and "
            "slices such as train[:80%]); set --train_split and --eval_split"
        ) from error
    return records if max_examples is None else records.take(max_examples)


def _decode_mask(
    record: dict[str, Any],
    feature,
    key: str,
    labels: LabelSpec | None,
    object_class: ObjectClass | None,
) -> tf.Tensor:
    """Returns raw values int32 `[height, width]` of a record of tensors or of NumPy values."""
    mask = feature.decode_example(tf.convert_to_tensor(record[key]))
    mask = masks.channels_to_values(mask, labels)
    if object_class is None:
        return mask
    value = tf.cast(record[object_class.key], tf.int32) + object_class.first_value
    return tf.where(mask == object_class.mask_value, value, mask)


def _digest(info, split: str, num_examples: int) -> str:
    """Returns the SHA-256 of what TFDS knows about a split; it does not read the examples."""
    facts = (info.full_name, split, num_examples, int(info.dataset_size))
    return hashlib.sha256(repr(facts).encode()).hexdigest()
