"""Known data sets have their colours; other classes have ones that colour-blind readers tell apart.

How colour-blind people see a colour is simulated with the matrices for severity 1.0 of Machado,
Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency"
(2009), https://www.inf.ufrgs.br/~oliveira/pubs_files/CVD_Simulation/CVD_Simulation.html
"""

import colorsys
import itertools

import numpy as np
import pytest

from tfseg.data import class_names, label_files
from tfseg.data.catalog import get_dataset_spec
from tfseg.data.labels import LabelSpec
from tfseg.data.palettes import VOID_COLOR, choose_palette, voc_color

# Linear red, green and blue as a person of this vision sees them.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
# Linear sRGB -> CIE XYZ of white D65, and CIE Lab: IEC 61966-2-1 and CIE 15.
XYZ_OF_RGB = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = XYZ_OF_RGB.sum(axis=1)
# Units of CIE Lab. People just notice a distance of 2.3 (Mahy and others, 1994).
CLEARLY_APART = 15


def lab(colors, vision):
    srgb = np.array(colors) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(VISIONS[vision]), 0, 1)
    ratio = seen @ XYZ_OF_RGB.T / WHITE
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def smallest_distance(colors, vision):
    pairs = itertools.combinations(lab(colors, vision), 2)
    return min(np.linalg.norm(first - second) for first, second in pairs)


def numbered(count):
    return tuple(f"class {index}" for index in range(count))


def test_lab_distance():
    np.testing.assert_allclose(lab([(255, 0, 0)], "normal"), [[53.24, 80.09, 67.20]], atol=0.02)
    white_and_black = [(255, 255, 255), (0, 0, 0)]
    for vision in VISIONS:
        np.testing.assert_allclose(smallest_distance(white_and_black, vision), 100, atol=0.1)


@pytest.mark.parametrize("vision", VISIONS)
def test_every_vision_tells_default_colours_apart(vision):
    palette = choose_palette(("background", *numbered(10)))
    assert smallest_distance(palette, vision) > CLEARLY_APART
    palette = choose_palette(("background", *numbered(32)))
    assert smallest_distance(palette, vision) > 12


def test_hues_of_the_golden_ratio_are_not_told_apart():
    """The palette before this one: the distance that the test above asks for is not given away."""
    steps = [(0.03 + index * 0.618033988749895, (0.95, 0.7, 0.85)[index % 3]) for index in range(8)]
    colors = [255 * np.array(colorsys.hsv_to_rgb(hue % 1, 0.75, value)) for hue, value in steps]
    assert smallest_distance(colors, "normal") > CLEARLY_APART
    for vision in ("protanopia", "deuteranopia", "tritanopia"):
        assert smallest_distance(colors, vision) < CLEARLY_APART


@pytest.mark.parametrize("count", [1, 3, 33, 256, 3000])
def test_no_two_classes_share_a_colour(count):
    palette = choose_palette(("background", *numbered(count - 1)))
    assert len({*palette, VOID_COLOR}) == count + 1
    assert 0 <= np.min(palette) <= np.max(palette) <= 255
    assert palette == choose_palette(("background", *numbered(count + 5)))[:count]


@pytest.mark.parametrize(
    "name",
    [
        *("Background", "__background__", "bg", "other", "Others"),
        *("unlabeled", "unlabelled", "ignore", "void"),
    ],
)
def test_background_is_a_dark_grey_and_takes_no_colour(name):
    objects = choose_palette(("cat", "dog", "cow"))
    for position in range(4):
        names = ["cat", "dog", "cow"]
        names.insert(position, name)
        palette = list(choose_palette(names))
        red, green, blue = palette.pop(position)
        assert red == green == blue < 64
        assert tuple(palette) == objects


def test_several_classes_of_that_kind_differ():
    names = ("background", "other", "unlabeled", "ignore", "bg", "cat")
    assert len(set(choose_palette(names))) == len(names)


