"""The report's page is valid HTML, shows metrics and figures, and is never half-written."""

import base64
import html.parser
import io
import math

import numpy as np
import pytest
from PIL import Image

from tfseg.data.labels import LabelSpec
from tfseg.report.gallery import Prediction
from tfseg.report.page import Content, write_report

LABELS = LabelSpec(
    ("<b>road</b>", "tree & bush"), palette=((255, 0, 0), (0, 128, 0)), raw_values=(7, 8)
)
PICTURES = ["curves.png", "classes.png", "predictions.png", "confusion_matrix.png"]


class Page(html.parser.HTMLParser):
    """Collects pictures and the text of each table cell; checks that every tag is closed."""

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
        assert not {"href", "onclick"} & dict(attrs).keys()
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


def content(**changes):
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (12, 16))
    image = rng.integers(0, 256, (12, 16, 3), np.uint8)
    arguments = {
        "title": "a < b",
        "history": [{"step": 5.0, "loss": 1.0, "val_mean_iou": 0.5}],
        "predictions": [Prediction(image, mask, 1 - mask)],
        "confusion": np.array([[30, 10], [0, 0]]),
        "labels": LABELS,
        "metrics": {
            "step": 1200,
            "mean_iou": 0.75,
            "mean_iou_low": 0.625,
            "mean_iou_high": 0.875,
            "iou_<b>road</b>": 0.75,
            "accuracy_<b>road</b>": 0.875,
            "iou_tree & bush": math.nan,
        },
        "iou_intervals": np.array([[0.5, math.nan], [0.9, math.nan]]),
        "facts": {"Data": {"data set": "<folder>"}},
    }
    return Content(**arguments | changes)


def file_names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_page_holds_its_pictures_which_also_lie_beside_it(tmp_path):
    index = write_report(tmp_path / "new" / "report", content())

    assert file_names(index.parent) == sorted([*PICTURES, "index.html"])
    page = Page(index.read_text())
    for source, name in zip(page.pictures, PICTURES, strict=True):
        kind, _, encoded = source.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(encoded) == (index.parent / name).read_bytes()
        Image.open(io.BytesIO(base64.b64decode(encoded))).verify()


def test_tables_hold_the_metrics_and_escaped_names(tmp_path):
    text = write_report(tmp_path, content()).read_text()
    assert [[cell.strip() for cell in row] for row in Page(text).rows] == [
        ["step", "1200"],
        ["mean_iou", "0.7500"],
        ["mean_iou_low", "0.6250"],
        ["mean_iou_high", "0.8750"],
        ["class", "mask values", "IoU", "accuracy", "Dice", "95 % interval", "% of pixels"],
        ["<b>road</b>", "7", "0.7500", "0.8750", "-", "0.5000 to 0.9000", "100.00"],
        ["tree & bush", "8", "-", "-", "-", "-", "0.00"],
        ["data set", "<folder>"],
    ]
    assert "<title>a &lt; b</title>" in text
    assert "interval over the images of 0.6250 to 0.8750" in text
    assert "<b>" not in text
    assert "background: rgb(255, 0, 0)" in text


def test_without_history_and_predictions_there_are_no_pictures_of_them(tmp_path):
    index = write_report(tmp_path, content(history=[], predictions=[], iou_intervals=None))
    assert file_names(tmp_path) == ["classes.png", "confusion_matrix.png", "index.html"]
    assert len(Page(index.read_text()).pictures) == 2


def test_a_confusion_matrix_without_pixels_has_dashes(tmp_path):
    empty = content(confusion=np.zeros((2, 2), np.int64), metrics={}, facts={}, iou_intervals=None)
    rows = Page(write_report(tmp_path, empty).read_text()).rows
    assert [row[2:] for row in rows[1:]] == [["-", "-", "-", "-", "0.00"]] * 2


def test_an_error_in_drawing_leaves_an_older_report_unchanged(tmp_path):
    write_report(tmp_path, content())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    rows = [{"step": 5.0, "loss": 9.0}]
    with pytest.raises(ValueError, match="confusion matrix of 2 classes"):
        write_report(tmp_path, content(history=rows, confusion=np.zeros((3, 3), np.int64)))

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_error_in_writing_leaves_no_temporary_file(tmp_path):
    (tmp_path / "predictions.png").mkdir()
    with pytest.raises(FileExistsError):
        write_report(tmp_path, content())
    assert file_names(tmp_path) == ["classes.png", "curves.png", "predictions.png"]
