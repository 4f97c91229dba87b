"""Examples from a folder in ADE20K's layout: images/<split>/X.jpg, annotations/<split>/X.png."""

from __future__ import annotations

import logging
from typing import NamedTuple

import tensorflow as tf
from etils import epath

from tfseg.data.images import IMAGE_SUFFIXES, decode_image, list_images
from tfseg.data.labels import LabelSpec
from tfseg.data.masks import decode_mask_tensor, list_masks
from tfseg.data.sources import checks
from tfseg.data.sources.checks import EncodedExample
from tfseg.data.split import Split
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
    max_examples: int | None = None,
    on_bad_example: str = "error",
) -> Split:
    """Opens a split.

    Every pair is decoded once before training starts; see `checks`.

    Args:
        path: Folder that holds `images/` and `annotations/`.
        split: Name of the folder inside both.
        labels: Classes, for the strict check of mask values.
        max_examples: Use only the first so many pairs, by name.
        on_bad_example: `error`, `skip` to log bad pairs and leave them out, or `keep` to open all
            pairs unchecked, images without a mask too, and without a digest.

    Returns:
        Examples with raw mask values, sorted by name; the name is the path of the image.

    Raises:
        UserError: A folder is missing or empty, an image has no mask, or a pair is bad.
    """
    pairs = find_pairs(epath.Path(path), split, on_bad_example)[:max_examples]
    usable = checks.find_usable(
        lambda index: _read_encoded(pairs[index]),
        len(pairs),
        labels,
        split=split,
        on_bad_example=on_bad_example,
    )
    pairs = [pairs[index] for index in usable.indices]
    paths = tf.data.Dataset.from_tensor_slices(
        {
            "name": [str(pair.image) for pair in pairs],
            "mask_name": [str(pair.mask) for pair in pairs],
        }
    )
    return Split(split, paths, len(pairs), usable.digest, _decode_pair, _read_pair)


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
    found = list_images(images)
    if not found:
        raise UserError(f"{images} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    by_stem = {path.stem: path for path in list_masks(masks)}
    without = [path for path in found if path.stem not in by_stem]
    if without and on_bad_example == "error":
        raise UserError(
            f"{without[0]} has no mask {masks / (without[0].stem + '.png')}"
            f"{checks.and_others(without)}; add it, remove the image, or --on_bad_example=skip"
        )
    if on_bad_example == "keep":
        return [Pair(path, by_stem.get(path.stem, masks / f"{path.stem}.png")) for path in found]
    for path in without:
        _logger.warning("skipped %s: no mask", path)
    return [Pair(path, by_stem[path.stem]) for path in found if path.stem in by_stem]


def _read_encoded(pair: Pair) -> EncodedExample:
    image, mask = pair.image.read_bytes(), pair.mask.read_bytes()
    return EncodedExample(image, mask, str(pair.image), str(pair.mask))


def _read_pair(paths: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    image, mask = tf.io.read_file(paths["name"]), tf.io.read_file(paths["mask_name"])
    return {**paths, "image": image, "mask": mask}


def _decode_pair(paths: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    encoded = _read_pair(paths)
    return {
        "image": decode_image(encoded["image"]),
        "mask": decode_mask_tensor(encoded["mask"]),
        "name": encoded["name"],
    }