def test_classes_of_oxford_iiit_pet():
    pet, background, outline = get_dataset_spec("oxford_iiit_pet").labels.palette
    assert max(background) - min(background) == 0
    assert sum(background) < min(sum(pet), sum(outline))


def test_a_kept_colour_is_given_to_no_other_class():
    first, second, *_ = choose_palette(numbered(3))
    grey = choose_palette(("background",))[0]
    palette = choose_palette(("new", "old", "other"), {"old": first, "gone": second})
    assert palette == (second, first, grey)
    assert choose_palette(("a", "bg", "other"), {"a": grey})[1:] != (grey, grey)


def test_label_map_keeps_colours_apart(tmp_path):
    (tmp_path / "map.json").write_text('{"a": "new", "d": "newer"}')
    labels = LabelSpec(("a", "b", "c", "d"))
    merged = label_files.apply_label_map(labels, str(tmp_path / "map.json"))
    assert dict(zip(merged.names, merged.palette, strict=True)).items() >= {
        ("b", labels.palette[1]),
        ("c", labels.palette[2]),
    }
    assert len(set(merged.palette)) == 4


CITYSCAPES_NAMES = tuple(name for name, _, _ in class_names.CITYSCAPES)
ADE20K_NAMES, ADE20K_COLORS = zip(*class_names.ADE20K, strict=True)
VOC_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
CAMVID_NAMES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car"),
    *("pedestrian", "bicyclist"),
)


@pytest.mark.parametrize(
    ("names", "colors"),
    [
        (VOC_NAMES, {0: (0, 0, 0), 1: (128, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}),
        (CITYSCAPES_NAMES, {0: (128, 64, 128), 10: (70, 130, 180), 18: (119, 11, 32)}),
        (CAMVID_NAMES, {0: (128, 128, 128), 4: (0, 0, 192), 10: (0, 128, 192)}),
        ((*CAMVID_NAMES, "Unlabelled"), {3: (128, 64, 128), 11: (0, 0, 0)}),
        (ADE20K_NAMES, {0: (120, 120, 120), 12: (150, 5, 61), 149: (92, 0, 255)}),
    ],
    ids=["voc", "cityscapes", "camvid", "camvid with void", "ade20k"],
)
def test_classes_of_a_known_data_set_have_its_colours(names, colors):
    palette = LabelSpec(names).palette
    assert {index: palette[index] for index in colors} == colors
    in_other_words = [f" {name.upper()} ; something else, or that" for name in names]
    assert choose_palette(in_other_words) == palette
    others = LabelSpec((*names[:-1], "another class", "and another")).palette
    assert not set(others) & set(colors.values())


def test_ade20k_in_the_spelling_of_the_benchmark():
    """objectInfo150.csv separates words by the sign that separates synonyms: chest;of;drawers."""
    names = [name.split(" ")[0] for name in ADE20K_NAMES]
    assert sum(a != b for a, b in zip(names, ADE20K_NAMES, strict=True)) == 15
    assert choose_palette(names) == ADE20K_COLORS
    assert choose_palette(["something", *names[1:]]) != ADE20K_COLORS


def test_objects_of_scene_parse150_have_the_colours_of_ade20k():
    labels = get_dataset_spec("scene_parse150").labels
    assert dict(zip(labels.names, labels.palette, strict=True)).items() <= set(class_names.ADE20K)


def test_the_facts_of_ade20k():
    assert len(set(ADE20K_NAMES)) == 150
    twice = [name for name, color in class_names.ADE20K if ADE20K_COLORS.count(color) > 1]
    assert twice == ["road", "skyscraper"]
    # The sums of red, green and blue in the lists of MMSegmentation 1.2.2 and GluonCV 0.10.5.
    assert np.sum(ADE20K_COLORS, axis=0).tolist() == [17965, 20212, 20250]


def test_voc_colour_of_void():
    assert voc_color(255) == VOID_COLOR
