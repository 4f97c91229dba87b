"""Examples from a folder of images and masks, in one of the layouts of `folder_layouts`."""

from __future__ import annotations

import functools
import hashlib
import logging
from typing import NamedTuple

import tensorflow as tf
from etils import epath

from tfseg import files
from tfseg.data import exif, folder_layouts
from tfseg.data.images import IMAGE_SUFFIXES, decode_image, list_images
from tfseg.data.labels import LabelSpec
from tfseg.data.masks import decode_mask_tensor, list_masks
from tfseg.data.sources import checks
from tfseg.data.sources.checks import EncodedExample
from tfseg.data.split import Part, Split
from tfseg.errors import UserError

_logger = logging.getLogger(__name__)


class Pair(NamedTuple):
    """An image and its mask."""

    image: epath.Path
    mask: epath.Path


def load(
    path: str,
    split: str,
    labels: LabelSpec,
    *,
    part: Part | None = None,
    max_examples: int | None = None,
    on_bad_example: str = "error",
    apply_exif: bool = True,
) -> Split:
    """Opens a split.

    Every pair is decoded once before training starts; see `checks`.

    Args:
        path: Folder of the data set.
        split: Name of the split, see `folder_layouts`.
        labels: Classes, for the strict check of mask values.
        part: Which of two parts of the split is meant. The name of an image decides to which it
            belongs, so no image changes sides when others are added.
        max_examples: Use only the first so many pairs, by name.
        on_bad_example: `error`, or `skip` to log bad pairs and leave them out.
        apply_exif: Whether JPEG files are turned upright, and masks along with them; see `exif`.

    Returns:
        Examples with raw mask values, sorted by name; the name is the path of the image.

    Raises:
        UserError: A folder is missing or empty, an image has no mask, or a pair is bad.
    """
    pairs = find_pairs(epath.Path(path), split, on_bad_example)
    if part is not None:
        pairs = _choose_part(pairs, part, f"folder:{path}, split {split}")
    pairs = pairs[:max_examples]
    usable = checks.find_usable(
        lambda index: _read_encoded(pairs[index]),
        len(pairs),
        labels,
        split=split,
        on_bad_example=on_bad_example,
        apply_exif=apply_exif,
    )
    pairs = [pairs[index] for index in usable.indices]
    paths = tf.data.Dataset.from_tensor_slices(
        {"image": [str(pair.image) for pair in pairs], "mask": [str(pair.mask) for pair in pairs]}
    )
    decode = functools.partial(_decode_pair, labels=labels, apply_exif=apply_exif)
    return Split(split, paths, len(pairs), usable.digest, decode)


def find_pairs(folder: epath.Path, split: str, on_bad_example: str = "error") -> list[Pair]:
    """Pairs images and masks by stem, sorted by name.

    Raises:
        UserError: A folder is missing or empty, or an image has no mask.
    """
    images, masks = folder_layouts.split_folders(folder, split)
    for part in (images, masks):
        if not part.is_dir():
            known = ", ".join(folder_layouts.find_splits(folder)) or "none"
            raise UserError(
                f"no folder {part}; splits there: {known} (--train_split, --eval_split)"
            )
    found = list_images(images)
    if not found:
        raise UserError(f"{images} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    by_stem = {path.stem: path for path in list_masks(masks)}
    without = [path for path in found if path.stem not in by_stem]
    if without and on_bad_example == "error":
        raise UserError(
            f"{files.printable(without[0])} has no mask "
            f"{files.printable(masks / (without[0].stem + '.png'))}"
            f"{checks.and_others(without)}; add it, remove the image, or --on_bad_example=skip"
        )
    for path in without:
        _logger.warning("skipped %s: no mask", files.printable(path))
    return [Pair(path, by_stem[path.stem]) for path in found if path.stem in by_stem]


def _choose_part(pairs: list[Pair], part: Part, source: str) -> list[Pair]:
    chosen = [pair for pair in pairs if _is_held_out(pair, part.fraction) == part.is_held_out]
    if not chosen:
        raise UserError(
            f"--eval_fraction={part.fraction:g} leaves no example in one part of {source}, which "
            f"has {len(pairs)} examples; choose another fraction, or set --eval_split"
        )
    return chosen


def _is_held_out(pair: Pair, fraction: float) -> bool:
    digest = hashlib.sha256(pair.image.stem.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8]) < fraction * 2**64


def _read_encoded(pair: Pair) -> EncodedExample:
    image, mask = pair.image.read_bytes(), pair.mask.read_bytes()
    return EncodedExample(image, mask, files.printable(pair.image), files.printable(pair.mask))


def _decode_pair(
    paths: dict[str, tf.Tensor], labels: LabelSpec, apply_exif: bool
) -> dict[str, tf.Tensor]:
    image_bytes = tf.io.read_file(paths["image"])
    image = decode_image(image_bytes, apply_exif=apply_exif)
    mask = decode_mask_tensor(tf.io.read_file(paths["mask"]), labels)
    if apply_exif:
        mask = exif.turn_mask(mask, image, image_bytes)
    return {"image": image, "mask": mask, "name": paths["image"]}
