"""A legend of class colours and names below a picture."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfseg import files

_SMALLEST_FONT, _FONT_SHARE = 12, 30  # pixels; the shorter side of a picture has 30 lines of text
_MAX_LETTERS = 40  # Longer names are shortened.
_PAPER, _INK, _FRAME = (255, 255, 255), (0, 0, 0), (128, 128, 128)


def add_legend(image: np.ndarray, entries: Sequence[tuple[str, Sequence[int]]]) -> np.ndarray:
    """Puts a legend below a picture, as wide as the picture and in as many rows as it takes.

    The picture itself keeps its pixels. A picture that is narrower than the longest entry gets a
    white margin on its right.

    Args:
        image: uint8 `[height, width, 3]`, RGB, 0..255.
        entries: Pairs of a class's name and its colour, RGB, 0..255, in the order of the legend.

    Returns:
        uint8 `[height + rows, max(width, longest entry), 3]`.
    """
    height, width = image.shape[:2]
    line = max(_SMALLEST_FONT, min(height, width) // _FONT_SHARE)
    font = _load_font(line)
    names = [_shorten(files.printable(name)) for name, _ in entries]
    # An entry is a gap, a square of one line, half a gap and the name.
    entry_width = round(2.5 * line + max(font.getlength(name) for name in names))
    num_columns = max(1, (width - line) // entry_width)
    num_rows = -(-len(names) // num_columns)
    size = (max(width, entry_width + line), round(1.5 * line * num_rows + 0.5 * line))
    legend = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(legend)
    for index, (name, (_, color)) in enumerate(zip(names, entries, strict=True)):
        row, column = divmod(index, num_columns)
        left, top = line + column * entry_width, round((0.5 + 1.5 * row) * line)
        draw.rectangle((left, top, left + line, top + line), tuple(color), _FRAME)
        draw.text((left + 1.5 * line, top + line / 2), name, _INK, font, anchor="lm")
    margin = [(0, 0), (0, size[0] - width), (0, 0)]
    return np.concatenate([np.pad(image, margin, constant_values=255), np.asarray(legend)])


def _load_font(size: int) -> ImageFont.FreeTypeFont:
    """Loads a font with Latin, Greek and Cyrillic letters, which Pillow's own has not."""
    import matplotlib

    fonts = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(fonts / "DejaVuSans.ttf", size)


def _shorten(name: str) -> str:
    return name if len(name) <= _MAX_LETTERS else f"{name[: _MAX_LETTERS - 1]}…"
