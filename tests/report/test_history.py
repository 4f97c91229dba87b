"""A history is read as numbers, and what cannot be read is named by its line."""

import math

import pytest

from tfseg.report.history import read_history


def test_read_history_gives_floats_and_nan_for_empty_fields(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("step,loss,mean_iou\n10,2.5,\n20,1e-3,0.5\n")

    first, second = read_history(path)

    assert (first["step"], first["loss"]) == (10, 2.5)
    assert math.isnan(first["mean_iou"])
    assert second == {"step": 20, "loss": 0.001, "mean_iou": 0.5}


@pytest.mark.parametrize("text", ["", "step,loss\n"])
def test_read_history_without_rows_is_empty(tmp_path, text):
    (tmp_path / "history.csv").write_text(text)
    assert read_history(tmp_path / "history.csv") == []


@pytest.mark.parametrize(
    ("row", "message"),
    [("1,high", "line 3: expected numbers, received"), ("1", "expected 2 fields .* received 1")],
)
def test_read_history_names_the_line_it_cannot_read(tmp_path, row, message):
    path = tmp_path / "history.csv"
    path.write_text(f"step,loss\n1,2\n{row}\n")
    with pytest.raises(ValueError, match=message):
        read_history(path)
