"""The gallery shows what it is given, and its texts do not overlap."""

import numpy as np
import pytest

from tests.report.examples import LABELS, ink_at_edge, make_example, read_png
from tfseg.data.labels import LabelSpec
from tfseg.report import figures, gallery, visualization
from tfseg.report.gallery import Prediction


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_shows_image_truth_prediction_and_errors_of_each_example():
    examples = [make_example(20, 30), make_example(45, 25, seed=1)]
    predictions = [Prediction(*example, f"number {i}") for i, example in enumerate(examples)]

    figure = gallery.draw_predictions(predictions, LABELS)

    headings = [text.get_text() for text in figure.texts]
    assert headings == ["image", "truth", "prediction", "errors"]
    assert [figure.axes[row].get_title(loc="left") for row in (0, 4)] == ["number 0", "number 1"]
    shown = [axes.get_images()[0].get_array() for axes in figure.axes]
    assert len(shown) == 8
    for index, (image, mask, class_map) in enumerate(examples):
        truth, prediction = (visualization.colorize(x, LABELS.palette) for x in (mask, class_map))
        errors = gallery.draw_errors(mask, class_map, LABELS)
        expected = (image, truth, prediction, errors)
        for panel, picture in zip(shown[4 * index : 4 * index + 4], expected, strict=True):
            np.testing.assert_array_equal(panel, picture)


def test_errors_tell_right_wrong_and_void_apart_by_brightness():
    mask = np.array([[0, 1, LABELS.ignore_index]])
    errors = gallery.draw_errors(mask, np.array([[0, 0, 0]]), LABELS)
    right, wrong, void = errors[0].astype(int).mean(-1)
    assert wrong < 100 < right < void == 255


def test_legend_names_the_classes_that_occur():
    image, mask, class_map = make_example(20, 30)
    figure = gallery.draw_predictions([Prediction(image, mask, class_map)], LABELS)
    assert legend_texts(figure) == ["_background_", r"cost in \$ or \$\$"]

    mask[0, 0], class_map[0, 0] = LABELS.ignore_index, 2
    figure = gallery.draw_predictions([Prediction(image, mask, class_map)], LABELS)
    assert legend_texts(figure)[2:] == ["a<b", "void"]
    void_color = figure.legends[0].get_patches()[-1].get_facecolor()[:3]
    np.testing.assert_allclose(void_color, np.divide(visualization.VOID_COLOR, 255))


@pytest.mark.parametrize("num_classes", [2, 19, 150])
def test_texts_and_panels_do_not_overlap(num_classes):
    labels = LabelSpec(tuple(f"class number {index}" for index in range(num_classes)))
    mask = np.arange(20 * 30).reshape(20, 30) % num_classes
    image = np.zeros((20, 30, 3), np.uint8)
    predictions = [Prediction(image, mask, mask, "a caption of some length " * 2)] * 2
    figure = gallery.draw_predictions(predictions, labels)
    assert not ink_at_edge(read_png(figures.encode_figure(figure)))

    panels = [axes.get_window_extent() for axes in figure.axes]
    texts = [text.get_window_extent() for text in figure.texts]
    captions = [figure.axes[row]._left_title.get_window_extent() for row in (0, 4)]
    boxes = [*panels, *texts, *captions, figure.legends[0].get_window_extent()]
    assert len(legend_texts(figure)) == num_classes
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index]), index


def test_nothing_to_show_and_other_sizes_are_refused():
    image, mask, class_map = make_example(20, 30)
    with pytest.raises(ValueError, match="at least one prediction, received none"):
        gallery.draw_predictions([], LABELS)
    with pytest.raises(ValueError, match=r"image and class map .* \[20, 30\] and \[10, 30\]"):
        gallery.draw_predictions([Prediction(image, mask, class_map[:10])], LABELS)
