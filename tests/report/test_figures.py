"""The figures show what they are given, their texts do not overlap, and bad input is refused."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from tests.report.examples import LABELS, make_example, read_png
from tfseg.data.labels import LabelSpec
from tfseg.report import figures, visualization


def ink_at_edge(picture):
    dark = np.asarray(picture.convert("L")) < 250
    return dark[[0, -1]].any() or dark[:, [0, -1]].any()


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_gallery_shows_image_truth_and_prediction_of_each_example():
    examples = [make_example(20, 30), make_example(45, 25, seed=1)]
    images, masks, class_maps = zip(*examples, strict=True)

    figure = figures.draw_prediction_gallery(images, masks, class_maps, LABELS)

    assert [axes.get_title() for axes in figure.axes[:3]] == ["image", "truth", "prediction"]
    shown = [axes.get_images()[0].get_array() for axes in figure.axes]
    assert len(shown) == 6
    for index, (image, mask, class_map) in enumerate(examples):
        truth, prediction = (visualization.colorize(x, LABELS.palette) for x in (mask, class_map))
        for panel, expected in zip(shown[3 * index :], (image, truth, prediction), strict=False):
            np.testing.assert_array_equal(panel, expected)


def test_gallery_legend_names_the_classes_that_occur():
    image, mask, class_map = make_example(20, 30)
    figure = figures.draw_prediction_gallery([image], [mask], [class_map], LABELS)
    assert legend_texts(figure) == ["_background_", r"cost in \$ or \$\$"]

    mask[0, 0], class_map[0, 0] = LABELS.ignore_index, 2
    figure = figures.draw_prediction_gallery([image], [mask], [class_map], LABELS)
    assert legend_texts(figure)[2:] == ["a<b", "void"]
    void_color = figure.legends[0].get_patches()[-1].get_facecolor()[:3]
    np.testing.assert_allclose(void_color, np.divide(visualization.VOID_COLOR, 255))


@pytest.mark.parametrize("num_classes", [2, 19, 150])
def test_gallery_texts_and_panels_do_not_overlap(num_classes):
    labels = LabelSpec(tuple(f"class number {index}" for index in range(num_classes)))
    mask = np.arange(20 * 30).reshape(20, 30) % num_classes
    image = np.zeros((20, 30, 3), np.uint8)
    figure = figures.draw_prediction_gallery([image] * 2, [mask] * 2, [mask] * 2, labels)
    assert not ink_at_edge(read_png(figures.encode_figure(figure)))

    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes.append(figure.legends[0].get_window_extent())
    assert len(legend_texts(figure)) == num_classes
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])


def test_gallery_refuses_lists_and_sizes_that_do_not_match():
    image, mask, class_map = make_example(20, 30)
    with pytest.raises(ValueError, match="at least one, received 0 images"):
        figures.draw_prediction_gallery([], [], [], LABELS)
    with pytest.raises(ValueError, match="received 1 images, 2 masks, 1 class maps"):
        figures.draw_prediction_gallery([image], [mask, mask], [class_map], LABELS)
    with pytest.raises(ValueError, match=r"image and class map .* \[20, 30\] and \[10, 30\]"):
        figures.draw_prediction_gallery([image], [mask], [class_map[:10]], LABELS)


def curves(figure):
    """Returns panel -> line -> points, without the marks of the best evaluation."""
    return {
        axes.get_title().split(",")[0]: {
            line.get_label(): line.get_xydata().tolist()
            for line in axes.get_lines()
            if not line.get_label().startswith("_")
        }
        for axes in figure.axes
    }


def test_curves_draw_every_column_and_mark_the_best():
    rows = [
        {"step": 10, "loss": 3.0, "val_loss": 4.0, "val_mean_iou": 0.1, "learning_rate": 1e-3},
        {"step": 20, "loss": 2.0, "val_loss": 3.0, "val_mean_iou": 0.5, "learning_rate": 5e-4},
        {"step": 30, "loss": 1.0, "val_loss": 3.5, "val_mean_iou": 0.4, "learning_rate": 0.0},
    ]

    figure = figures.draw_training_curves(rows)

    assert curves(figure) == {
        "loss": {"train": [[10, 3], [20, 2], [30, 1]], "val": [[10, 4], [20, 3], [30, 3.5]]},
        "mean IoU": {"val": [[10, 0.1], [20, 0.5], [30, 0.4]]},
        "learning rate": {"train": [[10, 1e-3], [20, 5e-4], [30, 0]]},
    }
    assert figure.axes[1].get_title() == "mean IoU, best 0.500 at step 20"
    assert {axes.get_xlabel() for axes in figure.axes} == {"step"}
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert curves(figures.draw_training_curves(columns)) == curves(figure)


def test_curves_draw_a_single_row():
    figure = figures.draw_training_curves([{"epoch": 1, "loss": 2.0, "val_mean_iou": 0.25}])
    assert curves(figure) == {"loss": {"train": [[1, 2]]}, "mean IoU": {"val": [[1, 0.25]]}}
    assert figure.axes[0].get_lines()[0].get_marker() == "o"
    assert read_png(figures.encode_figure(figure)).width > 600


def test_curves_leave_out_nan_and_missing_values():
    nan, inf = float("nan"), float("inf")
    rows = [
        {"loss": 2.0, "val_mean_iou": nan, "learning_rate": nan},
        {"loss": inf, "val_mean_iou": 0.5},
        {"loss": 1.0, "val_mean_iou": 0.25},
    ]
    figure = figures.draw_training_curves(rows)
    assert curves(figure) == {
        "loss": {"train": [[1, 2], [3, 1]]},
        "mean IoU": {"val": [[2, 0.5], [3, 0.25]]},
    }
    assert figure.axes[1].get_title() == "mean IoU, best 0.500 at evaluation 2"


@pytest.mark.parametrize("history", [[], {}, [{}], [{"step": 1, "loss": float("nan")}]])
def test_curves_of_a_history_without_values_say_so(history):
    figure = figures.draw_training_curves(history)
    assert figure.axes == []
    assert [text.get_text() for text in figure.texts] == ["no finite value recorded"]
    assert read_png(figures.encode_figure(figure)).width > 100


def test_curves_refuse_columns_of_different_lengths():
    with pytest.raises(ValueError, match=r"one length, received .*'loss': 2, 'val_loss': 1"):
        figures.draw_training_curves({"loss": [1.0, 2.0], "val_loss": [1.0]})


def test_confusion_matrix_shows_percent_of_the_true_class():
    confusion = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    figure = figures.draw_confusion_matrix(confusion, LABELS.names)

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
    figure = figures.draw_confusion_matrix(np.eye(num_classes, dtype=np.int64), names)

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
        figures.draw_confusion_matrix(np.zeros((2, 3), int), LABELS.names)


def test_drawing_loads_neither_pyplot_nor_tensorflow():
    code = (
        "import sys; from tfseg.report import figures as v;"
        "assert 'matplotlib' not in sys.modules;"
        "v.encode_figure(v.draw_training_curves([{'loss': 1.0}]));"
        "print(sorted({'matplotlib', 'matplotlib.pyplot', 'tensorflow'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['matplotlib']"
