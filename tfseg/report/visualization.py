"""Turns class maps into colours and PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tfseg.data.palettes import VOID_COLOR
from tfseg.errors import UserError

_BAND_ROWS = 256


def colorize(class_map: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Paints every class id in its colour, and every other value in `VOID_COLOR`.

    Args:
        class_map: Class ids, integer `[height, width]`. Any other value is void.
        palette: Colours of the classes, `[num_classes, 3]`, RGB, 0..255.

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
    """Blends the colours of the classes with an image.

    Args:
        image: uint8 `[height, width, 3]`, RGB, 0..255.
        class_map: Class ids, integer `[height, width]`. Any other value is void.
        palette: Colours of the classes, `[num_classes, 3]`, RGB, 0..255.
        opacity: Weight of the colours, in [0, 1]: 0 shows only the image, 1 only the classes.

    Returns:
        uint8 `[height, width, 3]`, RGB, 0..255.

    Raises:
        ValueError: `opacity` is outside [0, 1], or the image and the class map differ in size.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must lie between 0 and 1, received {opacity}")
    check_same_size(image, class_map, "class map")
    blend = np.empty(image.shape, np.uint8)
    for first in range(0, len(image), _BAND_ROWS):  # All rows at once would take 13 times as much.
        rows = slice(first, first + _BAND_ROWS)
        colors = colorize(class_map[rows], palette).astype(np.float32)
        blend[rows] = np.rint((1 - opacity) * image[rows].astype(np.float32) + opacity * colors)
    return blend


def encode_png(image: np.ndarray) -> bytes:
    """Encodes an RGB image, uint8 `[height, width, 3]`, as PNG bytes."""
    return encode_picture(Image.fromarray(np.ascontiguousarray(image, np.uint8)))


def encode_class_png(class_map: np.ndarray, palette: Sequence[Sequence[int]]) -> bytes:
    """Encodes a class map as a PNG whose pixel values are the class ids.

    With up to 256 classes the result is an indexed PNG, which image viewers show in the colours of
    the palette; values beyond the palette have the colour of void. With more classes, or if a value
    is above 255, the result is a 16-bit gray PNG.

    Args:
        class_map: Class ids and the ignore index, integer `[height, width]`, 0..65535.
        palette: Colours of the classes, `[num_classes, 3]`, RGB, 0..255.

    Returns:
        The bytes of the PNG.

    Raises:
        UserError: A value is outside 0..65535.
    """
    picture = _to_gray(class_map, len(palette))
    if picture.mode == "L":
        picture.putpalette(colorize(np.arange(256)[None], palette).tobytes())
    return encode_picture(picture)


def encode_id_png(class_map: np.ndarray, num_classes: int) -> bytes:
    """Encodes a class map as a gray PNG whose pixel values are the class ids.

    Programs that turn an indexed PNG into its colours, such as OpenCV and TensorFlow, read the ids
    from this one.

    Args:
        class_map: Class ids and the ignore index, integer `[height, width]`, 0..65535.
        num_classes: Number of classes. The PNG has 8 bits per pixel if they and the values fit.

    Returns:
        The bytes of the PNG.

    Raises:
        UserError: A value is outside 0..65535.
    """
    return encode_picture(_to_gray(class_map, num_classes))


def _to_gray(class_map: np.ndarray, num_classes: int) -> Image.Image:
    ids = np.asarray(class_map)
    low, high = (int(ids.min()), int(ids.max())) if ids.size else (0, 0)
    if low < 0 or high > 65535:
        raise UserError(
            f"a PNG can hold class ids from 0 to 65535, received {low if low < 0 else high}: "
            "set --ignore_index to a value in that range"
        )
    is_deep = high > 255 or num_classes > 256
    return Image.fromarray(ids.astype(np.uint16 if is_deep else np.uint8))


def encode_picture(picture: Image.Image) -> bytes:
    """Encodes a PIL image as PNG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def check_same_size(image: np.ndarray, ids: np.ndarray, what: str) -> None:
    """Checks that an image and a mask or class map have the same height and width.

    Args:
        image: `[height, width, 3]`.
        ids: `[height, width]`.
        what: How the error calls `ids`.

    Raises:
        ValueError: The sizes differ.
    """
    if image.shape[:2] != ids.shape:
        raise ValueError(
            f"image and {what} must have the same height and width, "
            f"received {list(image.shape[:2])} and {list(ids.shape)}"
        )
