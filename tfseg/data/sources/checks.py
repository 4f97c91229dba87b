"""The check of every example before training starts, for sources that hold encoded files.

The decoders that training uses read every example once. A bad file is then found and named at the
start, and not hours later in the middle of a run.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfseg.data import exif
from tfseg.data.images import ImageError, decode_image
from tfseg.data.labels import LabelSpec
from tfseg.data.masks import MaskError, decode_mask, read_mask_size
from tfseg.errors import UserError

_logger = logging.getLogger(__name__)
_THREADS = 8


class EncodedExample(NamedTuple):
    """An image and its mask as their files hold them, with the names that messages use."""

    image: bytes
    mask: bytes
    image_name: str
    mask_name: str


class Usable(NamedTuple):
    """The good examples of a split.

    Attributes:
        indices: Their positions.
        digest: SHA-256 of their encoded bytes, in order, as hexadecimal digits.
    """

    indices: list[int]
    digest: str


def find_usable(
    read: Callable[[int], EncodedExample],
    count: int,
    labels: LabelSpec,
    *,
    split: str,
    on_bad_example: str,
    apply_exif: bool = True,
) -> Usable:
    """Decodes every example of a split once, and returns the good ones.

    Args:
        read: Returns the example at a position, or raises OSError; threads call it.
        count: Number of examples; positions run from 0 to `count - 1`.
        labels: Classes, for the strict check of mask values.
        split: Name of the split, for messages.
        on_bad_example: `error`, or `skip` to log bad examples and leave them out.
        apply_exif: Whether images are turned upright, and masks along with them; see `exif`.

    Raises:
        UserError: An example is bad and `on_bad_example` is `error`, or no example is left.
    """

    def check(index: int) -> tuple[str | None, bytes]:
        try:
            example = read(index)
        except OSError as error:
            return f"an example of split {split} cannot be read ({error})", b""
        return find_fault(example, labels, apply_exif), _hash_example(example)

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        checked = list(threads.map(check, range(count)))
    faults = [fault for fault, _ in checked if fault]
    if on_bad_example == "error":
        _refuse(faults)
    _log_skipped(faults, count, split)
    if len(faults) == count:
        raise UserError(f"split {split} has no usable example: {(faults or ['it is empty'])[0]}")
    good = [(index, digest) for index, (fault, digest) in enumerate(checked) if not fault]
    digest = hashlib.sha256(b"".join(digest for _, digest in good)).hexdigest()
    return Usable([index for index, _ in good], digest)


def find_fault(example: EncodedExample, labels: LabelSpec, apply_exif: bool = True) -> str | None:
    """Returns what is wrong with an example, or None."""
    for data, name in ((example.image, example.image_name), (example.mask, example.mask_name)):
        if not data:
            return f"{name} is empty"
    try:
        pixels = decode_image(example.image, apply_exif=apply_exif)
    except ImageError as error:
        return f"{example.image_name} cannot be decoded ({error})"
    try:
        # A mask of another size may be too large to be decoded.
        size = read_mask_size(example.mask)
        if not _fits(size, pixels, example.image, apply_exif):
            return (
                f"{example.mask_name} is {size[0]}x{size[1]} (height x width) but its image "
                f"{example.image_name} is {pixels.shape[0]}x{pixels.shape[1]}"
            )
        values = decode_mask(example.mask, labels)
    except MaskError as error:
        return f"{example.mask_name} cannot be read as a mask ({error})"
    unnamed = set(np.unique(values).tolist()) - set(labels.known_values)
    if labels.strict and unnamed:
        return (
            f"{example.mask_name} holds the value {min(unnamed)}, which --id2label does not name "
            "(--nostrict_labels makes it void)"
        )
    return None


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


def _hash_example(example: EncodedExample) -> bytes:
    parts = (hashlib.sha256(part).digest() for part in (example.image, example.mask))
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
