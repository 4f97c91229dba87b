"""Examples from a folder in ADE20K's layout: images/<split>/X.jpg, annotations/<split>/X.png."""

from __future__ import annotations

import concurrent.futures
import io
import logging
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from etils import epath
from PIL import Image

from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError

_logger = logging.getLogger(__name__)
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_CHECK_THREADS = 8


class Pair(NamedTuple):
    """An image and its mask."""

    image: epath.Path
    mask: epath.Path


def load(
    path: str,
    split: str,
    labels: LabelSpec,
    *,
    max_examples: int | None = None,
    on_bad_example: str = "error",
) -> tf.data.Dataset:
    """Loads a split.

    Every pair is decoded once before training starts, by the same decoders: a bad file is found
    now and named, and not after hours.

    Args:
        path: Folder that holds `images/` and `annotations/`.
        split: Name of the folder inside both.
        labels: Classes, for the strict check of mask values.
        max_examples: Use the first so many, by name.
        on_bad_example: `error`, or `skip` to go on without the pair and count.

    Returns:
        Examples `image` uint8 `[height, width, 3]`, `mask` int32 `[height, width]` of raw values
        and `name` string scalar, in the order of the names.

    Raises:
        UserError: A folder is missing or empty, an image has no mask, or a pair is bad.
    """
    pairs = find_pairs(epath.Path(path), split, on_bad_example)[:max_examples]
    pairs = _without_bad_pairs(pairs, labels, on_bad_example, split)
    names = tf.data.Dataset.from_tensor_slices(
        ([str(pair.image) for pair in pairs], [str(pair.mask) for pair in pairs])
    )
    return names.map(_read_pair, num_parallel_calls=tf.data.AUTOTUNE)


def find_pairs(folder: epath.Path, split: str, on_bad_example: str = "error") -> list[Pair]:
    """Pairs images and masks by stem, sorted by name.

    Raises:
        UserError: A folder is missing or empty, or an image has no mask.
    """
    images, masks = folder / "images" / split, folder / "annotations" / split
    for part in (images, masks):
        if not part.is_dir():
            known = sorted(child.name for child in part.parent.iterdir() if child.is_dir())
            raise UserError(
                f"no folder {part}; splits there: {', '.join(known) or 'none'} "
                "(--train_split, --eval_split)"
            )
    found = sorted(path for path in images.iterdir() if path.suffix.lower() in _IMAGE_SUFFIXES)
    if not found:
        raise UserError(f"{images} holds no image ({', '.join(_IMAGE_SUFFIXES)})")
    mask_names = {path.name for path in masks.iterdir()}
    without = [path for path in found if f"{path.stem}.png" not in mask_names]
    if without and on_bad_example == "error":
        raise UserError(
            f"{without[0]} has no mask {masks / (without[0].stem + '.png')}"
            f"{_and_others(without)}; add it, remove the image, or --on_bad_example=skip"
        )
    for path in without:
        _logger.warning("skipped %s: no mask", path)
    return [Pair(path, masks / f"{path.stem}.png") for path in found if path not in set(without)]


def _without_bad_pairs(
    pairs: list[Pair], labels: LabelSpec, on_bad_example: str, split: str
) -> list[Pair]:
    with concurrent.futures.ThreadPoolExecutor(_CHECK_THREADS) as threads:
        reasons = list(threads.map(lambda pair: _fault(pair, labels), pairs))
    faults = [reason for reason in reasons if reason]
    if faults and on_bad_example == "error":
        raise UserError(
            f"{faults[0]}{_and_others(faults)}; repair it, or --on_bad_example=skip to go on "
            "without it"
        )
    for reason in faults:
        _logger.warning("skipped: %s", reason)
    if faults:
        _logger.warning("skipped %d of %d examples of split %s", len(faults), len(pairs), split)
    if len(faults) == len(pairs):
        raise UserError(f"split {split} has no usable example: {(faults or ['it is empty'])[0]}")
    return [pair for pair, reason in zip(pairs, reasons, strict=True) if not reason]


def _fault(pair: Pair, labels: LabelSpec) -> str | None:
    """Returns what is wrong with a pair, or None."""
    try:
        image = tf.io.decode_image(pair.image.read_bytes(), channels=3, expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        return f"{pair.image} cannot be decoded ({str(error.message).splitlines()[0][:120]})"
    try:
        mask = decode_mask(pair.mask.read_bytes())
    except (OSError, ValueError, SyntaxError) as error:  # PIL's for damaged files
        return f"{pair.mask} cannot be read as a mask ({error})"
    if mask.shape != tuple(image.shape[:2]):
        return (
            f"{pair.mask} is {mask.shape[0]}x{mask.shape[1]} (height x width) but its image "
            f"{pair.image} is {image.shape[0]}x{image.shape[1]}"
        )
    if labels.strict:
        unnamed = set(np.unique(mask).tolist()) - {*labels.raw_values, labels.ignore_index}
        if unnamed:
            return (
                f"{pair.mask} holds the value {min(unnamed)}, which --id2label does not name "
                "(--nostrict_labels makes it void)"
            )
    return None


def decode_mask(data: bytes) -> np.ndarray:
    """Decodes a mask file to int32 `[height, width]` raw values.

    PIL and not `tf.io.decode_png`, which turns the indices of a palette PNG into the grey of
    their colours.

    Raises:
        ValueError: The file holds colours, not values.
    """
    with Image.open(io.BytesIO(data)) as picture:
        values = np.asarray(picture)
    if values.ndim != 2:
        raise ValueError(
            f"it has {values.shape[2]} channels; a mask has one, whose values are class numbers"
        )
    return values.astype(np.int32)


def _read_pair(image_path: tf.Tensor, mask_path: tf.Tensor) -> dict[str, tf.Tensor]:
    image = tf.io.decode_image(tf.io.read_file(image_path), channels=3, expand_animations=False)
    mask = tf.numpy_function(decode_mask, [tf.io.read_file(mask_path)], tf.int32, stateful=False)
    image.set_shape((None, None, 3))
    mask.set_shape((None, None))
    return {"image": image, "mask": mask, "name": image_path}


def _and_others(items: list) -> str:
    return f" (and {len(items) - 1} more)" if len(items) > 1 else ""
