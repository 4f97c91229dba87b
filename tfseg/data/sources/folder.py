"""Examples from a folder of images and masks, in one of the layouts of `folder_layouts`."""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from etils import epath

from tfseg import files
from tfseg.data import exif, folder_layouts, remembered, segments
from tfseg.data.folder_layouts import FolderLayout, SplitFolders
from tfseg.data.images import decode_with_mask
from tfseg.data.labels import LabelSpec
from tfseg.data.masks import decode_mask_tensor
from tfseg.data.segments import Segments
from tfseg.data.sources import checks
from tfseg.data.sources.checks import EncodedExample
from tfseg.data.split import Part, Split
from tfseg.errors import UserError

_logger = logging.getLogger(__name__)


SegmentsByName = dict[str, Segments]


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
    segments_info: str | None = None,
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
        image_suffix: End of the names of the images, see `FolderLayout`.
        mask_suffix: End of the names of the masks.
        segments_info: JSON file of the segments in each mask, see `read_segments`.
        part: Which of two parts of the split is meant. The name of an image decides to which it
            belongs, so no image changes sides when others are added.
        max_examples: Use only the first so many pairs, by name.
        on_bad_example: `error`, `skip` to log bad pairs and leave them out, or `keep` to open all
            pairs unchecked and without a digest, also those of which a file does not exist.
        apply_exif: Whether JPEG files are turned upright, and masks along with them; see `exif`.

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
    lists = segments.read_segments(segments_info) if segments_info else None
    used_files = [*itertools.chain.from_iterable(pairs), *([segments_info] if lists else [])]
    read = functools.partial(_read_encoded, lists=lists)
    usable = checks.find_usable(
        lambda index: read(pairs[index]),
        len(pairs),
        labels,
        split=split,
        on_bad_example=on_bad_example,
        state=remembered.state_of_files(used_files),
        apply_exif=apply_exif,
    )
    pairs = [pairs[index] for index in usable.indices]

    def read_record(record: dict[str, Any]) -> EncodedExample:
        paths = (epath.Path(record[key].decode()) for key in ("image", "mask"))
        return read(Pair(*paths))

    records = _make_records(pairs, lists)
    meaning = {"labels": labels, "apply_exif": apply_exif}
    decode = functools.partial(_decode_pair, **meaning)
    decode_values = functools.partial(_decode_values, **meaning)
    about = {"read": read_record, "pixels": usable.pixels, "decode_values": decode_values}
    return Split(split, records, len(pairs), usable.digest, decode, **about)


def _make_records(pairs: list[Pair], lists: SegmentsByName | None) -> tf.data.Dataset:
    records = {
        "image": [str(pair.image) for pair in pairs],
        "mask": [str(pair.mask) for pair in pairs],
    }
    if lists is not None:
        own = [_find_segments(pair, lists) for pair in pairs]
        for name, arrays in zip(Segments._fields, zip(*own, strict=True), strict=True):
            lengths = [len(array) for array in arrays]
            records[name] = tf.RaggedTensor.from_row_lengths(np.concatenate(arrays), lengths)
    return tf.data.Dataset.from_tensor_slices(records)


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
    chosen = _read_list(folders, images, on_bad_example) if folders.list_file else images
    masks = layout.list_masks(folders)
    without = [name for name in chosen if name not in masks]
    if without and on_bad_example == "error":
        raise UserError(
            f"{files.printable(chosen[without[0]])} has no mask "
            f"{files.printable(layout.expected_mask(folders, without[0]))}"
            f"{checks.and_others(without)}; add it, remove the image, set --mask_suffix, or "
            "--on_bad_example=skip"
        )
    if on_bad_example == "keep":
        masks |= {name: layout.expected_mask(folders, name) for name in without}
        without = []
    for name in without:
        _logger.warning("skipped %s: no mask", files.printable(chosen[name]))
    return [Pair(path, masks[name]) for name, path in chosen.items() if name in masks]


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
    folders: SplitFolders, images: dict[str, epath.Path], on_bad_example: str
) -> dict[str, epath.Path]:
    """Returns the images that the list of a split names."""
    list_file = folders.list_file
    names, unknown = folder_layouts.read_list(list_file, images)
    listed = {name: images[name] for name in names}
    if unknown and on_bad_example == "error":
        raise UserError(
            f"{list_file} lists {unknown[0]!r}{checks.and_others(unknown)}, but there is no such "
            "image; add it, remove the line, or --on_bad_example=skip"
        )
    if on_bad_example == "keep":
        return listed | {line: folders.images / line for line in unknown}
    for line in unknown:
        _logger.warning("skipped %r of %s: no image", line, list_file)
    return listed


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


def _read_encoded(pair: Pair, lists: SegmentsByName | None) -> EncodedExample:
    image, mask = pair.image.read_bytes(), pair.mask.read_bytes()
    own = None if lists is None else _find_segments(pair, lists)
    return EncodedExample(image, mask, files.printable(pair.image), files.printable(pair.mask), own)


def _find_segments(pair: Pair, lists: SegmentsByName) -> Segments:
    """Returns the list of a mask, under its own name or its image's; the empty one without it."""
    own = lists.get(pair.mask.stem, lists.get(pair.image.stem))
    return segments.make_segments([]) if own is None else own


def _decode_pair(
    record: dict[str, tf.Tensor], labels: LabelSpec, apply_exif: bool
) -> dict[str, tf.Tensor]:
    mask = _decode_stored_mask(record, labels)
    image_bytes = tf.io.read_file(record["image"])
    image, mask = decode_with_mask(image_bytes, mask, apply_exif=apply_exif)
    return {"image": image, "mask": mask, "name": record["image"]}


def _decode_values(record: dict[str, tf.Tensor], labels: LabelSpec, apply_exif: bool) -> tf.Tensor:
    mask = _decode_stored_mask(record, labels)
    if not apply_exif:
        return mask
    return exif.turn_mask_of_file(mask, tf.io.read_file(record["image"]))


def _decode_stored_mask(record: dict[str, tf.Tensor], labels: LabelSpec) -> tf.Tensor:
    own = [record[name] for name in Segments._fields if name in record]
    return decode_mask_tensor(tf.io.read_file(record["mask"]), labels, own or None)
