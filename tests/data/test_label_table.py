import logging

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported
from tfseg.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from tfseg.data import label_table
from tfseg.data.labels import LabelSpec, color_value
from tfseg.data.sources import checks
from tfseg.data.split import Split
from tfseg.errors import UserError
from tfseg.training import preparation

ADE = LabelSpec(("wall", "sky", "floor"), (1, 2, 3), void_values=(0,))


def test_the_table_has_raw_value_class_share_and_name():
    labels = LabelSpec(("sky", "road"), (4, 0), merged_values=((9, 1),))
    rows = label_table.rows(labels, {4: 50, 9: 25, 7: 25})
    assert [row.split() for row in rows] == [
        ["value", "class", "share", "name"],
        ["4", "0", "50.00%", "sky"],
        ["0", "1", "0.00%", "road"],
        ["9", "1", "25.00%", "road"],
        ["7", "-", "25.00%", "(void)"],
    ]


def test_colours_are_spelled_as_id2label_spells_them():
    labels = LabelSpec(("road",), (color_value(128, 64, 1),), has_color_masks=True)
    assert label_table.rows(labels, {})[1].split() == ["128,64,1", "0", "0.00%", "road"]


def test_many_values_of_void_are_summed_up():
    pixels = {0: 100, **{raw: 1 + (raw < 60) for raw in range(50, 100)}}
    rows = label_table.rows(LabelSpec(("a",)), pixels)
    assert len(rows) == 1 + 1 + 10 + 1
    assert rows[-1].split() == ["other", "-", f"{40 / 160:.2%}", "(void)"]


def test_values_without_a_name_are_warned_of():
    labels = LabelSpec(("a", "b"))
    assert label_table.warn_unnamed(labels, {0: 1, 1: 1, 255: 1}) is None
    warning = label_table.warn_unnamed(labels, {0: 1, 9: 3})
    assert warning == "75.00% of the pixels are void because no class has their value (9)"
    shifted = label_table.warn_unnamed(labels, {0: 1, 2: 1, 1: 2})
    assert shifted.endswith(
        "(2); if 0 is void and the first class has value 1, set --reduce_labels"
    )


@pytest.mark.parametrize("values", [{0, 3}, {1, 2, 3}, {0, 1, 2, 3, 255}, {0, 1}])
def test_masks_that_are_not_reduced_may_be_reduced(values):
    label_table.check_reduction(ADE, dict.fromkeys(values, 1), "train")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({0, 1, 2, 255}, "hold the ignore index 255 but never 3"),
        ({1, 2}, "hold neither 0, which it makes void, nor 3"),
    ],
)
def test_masks_that_are_reduced_are_not_reduced_again(values, message):
    with pytest.raises(UserError, match=f"split train {message}.*leave it out"):
        label_table.check_reduction(ADE, dict.fromkeys(values, 1), "train")


@pytest.fixture
def reduced(folder):
    """A folder whose masks were reduced: 0 and 1 are the classes, 255 is void."""
    for split in ("train", "val"):
        folder.pair(split, "a", mask=np.array([[0, 1, 255]], np.uint8))
        Image.new("RGB", (3, 1)).save(folder.image_path(split, "a.png"))
    (folder.root / "id2label.json").write_text('{"0": "wall", "1": "sky"}')
    return folder


def prepare(folder, tmp_path, **data):
    data = DataConfig(dataset=f"folder:{folder.root}", image_size=(32, 32), **data)
    model, run = ModelConfig(init_from="scratch"), RunConfig(model_dir=str(tmp_path / "run"))
    return preparation.prepare_run(TrainConfig(data=data, model=model, run=run))


def test_a_training_prints_the_table_and_refuses_to_reduce_twice(reduced, tmp_path, caplog):
    with pytest.raises(UserError, match="masks of split train hold the ignore index 255 but never"):
        prepare(reduced, tmp_path, reduce_labels=True)
    with caplog.at_level(logging.INFO):
        caplog.clear()
        prepare(reduced, tmp_path)
    assert "labels, by the pixels of all masks of train" in caplog.text
    assert any(
        line.split()[-4:] == ["1", "1", "33.33%", "sky"] for line in caplog.text.splitlines()
    )


def test_one_class_is_nothing_to_tell_apart(reduced, tmp_path):
    (reduced.root / "id2label.json").write_text('{"1": "sky"}')
    with pytest.raises(UserError, match="has one class, 'sky', and a model needs two"):
        prepare(reduced, tmp_path)


def test_sources_that_decode_nothing_before_show_a_sample(caplog):
    def read(index):
        return checks.EncodedExample(b"", np.full((2, 2), index // 32), "an image", "a mask")

    split = Split("train", tf.data.Dataset.range(100), 100, "digest", read=read)
    with caplog.at_level(logging.INFO):
        label_table.log_labels(split, LabelSpec(("sky", "road", "tree")), reduce_labels=False)
    assert "labels, by the pixels of the first 64 masks of train" in caplog.text
    shares = [line.split()[-2] for line in caplog.text.splitlines() if "%" in line]
    assert shares == ["50.00%", "50.00%", "0.00%"]


@pytest.mark.parametrize("count", [3, 100])
def test_a_sample_of_reduced_masks_is_warned_of(count, caplog):
    def read(index):
        return checks.EncodedExample(b"", np.array([[0, 1, 255]]), "an image", "a mask")

    split = Split("train", tf.data.Dataset.range(count), count, "digest", read=read)
    if count == 3:
        with pytest.raises(UserError, match="as if their labels were reduced already"):
            label_table.log_labels(split, ADE, reduce_labels=True)
    else:
        label_table.log_labels(split, ADE, reduce_labels=True)
        assert "as if their labels were reduced already" in caplog.text
