"""The figure of a confusion matrix shows percent, and its texts do not overlap."""

import itertools

import numpy as np
import pytest

from tests.report.examples import LABELS, ink_at_edge, read_png
from tfseg.report import confusion_figure, figures


def test_confusion_matrix_shows_percent_of_the_true_class():
    confusion = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    figure = confusion_figure.draw_confusion_matrix(confusion, LABELS.names)

    (axes,) = figure.axes
    percent = axes.get_images()[0].get_array()
    np.testing.assert_allclose(percent[:2], [[75, 25, 0], [25, 75, 0]])
    assert percent.mask.tolist() == [[False] * 3, [False] * 3, [True] * 3]
    assert [text.get_text() for text in axes.texts] == ["75", "25", "25", "75"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "truth")


@pytest.mark.parametrize(
    ("num_classes", "max_pixels"), [(2, 700), (19, 1500), (150, 2400), (400, 2600)]
)
def test_confusion_matrix_fits_into_its_image(num_classes, max_pixels):
    names = [f"class number {index}" for index in range(num_classes)]
    figure = confusion_figure.draw_confusion_matrix(np.eye(num_classes, dtype=np.int64), names)

    picture = read_png(figures.encode_figure(figure))

    assert max(picture.size) <= max_pixels
    axes = figure.axes[0]
    assert not ink_at_edge(picture)
    assert len(axes.texts) == (num_classes if num_classes <= 20 else 0)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))


def test_confusion_matrix_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"\[3, 3\], received \[2, 3\]"):
        confusion_figure.draw_confusion_matrix(np.zeros((2, 3), int), LABELS.names)
