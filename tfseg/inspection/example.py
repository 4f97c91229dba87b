"""One example: what is wrong with it, and the figures that it adds to those of its split."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from tfseg.data import exif, masks
from tfseg.data.images import ImageError, decode_image
from tfseg.data.labels import LabelSpec
from tfseg.data.sources import checks
from tfseg.data.sources.checks import EncodedExample
from tfseg.inspection import near_duplicates

_SUFFIX_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP"}
_THUMBNAIL_SIDE = 320  # pixels
# What TensorFlow writes around the text of an error: the function and the operation.
_TENSORFLOW_WORDS = re.compile(r"\{\{.*?\}\}\s*|\s*\[Op:.*")


class Fault(NamedTuple):
    """Something about an example: its kind, and a sentence that names the file."""

    kind: str
    text: str


class Thumbnail(NamedTuple):
    """A small copy: image uint8 `[h, w, 3]` and class ids int32 `[h, w]`."""

    name: str
    image: np.ndarray
    class_map: np.ndarray


@dataclasses.dataclass
class Inspected:
    """What is known about an example after it was read.

    Attributes:
        name: Name of the image.
        mask_name: Name of the mask.
        fault: What makes the example unusable; None if nothing does.
        notes: What is odd about it.
        size: (height, width) of the image in pixels; None if it cannot be decoded.
        pixels: Number of pixels by raw mask value.
        image_digest: SHA-256 of the image's bytes, or of its pixels where the source has no bytes.
        digest: SHA-256 of encoded image and mask, see `checks.hash_example`.
        perceptual_hash: bool `[bits]`, or None; see `near_duplicates`.
        thumbnail: A small copy, if it was asked for.
    """

    name: str
    mask_name: str
    fault: Fault | None = None
    notes: list[Fault] = dataclasses.field(default_factory=list)
    size: tuple[int, int] | None = None
    pixels: dict[int, int] = dataclasses.field(default_factory=dict)
    image_digest: bytes = b""
    digest: bytes = b""
    perceptual_hash: np.ndarray | None = None
    thumbnail: Thumbnail | None = None


class _Unusable(Exception):
    """Ends the inspection of an example; its argument is the fault."""


def inspect(
    record: Any,
    read: Callable[[Any], EncodedExample],
    labels: LabelSpec,
    *,
    default_name: str,
    apply_exif: bool = True,
    has_thumbnail: bool = False,
) -> Inspected:
    """Reads and decodes an example, and looks at it.

    Args:
        record: A record of a `Split`.
        read: The split's `read`.
        labels: The data set's classes.
        default_name: How messages call an example that cannot be read at all.
        apply_exif: Whether the image is turned upright, and the mask along with it.
        has_thumbnail: Whether to keep a small copy of a usable example.

    Raises:
        UserError: The example names a file that lies outside the data set.
    """
    found = Inspected(default_name, f"mask of {default_name}")
    try:
        encoded = _read(record, read, found)
        image = _decode_image(encoded.image, found, apply_exif)
        mask = _decode_mask(encoded, labels, found)
        if apply_exif and isinstance(encoded.image, bytes):
            mask = exif.turn_mask(mask, image, encoded.image).numpy()
        _compare_sizes(mask, found)
    except _Unusable as stop:
        found.fault = stop.args[0]
        return found
    _count_values(mask, labels, found)
    found.perceptual_hash = near_duplicates.hash_image(image)
    if isinstance(encoded.image, bytes) and isinstance(encoded.mask, bytes):
        found.digest = checks.hash_example(encoded)
    if has_thumbnail:
        found.thumbnail = _shrink(image, mask, labels, found.name)
    return found


def _read(record: Any, read: Callable[[Any], EncodedExample], found: Inspected) -> EncodedExample:
    try:
        encoded = read(record)
    except FileNotFoundError as error:
        missing = error.filename or found.name
        reason = "does not exist" if missing == found.name else f"needs {missing}, which is missing"
        text = f"{found.name} {reason}"
        raise _Unusable(Fault("missing", text)) from error
    except (tf.errors.OpError, OSError) as error:
        reason = _TENSORFLOW_WORDS.sub("", " ".join(str(error).split()))
        text = f"{found.name} cannot be read ({reason})"
        raise _Unusable(Fault("unreadable", text)) from error
    found.name, found.mask_name = encoded.image_name, encoded.mask_name
    return encoded


def _decode_image(data: Any, found: Inspected, apply_exif: bool) -> np.ndarray:
    if not isinstance(data, bytes):
        found.image_digest = hashlib.sha256(np.ascontiguousarray(data)).digest()
        found.size = data.shape[:2]
        return data
    found.image_digest = hashlib.sha256(data).digest()
    if not data:
        raise _Unusable(Fault("empty", f"{found.name} is empty (0 bytes)"))
    kind = _find_format(data)
    try:
        image = decode_image(data, apply_exif=apply_exif).numpy()
    except ImageError as error:
        reason = f"is a damaged or truncated {kind}" if kind else f"cannot be decoded ({error})"
        text = f"{found.name} {reason}"
        raise _Unusable(Fault("unreadable", text)) from error
    except tf.errors.OpError as error:  # for instance more memory than there is
        text = f"{found.name} cannot be decoded ({type(error).__name__})"
        raise _Unusable(Fault("unreadable", text)) from error
    found.size = image.shape[:2]
    _note_format(kind, found.name, found)
    orientation = int(exif.read_orientation(data))
    if orientation != exif.UPRIGHT:
        text = f"{found.name} has EXIF orientation {orientation}"
        found.notes.append(Fault("exif", text))
    return image


def _find_format(data: bytes) -> str | None:
    """Returns the format that PIL sees, or None."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.format
    except Exception:  # PIL has no common base class for what it raises on damaged files.
        return None


