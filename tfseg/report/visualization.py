"""Class maps as colours and PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tfseg.errors import UserError

# Void's colour in the Pascal VOC devkit: unlike black, no class of a common palette has it.
VOID_COLOR = (224, 224, 192)


def colorize(class_map: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Paints every class id in its colour, and every other value in `VOID_COLOR`.

    Args:
        class_map: integer `[height, width]`, class ids; any other value is void.
        palette: `[num_classes, 3]`, RGB, 0..255.

    Returns:
        uint8 `[height, width, 3]`, RGB, 0..255.
    """
    colors = np.array([*palette, VOID_COLOR], np.uint8)
    ids = np.asarray(class_map, np.int64)
    is_class = (ids >= 0) & (ids < len(palette))
    return colors[np.where(is_class, ids, len(palette))]


def overlay(
    image: np.ndarray,
    class_map: np.ndarray,
    palette: Sequence[Sequence[int]],
    opacity: float = 0.5,
) -> np.ndarray:
    """Lays the coloured classes over an image.

    Args:
        image: uint8 `[height, width, 3]`, RGB, 0..255.
        class_map: integer `[height, width]`, class ids; any other value is void.
        palette: `[num_classes, 3]`, RGB, 0..255.
        opacity: 0 shows only the image, 1 only the classes.

    Returns:
        uint8 `[height, width, 3]`, RGB, 0..255.

    Raises:
        ValueError: `opacity` lies outside 0..1, or the image and the class map differ in size.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must lie between 0 and 1, received {opacity}")
    check_same_size(image, class_map, "class map")
    colors = colorize(class_map, palette)
    blend = (1 - opacity) * image.astype(np.float32) + opacity * colors.astype(np.float32)
    return np.rint(blend).astype(np.uint8)


def encode_png(image: np.ndarray) -> bytes:
    """Returns a uint8 `[height, width, 3]` image (RGB, 0..255) as the bytes of a PNG."""
    return _encode(Image.fromarray(np.ascontiguousarray(image, np.uint8)))


def encode_class_png(class_map: np.ndarray, palette: Sequence[Sequence[int]]) -> bytes:
    """Encodes a class map as a PNG whose pixel values are the class ids.

    Up to 256 classes give an indexed PNG, which viewers show in the palette's colours; values
    beyond the palette show as void. More classes, or an id over 255, give a 16-bit gray PNG.

    Args:
        class_map: integer `[height, width]`, 0..65535.
        palette: `[num_classes, 3]`, RGB, 0..255.

    Returns:
        The bytes of the PNG.

    Raises:
        UserError: A value lies outside 0..65535.
    """
    ids = np.asarray(class_map)
    low, high = (int(ids.min()), int(ids.max())) if ids.size else (0, 0)
    if low < 0 or high > 65535:
        raise UserError(
            f"a PNG holds class ids from 0 to 65535, received {low if low < 0 else high}: "
            "set --ignore_index to a value in that range"
        )
    if high > 255 or len(palette) > 256:
        return _encode(Image.fromarray(ids.astype(np.uint16)))
    picture = Image.fromarray(ids.astype(np.uint8))
    picture.putpalette(colorize(np.arange(256)[None], palette).tobytes())
    return _encode(picture)


def _encode(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def check_same_size(image: np.ndarray, ids: np.ndarray, what: str) -> None:
    """Raises `ValueError` unless image `[h, w, 3]` and ids `[h, w]` have one size."""
    if image.shape[:2] != ids.shape:
        raise ValueError(
            f"image and {what} must have the same height and width, "
            f"received {list(image.shape[:2])} and {list(ids.shape)}"
        )
