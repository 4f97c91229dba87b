"""The file of an evaluation holds the counts of each image, and other files are refused."""

import json
import math

import numpy as np
import pytest

from tfseg.errors import UserError
from tfseg.evaluation import eval_file
from tfseg.evaluation.eval_file import ImageRecord


@pytest.fixture
def record():
    counts = np.random.default_rng(0).integers(0, 3, (4, 3, 5))
    counts[:, :, 2] = 0
    return ImageRecord(tuple("vwxyz"), ("a", 'b "quoted"', "c/é", "d"), counts)


def test_what_is_written_is_read_again(record, tmp_path):
    path = tmp_path / "eval.json"
    path.write_text(record.to_json({"mean_iou": 0.5, "iou_x": math.nan, "dataset": "pets"}))
    values = json.loads(path.read_text())
    assert (values["mean_iou"], values["iou_x"], values["dataset"]) == (0.5, None, "pets")
    assert all("2" not in counts for counts in values["images"].values())
    read = eval_file.read(str(path))
    assert (read.classes, read.names) == (record.classes, record.names)
    np.testing.assert_array_equal(read.counts, record.counts)


def test_images_are_matched_by_name(record):
    order = [2, 0, 3, 1]
    names = tuple(record.names[index] for index in order)
    other = ImageRecord(record.classes, names, record.counts[order])
    other.check_images(record.names, record.classes, "o.json")
    np.testing.assert_array_equal(other.in_order_of(record, "o.json"), record.counts)


def test_other_classes_and_images_are_refused(record):
    with pytest.raises(UserError, match=r"o.json has the classes v, w, x, y, z, but .* has v, w;"):
        record.check_images(record.names, ("v", "w"), "o.json")
    message = "1 are only there and 2 only here, such as e;"
    with pytest.raises(UserError, match=message):
        record.check_images(("e", "f", *record.names[1:]), record.classes, "o.json")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"classes": ["a"]}', '{"classes": ["a"], "images": {"b": {"7": [1]}}}'],
)
def test_another_file_is_refused(text, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UserError, match="holds no counts of images; it takes a JSON file"):
        eval_file.read(str(path))
    with pytest.raises(UserError, match=r"missing.json cannot be read: No such file"):
        eval_file.read(str(tmp_path / "missing.json"))
