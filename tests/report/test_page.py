"""The report's page is valid HTML, shows metrics and figures, and is never half-written."""

import html.parser
import math

import numpy as np
import pytest
from PIL import Image

from tfseg.data.labels import LabelSpec
from tfseg.report.page import read_history, write_report

LABELS = LabelSpec(("<b>road</b>", "tree & bush"), palette=((255, 0, 0), (0, 128, 0)))
FILES = ["confusion_matrix.png", "curves.png", "index.html", "predictions.png"]


class Page(html.parser.HTMLParser):
    """Collects image links and the text of each table cell; checks that every tag is closed."""

    VOID_TAGS = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.open_tags, self.pictures, self.rows = [], [], []
        self.feed(text)
        self.close()
        assert self.open_tags == []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID_TAGS:
            self.open_tags.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag

    def handle_data(self, data):
        if "th" in self.open_tags or "td" in self.open_tags:
            self.rows[-1][-1] += data


def report_arguments(**changes):
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (12, 16))
    arguments = {
        "history_csv_rows": [{"step": 5.0, "loss": 1.0, "val_mean_iou": 0.5}],
        "gallery": [(rng.integers(0, 256, (12, 16, 3), np.uint8), mask, 1 - mask)],
        "confusion": np.array([[30, 10], [0, 0]]),
        "labels": LABELS,
        "metrics": {
            "step": 1200,
            "mean_iou": 0.75,
            "iou_<b>road</b>": 0.75,
            "accuracy_<b>road</b>": 0.875,
            "iou_tree & bush": math.nan,
        },
    }
    return arguments | changes


def file_names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_report_writes_the_page_and_its_figures(tmp_path):
    index = write_report(tmp_path / "new" / "report", **report_arguments())

    assert file_names(tmp_path / "new" / "report") == FILES
    page = Page(index.read_text())
    assert page.pictures == ["curves.png", "predictions.png", "confusion_matrix.png"]
    for name in page.pictures:
        Image.open(index.parent / name).verify()


def test_report_tables_hold_the_metrics_and_escaped_names(tmp_path):
    index = write_report(tmp_path, **report_arguments(), title="a < b")

    text = index.read_text()
    assert Page(text).rows == [
        ["step", "1200"],
        ["mean_iou", "0.7500"],
        ["class", "IoU", "accuracy", "% of pixels"],
        ["<b>road</b>", "0.7500", "0.8750", "100.00"],
        ["tree & bush", "-", "-", "0.00"],
    ]
    assert "<title>a &lt; b</title>" in text
    assert "<h2>Final metrics</h2>" in text
    assert "<b>" not in text
    assert "background: rgb(255, 0, 0)" in text


def test_report_without_history_and_gallery_has_only_the_confusion_matrix(tmp_path):
    index = write_report(tmp_path, **report_arguments(history_csv_rows=[], gallery=[]))
    assert file_names(tmp_path) == ["confusion_matrix.png", "index.html"]
    assert Page(index.read_text()).pictures == ["confusion_matrix.png"]


def test_report_works_for_a_confusion_matrix_without_pixels(tmp_path):
    index = write_report(
        tmp_path, **report_arguments(confusion=np.zeros((2, 2), np.int64), metrics={})
    )
    assert Page(index.read_text()).rows[1:] == [
        ["<b>road</b>", "-", "-", "0.00"],
        ["tree & bush", "-", "-", "0.00"],
    ]


def test_an_error_in_drawing_leaves_an_older_report_unchanged(tmp_path):
    write_report(tmp_path, **report_arguments())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    rows = [{"step": 5.0, "loss": 9.0}]
    with pytest.raises(ValueError, match="confusion matrix of 2 classes"):
        write_report(
            tmp_path,
            **report_arguments(history_csv_rows=rows, confusion=np.zeros((3, 3), np.int64)),
        )

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_error_in_writing_leaves_no_temporary_file(tmp_path):
    (tmp_path / "predictions.png").mkdir()
    with pytest.raises(FileExistsError):
        write_report(tmp_path, **report_arguments())
    assert file_names(tmp_path) == ["curves.png", "predictions.png"]


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
