"""Examples from a folder of images and masks, in one of the layouts of `folder_layouts`."""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
from typing import NamedTuple

import tensorflow as tf
from etils import epath

from tfseg.data import folder_layouts, remembered
from tfseg.data.folder_layouts import FolderLayout, SplitFolders
from tfseg.data.images import decode_image
from tfseg.data.labels import LabelSpec
from tfseg.data.masks import decode_mask_tensor
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
    image_suffix: str | None = None,
    mask_suffix: str | None = None,
    part: Part | None = None,
    max_examples: int | None = None,
    on_bad_example: str = "error",
) -> Split:
    """Opens a split.

    Every pair is decoded once before training starts; see `checks`.

    Args:
        path: Folder of the data set.
        split: Name of the split, see `folder_layouts`.
        labels: Classes, for the strict check of mask values.
        image_suffix: End of the names of the images, see `FolderLayout`.
        mask_suffix: End of the names of the masks.
        part: Which of two parts of the split is meant. The name of an image decides to which it
            belongs, so no image changes sides when others are added.
        max_examples: Use only the first so many pairs, by name.
        on_bad_example: `error`, `skip` to log bad pairs and leave them out, or `keep` to open all
            pairs unchecked, images without a mask too, and without a digest.

    Returns:
        Examples with raw mask values, sorted by name; the name is the path of the image.

    Raises:
        UserError: A folder is missing or empty, an image has no mask, or a pair is bad.
    """
    layout = FolderLayout(epath.Path(path), image_suffix, mask_suffix)
    pairs = find_pairs(layout, split, on_bad_example)
    if part is not None:
        pairs = _choose_part(pairs, part, f"folder:{path}, split {split}")
    pairs = pairs[:max_examples]
    usable = checks.find_usable(
        lambda index: _read_encoded(pairs[index]),
        len(pairs),
        labels,
        split=split,
        on_bad_example=on_bad_example,
        state=remembered.state_of_files(itertools.chain.from_iterable(pairs)),
    )
    pairs = [pairs[index] for index in usable.indices]
    paths = tf.data.Dataset.from_tensor_slices(
        {"image": [str(pair.image) for pair in pairs], "mask": [str(pair.mask) for pair in pairs]}
    )
    decode = functools.partial(_decode_pair, labels=labels)
    return Split(split, paths, len(pairs), usable.digest, decode, _read_record, usable.pixels)


def find_pairs(layout: FolderLayout, split: str, on_bad_example: str = "error") -> list[Pair]:
    """Pairs images and masks by name, sorted by the path of the image.

    Raises:
        UserError: A folder is missing or empty, an image has no mask, or the list of the split
            names an image that is not there.
    """
    folders = _find_folders(layout, split)
    images = layout.list_images(folders)
    if not images:
        suffixes = layout.image_suffix or ", ".join(folder_layouts.IMAGE_SUFFIXES)
        raise UserError(f"{folders.images} holds no image ({suffixes}); see --image_suffix")
    chosen = _read_list(folders.list_file, images, on_bad_example) if folders.list_file else images
    masks = layout.list_masks(folders)
    without = [name for name in chosen if name not in masks]
    if without and on_bad_example == "error":
        raise UserError(
            f"{images[without[0]]} has no mask {layout.expected_mask(folders, without[0])}"
            f"{checks.and_others(without)}; add it, remove the image, set --mask_suffix, or "
            "--on_bad_example=skip"
        )
    if on_bad_example == "keep":
        masks |= {name: layout.expected_mask(folders, name) for name in without}
        without = []
    for name in without:
        _logger.warning("skipped %s: no mask", images[name])
    return [Pair(images[name], masks[name]) for name in chosen if name in masks]


def _find_folders(layout: FolderLayout, split: str) -> SplitFolders:
    folders = layout.find_folders(split)
    for part in (folders.images, folders.masks):
        if not part.is_dir():
            known = ", ".join(layout.find_splits()) or "none"
            raise UserError(
                f"no folder {part}; splits there: {known} (--train_split, --eval_split)"
            )
    return folders


def _read_list(
    list_file: epath.Path, images: dict[str, epath.Path], on_bad_example: str
) -> list[str]:
    names, unknown = folder_layouts.read_list(list_file, images)
    if unknown and on_bad_example == "error":
        raise UserError(
            f"{list_file} lists {unknown[0]!r}{checks.and_others(unknown)}, but there is no such "
            "image; add it, remove the line, or --on_bad_example=skip"
        )
    for line in unknown:
        _logger.warning("skipped %r of %s: no image", line, list_file)
    return names


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
    return EncodedExample(image, mask, str(pair.image), str(pair.mask))


def _read_record(paths: dict[str, bytes]) -> EncodedExample:
    image, mask = (epath.Path(paths[key].decode()) for key in ("image", "mask"))
    return _read_encoded(Pair(image, mask))


def _decode_pair(paths: dict[str, tf.Tensor], labels: LabelSpec) -> dict[str, tf.Tensor]:
    return {
        "image": decode_image(tf.io.read_file(paths["image"])),
        "mask": decode_mask_tensor(tf.io.read_file(paths["mask"]), labels),
        "name": paths["image"],
    }
