"""Bars show the IoU of each class and its interval."""

import itertools

import numpy as np
import pytest

from tests.report.examples import LABELS, ink_at_edge, read_png
from tfseg.data.labels import LabelSpec
from tfseg.report import class_bars, figures

NAN = float("nan")


def test_bars_and_whiskers_lie_at_their_values():
    intervals = np.array([[0.4, NAN, 0.1], [0.7, NAN, 0.3]])
    figure = class_bars.draw_class_bars([0.5, NAN, 0.25], LABELS, intervals)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [0.5, 0, 0.25]
    for bar, color in zip(axes.patches, LABELS.palette, strict=True):
        np.testing.assert_allclose(bar.get_facecolor()[:3], np.divide(color, 255))
    (segments,) = (each.get_segments() for each in axes.collections)
    np.testing.assert_allclose(segments, [[[0.4, 0], [0.7, 0]], [[0.1, 2], [0.3, 2]]])
    assert [label.get_text() for label in axes.get_yticklabels()][2] == "a<b"


@pytest.mark.parametrize("num_classes", [1, 19, 150])
def test_names_do_not_overlap(num_classes):
    labels = LabelSpec(tuple(f"class number {index}" for index in range(num_classes)))
    figure = class_bars.draw_class_bars([0.5] * num_classes, labels)
    assert not ink_at_edge(read_png(figures.encode_figure(figure)))
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    for one, other in itertools.pairwise(boxes):
        assert not one.overlaps(other)


def test_another_number_of_values_is_refused():
    with pytest.raises(ValueError, match="received 2 values of IoU for 3 classes"):
        class_bars.draw_class_bars([0.5, 0.5], LABELS)
