"""The check of every example before training starts, for sources that hold encoded files.

The decoders that training uses read every example once. A bad file is then found and named at the
start, and not hours later in the middle of a run. A start that finds the same files again, by
name, size and time of change, relies on the check before.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfseg.data import exif, remembered
from tfseg.data.images import ImageError, decode_image
from tfseg.data.labels import LabelSpec
from tfseg.data.masks import MaskError, decode_mask, read_mask_size
from tfseg.data.segments import Segments
from tfseg.errors import UserError

_logger = logging.getLogger(__name__)
_THREADS = 8
_KIND, _VERSION = "checked", "1"  # another version, if the check finds other faults
_MANY_VALUES = 65_536


class EncodedExample(NamedTuple):
    """An image and its mask before they are decoded, with the names that messages use.

    Attributes:
        image: The content of the file; pixels uint8 `[height, width, 3]` if there is no file.
        mask: The content of the file; raw values int32 `[height, width]` if there is no file.
        image_name: Name of the image.
        mask_name: Name of the mask.
        segments: The classes of the segments, if the mask holds ids of segments.
    """

    image: bytes | np.ndarray
    mask: bytes | np.ndarray
    image_name: str
    mask_name: str
    segments: Segments | None = None


class Usable(NamedTuple):
    """The good examples of a split.

    Attributes:
        indices: Their positions.
        digest: SHA-256 of their encoded bytes, in order, as hexadecimal digits.
        pixels: Number of pixels by raw mask value in all of them; None if they were not decoded.
    """

    indices: list[int]
    digest: str
    pixels: Counter[int] | None


class Checked(NamedTuple):
    """What is known of an example after it was decoded: its fault, or hash and mask values."""

    fault: str | None
    digest: bytes = b""
    pixels: Mapping[int, int] | None = None


def find_usable(
    read: Callable[[int], EncodedExample],
    count: int,
    labels: LabelSpec,
    *,
    split: str,
    on_bad_example: str,
    state: str | None = None,
    apply_exif: bool = True,
) -> Usable:
    """Decodes every example of a split once, and returns the good ones.

    Args:
        read: Returns the example at a position, or raises OSError; threads call it.
        count: Number of examples; positions run from 0 to `count - 1`.
        labels: Classes, for the strict check of mask values.
        split: Name of the split, for messages.
        on_bad_example: `error`, `skip` to log bad examples and leave them out, or `keep` to check
            nothing: all positions are returned, without a digest.
        state: Text that changes when the examples do. If all of them were good before in this
            state, they are not decoded again. None to decode them in any case.
        apply_exif: Whether images are turned upright, and masks along with them; see `exif`.

    Raises:
        UserError: An example is bad and `on_bad_example` is `error`, or no example is left.
    """
    if on_bad_example == "keep":
        return Usable(list(range(count)), "", None)
    facts = (_VERSION, state or "", labels.to_json(), str(apply_exif))
    known = remembered.recall(_KIND, facts) if state and count else None
    if known is not None:
        _logger.info("split %s: all %d examples were checked before", split, count)
        pixels = Counter({int(raw): number for raw, number in known["pixels"].items()})
        return Usable(list(range(count)), known["digest"], pixels)
    usable = _decode_all(read, count, labels, split, on_bad_example, apply_exif)
    if state and len(usable.indices) == count:
        remembered.remember(_KIND, facts, {"digest": usable.digest, "pixels": usable.pixels})
    return usable


def _decode_all(
    read: Callable[[int], EncodedExample],
    count: int,
    labels: LabelSpec,
    split: str,
    on_bad_example: str,
    apply_exif: bool,
) -> Usable:
    def check(index: int) -> Checked:
        try:
            example = read(index)
        except OSError as error:
            return Checked(f"an example of split {split} cannot be read ({error})")
        return check_encoded(example, labels, apply_exif)

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        checked = list(threads.map(check, range(count)))
    faults = [each.fault for each in checked if each.fault]
    if on_bad_example == "error":
        _refuse(faults)
    _log_skipped(faults, count, split)
    if len(faults) == count:
        raise UserError(f"split {split} has no usable example: {(faults or ['it is empty'])[0]}")
    good = {index: each for index, each in enumerate(checked) if not each.fault}
    pixels = Counter()
    for each in good.values():
        pixels.update(each.pixels)
    return Usable(list(good), join_hashes(each.digest for each in good.values()), pixels)


def check_encoded(example: EncodedExample, labels: LabelSpec, apply_exif: bool = True) -> Checked:
    """Decodes an example."""
    for data, name in ((example.image, example.image_name), (example.mask, example.mask_name)):
        if not data:
            return Checked(f"{name} is empty")
    try:
        pixels = decode_image(example.image, apply_exif=apply_exif)
    except ImageError as error:
        return Checked(f"{example.image_name} cannot be decoded ({error})")
    try:
        # A mask of another size may be too large to be decoded.
        size = read_mask_size(example.mask)
        if not _fits(size, pixels, example.image, apply_exif):
            return Checked(
                f"{example.mask_name} is {size[0]}x{size[1]} (height x width) but its image "
                f"{example.image_name} is {pixels.shape[0]}x{pixels.shape[1]}"
            )
        values = raw_values(example, labels)
    except MaskError as error:
        return Checked(f"{example.mask_name} cannot be read as a mask ({error})")
    counts = count_values(values)
    unnamed = counts.keys() - set(labels.known_values)
    if labels.strict and unnamed:
        return Checked(
            f"{example.mask_name} holds the value {min(unnamed)}, which --id2label does not name "
            "(--nostrict_labels makes it void)"
        )
    return Checked(None, hash_example(example), counts)


def raw_values(example: EncodedExample, labels: LabelSpec) -> np.ndarray:
    """Returns the raw values of an example's mask, int32 `[height, width]`.

    Raises:
        MaskError: The mask cannot be decoded.
    """
    if isinstance(example.mask, bytes):
        return decode_mask(example.mask, labels, example.segments)
    return example.mask


def count_values(values: np.ndarray) -> dict[int, int]:
    """Returns the number of pixels by raw value; `values` are integers of any shape."""
    flat = values.reshape(-1)
    if flat.size and flat.min() >= 0 and flat.max() < _MANY_VALUES:  # Counting beats sorting.
        counts = np.bincount(flat)
        found = np.flatnonzero(counts)
        return dict(zip(found.tolist(), counts[found].tolist(), strict=True))
    found, counts = np.unique(flat, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _fits(
    mask_size: tuple[int, int], pixels: tf.Tensor, image_bytes: bytes, apply_exif: bool
) -> bool:
    """Whether a mask has the size of its image, if need be after it is turned along with it."""
    size = tuple(pixels.shape[:2])
    if mask_size == size:
        return True
    is_turned = apply_exif and exif.read_orientation(image_bytes).numpy() >= exif.FIRST_ON_SIDE
    return mask_size == size[::-1] and is_turned


def and_others(items: Sequence) -> str:
    """Returns " (and 2 more)" for three items; an empty string for one."""
    return f" (and {len(items) - 1} more)" if len(items) > 1 else ""


def join_hashes(hashes: Iterable[bytes]) -> str:
    """Returns the digest of a split, as hexadecimal digits, from those of its good examples."""
    return hashlib.sha256(b"".join(hashes)).hexdigest()


def hash_example(example: EncodedExample) -> bytes:
    """Returns the SHA-256 of an example's encoded image and mask."""
    segments = [part.tobytes() for part in example.segments or ()]
    encoded = (example.image, example.mask, *segments)
    parts = (hashlib.sha256(part).digest() for part in encoded)
    return hashlib.sha256(b"".join(parts)).digest()


def _refuse(faults: list[str]) -> None:
    if faults:
        raise UserError(
            f"{faults[0]}{and_others(faults)}; repair it, or --on_bad_example=skip to go on "
            "without it"
        )


def _log_skipped(faults: list[str], count: int, split: str) -> None:
    for fault in faults:
        _logger.warning("skipped: %s", fault)
    if faults:
        _logger.warning("skipped %d of %d examples of split %s", len(faults), count, split)
