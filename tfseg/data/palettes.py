"""The colours of classes: those of well-known data sets, and a default for all others."""

from __future__ import annotations

import colorsys
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

from tfseg.data import class_names

Color = tuple[int, int, int]

# The colour of void in the Pascal VOC devkit. Unlike black, no class of a common palette has it.
VOID_COLOR = (224, 224, 192)

# What stands for everything that is no other class; compared without case and punctuation.
_BACKGROUND_NAMES = (
    *("background", "bg", "other", "others", "unlabeled", "unlabelled", "ignore", "void"),
)
# Dark and neutral, so that the objects stand out. A second class of such a name has the second one.
_GREYS = tuple((level, level, level) for level in (48, 80, 112))
_BLACK = (0, 0, 0)

# The first seven are the set of colours that Okabe and Ito, who are colour-blind themselves, chose
# for all kinds of colour vision, without its black: https://jfly.uni-koeln.de/color/
# The others are found by search. Each is that multiple of 15 whose nearest earlier colour is the
# farthest, in the least favourable of four kinds of vision: normal, protanopia, deuteranopia and
# tritanopia, as tests/data/test_palettes.py simulates them. So any two colours of the first 16 are
# at least 16 units of CIE Lab apart, and of all 32 at least 12; 2.3 units are just noticeable.
_DISTINCT_COLORS = (
    *((213, 94, 0), (86, 180, 233), (240, 228, 66), (0, 114, 178), (204, 121, 167), (230, 159, 0)),
    *((0, 158, 115), (150, 45, 255), (105, 45, 0), (165, 255, 135), (60, 45, 165), (150, 120, 255)),
    *((135, 180, 90), (0, 255, 255), (150, 0, 120), (90, 120, 60), (255, 180, 210), (165, 0, 90)),
    *((15, 0, 255), (255, 120, 150), (210, 15, 180), (150, 75, 15), (180, 225, 150), (45, 75, 45)),
    *((150, 45, 210), (255, 0, 105), (120, 150, 240), (75, 225, 90), (90, 0, 195), (150, 90, 135)),
    *((150, 210, 255), (90, 150, 30)),
)


def choose_palette(
    names: Sequence[str], kept: Mapping[str, Color] | None = None
) -> tuple[Color, ...]:
    """Returns the RGB colour of each class, 0..255.

    Classes of ADE20K, Cityscapes, Pascal VOC and CamVid have the colours of their data set; then a
    class for all the rest, such as background, is black. Classes of other data sets have colours
    that colour-blind readers tell apart, if they are not too many, and background is a dark grey.
    Two of these never have the same colour, nor that of void.

    Args:
        names: Names of the classes.
        kept: Colours of classes that have one already, by name.
    """
    kept = {name: kept[name] for name in names if name in kept} if kept else {}
    return (None if kept else _data_set_palette(names)) or _default_palette(names, kept)


def voc_color(class_id: int) -> Color:
    """Returns the colour of a mask value in Pascal VOC, 0..255.

    The bits of the value go to red, green and blue in turn, the lowest ones to the highest bits of
    the channels: `VOClabelcolormap` of the devkit,
    http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
    """
    red, green, blue = (
        sum((class_id >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))
        for channel in range(3)
    )
    return red, green, blue


def _key(name: str) -> str:
    """Returns what names are compared by: `trafficlight` for `Traffic_light; stoplight`."""
    return re.sub(r"[\W_]+", "", re.split("[;,]", name)[0]).lower()


# Names and colours of data sets, and how many of ten names must be theirs. Sources of ADE20K's
# classes differ in a few names, such as windowpane and window, or chest of drawers and chest.
_DATA_SETS = (
    (class_names.ADE20K, 9),
    (tuple((name, color) for name, _, color in class_names.CITYSCAPES), 10),
    (tuple((name, voc_color(1 + i)) for i, name in enumerate(class_names.VOC_OBJECTS)), 10),
    (class_names.CAMVID, 10),
)


def _data_set_palette(names: Sequence[str]) -> tuple[Color, ...] | None:
    keys = [_key(name) for name in names]
    objects = [key for key in keys if key not in _BACKGROUND_NAMES]
    for classes, tenths in _DATA_SETS:
        if len(objects) != len(classes) or len(names) > 1 + len(classes):
            continue
        is_same = [key == _key(name) for key, (name, _) in zip(objects, classes, strict=True)]
        if 10 * sum(is_same) >= tenths * len(classes):
            colors = (color for _, color in classes)
            return tuple(_BLACK if key in _BACKGROUND_NAMES else next(colors) for key in keys)
    return None


def _default_palette(names: Sequence[str], kept: Mapping[str, Color]) -> tuple[Color, ...]:
    taken = {*kept.values(), VOID_COLOR}
    greys = (color for color in _GREYS if color not in taken)
    colors = (color for color in _endless_colors() if color not in taken)
    palette = dict(kept)
    for name in names:
        if name not in kept:
            grey = next(greys, None) if _key(name) in _BACKGROUND_NAMES else None
            palette[name] = grey or next(colors)
    return tuple(palette[name] for name in names)


def _endless_colors() -> Iterator[Color]:
    """Yields colours that differ: `_DISTINCT_COLORS`, then an even spread over hues and shades.

    Hue, saturation and value follow Roberts's quasirandom sequence in three dimensions, whose
    points keep their distance: http://extremelearning.com.au/unreasonable-effectiveness-of-quasirandom-sequences/
    """
    yield from _DISTINCT_COLORS
    seen = set(_DISTINCT_COLORS)
    ratio = 1.2207440846057596  # The positive root of x^4 = x + 1.
    for index in itertools.count(1):
        hue, saturation, value = ((0.5 + index / ratio**axis) % 1 for axis in (1, 2, 3))
        rgb = colorsys.hsv_to_rgb(hue, 0.3 + 0.7 * saturation, 0.4 + 0.6 * value)
        red, green, blue = (round(255 * channel) for channel in rgb)
        if (red, green, blue) not in seen:
            seen.add((red, green, blue))
            yield red, green, blue