def _note_format(kind: str | None, name: str, found: Inspected) -> None:
    suffix = os.path.splitext(name)[1].lower()
    expected = _SUFFIX_FORMATS.get(suffix)
    if kind and expected and kind not in (expected, "MPO"):  # MPO: a JPEG with several pictures
        text = f"{name} is a {kind} file, not {expected} as its suffix says"
        found.notes.append(Fault("format", text))


def _decode_mask(encoded: EncodedExample, labels: LabelSpec, found: Inspected) -> np.ndarray:
    data = encoded.mask
    if not isinstance(data, bytes):
        return data
    name = found.mask_name
    if not data:
        raise _Unusable(Fault("empty", f"{name} is empty (0 bytes)"))
    try:
        mask = checks.raw_values(encoded, labels)
    except masks.MaskError as error:
        text = f"{name} cannot be read as a mask ({error})"
        raise _Unusable(Fault("mask", text)) from error
    _note_format(_find_format(data), name, found)
    return mask


def _compare_sizes(mask: np.ndarray, found: Inspected) -> None:
    if mask.shape != found.size:
        (height, width), (image_height, image_width) = mask.shape, found.size
        raise _Unusable(
            Fault(
                "size",
                f"{found.mask_name} is {height}x{width} (height x width) but its image "
                f"{found.name} is {image_height}x{image_width}",
            )
        )


def _count_values(mask: np.ndarray, labels: LabelSpec, found: Inspected) -> None:
    found.pixels = checks.count_values(mask)
    if found.pixels.keys().isdisjoint(labels.class_values):
        text = f"{found.mask_name} holds nothing but void"
        found.notes.append(Fault("void", text))


def _shrink(image: np.ndarray, mask: np.ndarray, labels: LabelSpec, name: str) -> Thumbnail:
    small_image, small_mask = shrink_pair(image, mask)
    return Thumbnail(name, small_image, masks.map_mask_values(small_mask, labels).numpy())


def shrink_pair(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns copies of image and mask of at most `_THUMBNAIL_SIDE` pixels on the longer side."""
    scale = min(1.0, _THUMBNAIL_SIDE / max(mask.shape))
    height, width = (max(1, round(length * scale)) for length in mask.shape)
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip((height, width), mask.shape, strict=True)
    )
    return np.asarray(picture), mask[np.ix_(rows, columns)]
