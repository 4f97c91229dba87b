"""The figures show what they are given, their texts do not overlap, and bad input is refused."""

import subprocess
import sys

import pytest

from tests.report.examples import read_png
from tfseg.report import figures


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


def test_drawing_loads_neither_pyplot_nor_tensorflow():
    code = (
        "import sys; from tfseg.report import figures as v;"
        "assert 'matplotlib' not in sys.modules;"
        "v.encode_figure(v.draw_training_curves([{'loss': 1.0}]));"
        "print(sorted({'matplotlib', 'matplotlib.pyplot', 'tensorflow'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['matplotlib']"
