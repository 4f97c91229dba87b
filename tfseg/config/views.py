"""Reads the text of `--tta`, such as `flip,0.75,1.0,1.25`."""

from __future__ import annotations

from typing import NamedTuple

from tfseg.errors import UserError

_FLIP = "flip"
_LARGEST = 4.0  # 16 times the pixels


class Views(NamedTuple):
    """The views of each image that test-time augmentation averages.

    Attributes:
        scales: Factors of the image size.
        flips: Whether each view is also seen from left to right.
    """

    scales: tuple[float, ...]
    flips: bool


def parse(text: str) -> Views:
    """Returns the views that the text names; without a scale, the one of the model.

    >>> parse("flip,0.75,1.0")
    Views(scales=(0.75, 1.0), flips=True)

    Raises:
        UserError: A part is neither `flip` nor a number above 0 and at most 4, or is named twice.
    """
    parts = [part.strip() for part in text.split(",")]
    scales = tuple(_parse_scale(part, text) for part in parts if part != _FLIP)
    if len(set(scales)) < len(scales) or parts.count(_FLIP) > 1:
        raise UserError(f"--tta={text} names a view twice; name each once")
    return Views(scales or (1.0,), _FLIP in parts)


def _parse_scale(part: str, text: str) -> float:
    try:
        scale = float(part)
    except ValueError:
        scale = 0.0
    if not 0 < scale <= _LARGEST:
        raise UserError(
            f"--tta={text} has the part {part!r}; it takes flip and scales above 0 and at most "
            f"{_LARGEST:g}, separated by commas, e.g. flip,0.75,1.0,1.25"
        )
    return scale
