"""Examples from a folder in ADE20K's layout: images/<split>/X.jpg, annotations/<split>/X.png."""

from __future__ import annotations

import concurrent.futures
import logging
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from etils import epath

from tfseg.data.labels import LabelSpec, decode_mask
from tfseg.data.transforms import decode_image
from tfseg.errors import UserError

_logger = logging.getLogger(__name__)
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
CHECK_THREADS = 8


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
    with concurrent.futures.ThreadPoolExecutor(CHECK_THREADS) as threads:
        faults = list(threads.map(lambda pair: _fault(pair, labels), pairs))
    pairs = [pairs[index] for index in usable_indices(faults, on_bad_example, split)]
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
    found = _visible_files(images, _IMAGE_SUFFIXES)
    if not found:
        raise UserError(f"{images} holds no image ({', '.join(_IMAGE_SUFFIXES)})")
    by_stem = {path.stem: path for path in _visible_files(masks, (".png",))}
    without = [path for path in found if path.stem not in by_stem]
    if without and on_bad_example == "error":
        raise UserError(
            f"{without[0]} has no mask {masks / (without[0].stem + '.png')}"
            f"{_and_others(without)}; add it, remove the image, or --on_bad_example=skip"
        )
    for path in without:
        _logger.warning("skipped %s: no mask", path)
    return [Pair(path, by_stem[path.stem]) for path in found if path.stem in by_stem]


def _visible_files(folder: epath.Path, suffixes: tuple[str, ...]) -> list[epath.Path]:
    """Files with one of the suffixes, sorted; hidden ones, such as macOS's `._X.jpg`, left out."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    )


def _fault(pair: Pair, labels: LabelSpec) -> str | None:
    try:
        image, mask = pair.image.read_bytes(), pair.mask.read_bytes()
    except OSError as error:
        return f"{pair.image} and its mask cannot be read ({error})"
    return find_fault(image, mask, labels, str(pair.image), str(pair.mask))


def find_fault(
    image: bytes, mask: bytes, labels: LabelSpec, image_name: str, mask_name: str
) -> str | None:
    """Returns what is wrong with an encoded image and its mask, or None."""
    try:
        pixels = decode_image(image)
    except tf.errors.InvalidArgumentError as error:
        reason = re.sub(r"\{\{.*?\}\} | \[Op:\w+\]", "", error.message)
        return f"{image_name} cannot be decoded ({reason})"
    try:
        values = decode_mask(mask)
    except (OSError, ValueError, SyntaxError) as error:
        return f"{mask_name} cannot be read as a mask ({error})"
    if values.shape != tuple(pixels.shape[:2]):
        return (
            f"{mask_name} is {values.shape[0]}x{values.shape[1]} (height x width) but its image "
            f"{image_name} is {pixels.shape[0]}x{pixels.shape[1]}"
        )
    unnamed = set(np.unique(values).tolist()) - set(labels.known_values)
    if labels.strict and unnamed:
        return (
            f"{mask_name} holds the value {min(unnamed)}, which --id2label does not name "
            "(--nostrict_labels makes it void)"
        )
    return None


def usable_indices(faults: list[str | None], on_bad_example: str, split: str) -> list[int]:
    """Returns the positions of the examples without a fault; the others are logged.

    Raises:
        UserError: A fault and `on_bad_example="error"`, or no example is left.
    """
    found = [fault for fault in faults if fault]
    if found and on_bad_example == "error":
        raise UserError(
            f"{found[0]}{_and_others(found)}; repair it, or --on_bad_example=skip to go on "
            "without it"
        )
    for fault in found:
        _logger.warning("skipped: %s", fault)
    if found:
        _logger.warning("skipped %d of %d examples of split %s", len(found), len(faults), split)
    if len(found) == len(faults):
        raise UserError(f"split {split} has no usable example: {(found or ['it is empty'])[0]}")
    return [index for index, fault in enumerate(faults) if not fault]


def _read_pair(image_path: tf.Tensor, mask_path: tf.Tensor) -> dict[str, tf.Tensor]:
    image = decode_image(tf.io.read_file(image_path))
    mask = tf.numpy_function(decode_mask, [tf.io.read_file(mask_path)], tf.int32, stateful=False)
    mask.set_shape((None, None))
    return {"image": image, "mask": mask, "name": image_path}


def _and_others(items: list) -> str:
    return f" (and {len(items) - 1} more)" if len(items) > 1 else ""
