"""Suggested sizes and weights against values computed by hand."""

import numpy as np
import pytest

from tfseg.config import class_weights
from tfseg.data.labels import LabelSpec
from tfseg.inspection import suggestions
from tfseg.inspection.scan import Scan


def make_scan(pixels, support, sizes=()):
    scan = Scan("train", "train", 1, len(pixels))
    scan.class_pixels[:] = pixels
    scan.class_support[:] = support
    scan.sizes = list(sizes)
    return scan


def test_weights_are_the_median_frequency_by_the_class_own():
    # Frequencies 0.8, 0.2 and 0.1: the third class is in half of the images.
    scan = make_scan([80, 20, 5], [100, 100, 50])
    assert suggestions.balance_classes(scan) == pytest.approx([0.25, 1.0, 2.0])


def test_a_class_without_a_pixel_gets_no_weight_and_names_with_commas_parse():
    labels = LabelSpec(("wall", "screen door, screen", "a=b"))
    text = suggestions.suggest_flags(make_scan([90, 10, 0], [100, 100, 0]), labels)["class_weights"]
    quoted = text.removeprefix("--class_weights=")
    assert quoted[0] == quoted[-1] == "'"
    assert class_weights.parse(quoted[1:-1]) == {"wall": 0.556, "screen door, screen": 5.0}


def test_no_weights_without_two_classes():
    labels = LabelSpec(("wall", "door"))
    assert suggestions.suggest_flags(make_scan([90, 0], [90, 0]), labels) == {}
    assert np.isnan(suggestions.balance_classes(make_scan([0, 0], [0, 0]))).all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((128, 128), (128, 128)),
        ((360, 480), (352, 480)),
        ((720, 960), (448, 576)),  # scaled by 0.616 to the area of 512x512
        ((10, 2000), (32, 1984)),
        ((1024, 2048), (352, 736)),
    ],
)
def test_sizes_are_multiples_of_32_of_about_the_area_of_512x512(size, expected):
    assert suggestions.fitting_size(size) == expected


def test_a_template_is_made_for_made_up_names_only():
    scan = make_scan([1, 1], [2, 2])
    scan.value_pixels.update({0: 5, 3: 5, 255: 1})
    made_up = LabelSpec(("class_0", "class_3"), (0, 3))
    template = suggestions.id2label_template([scan], made_up)
    assert template == '{\n  "0": "class_0",\n  "3": "class_3"\n}\n'
    assert suggestions.id2label_template([scan], LabelSpec(("sky", "sea"), (0, 3))) is None
