import tfseg  # noqa: F401  (sets TF_USE_LEGACY_KERAS before TensorFlow loads)

# isort: split
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tfseg.data.sources import shapes, shapes_drawing
from tfseg.errors import UserError


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("tensorflow_datasets"))
    shapes.load("train", data_dir=path, config="tiny")
    return path


def _read_files(data_dir):
    folder = pathlib.Path(data_dir, "shapes", "tiny", "1.0.0")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_examples(data_dir):
    split = shapes.load("test", data_dir=data_dir, config="tiny")
    size = shapes_drawing.IMAGE_SIZE
    assert split.examples.element_spec == {
        "image": tf.TensorSpec((size, size, 3), tf.uint8),
        "mask": tf.TensorSpec((size, size), tf.int32),
        "name": tf.TensorSpec((), tf.string),
    }
    assert split.num_examples == len(split.examples) == 8


def test_names_are_unique_and_tell_split_and_position(data_dir):
    split = shapes.load("train", data_dir=data_dir, config="tiny")
    names = sorted(example["name"].decode() for example in split.examples.as_numpy_iterator())
    assert names == [f"shapes_train_{index:05d}" for index in range(16)]


def test_example_is_the_drawn_scene(data_dir):
    split = shapes.load("test[:3]", data_dir=data_dir, config="tiny")
    for example in split.examples.as_numpy_iterator():
        index = int(example["name"].decode().removeprefix("shapes_test_"))
        image, mask = shapes_drawing.draw_scene(np.random.default_rng((0, 1, index)))
        np.testing.assert_array_equal(example["mask"], mask)
        # JPEG at quality 95 on camera noise: measured 2 to 4 gray levels.
        assert np.abs(example["image"].astype(int) - image).mean() < 6


def test_order_is_the_same_each_time(data_dir):
    first, second = (
        [example["name"] for example in split.examples.as_numpy_iterator()]
        for split in (shapes.load("train", data_dir=data_dir, config="tiny") for _ in range(2))
    )
    assert first == second


def test_max_examples_takes_the_first(data_dir):
    whole = shapes.load("train", data_dir=data_dir, config="tiny")
    split = shapes.load("train", data_dir=data_dir, config="tiny", max_examples=3)
    assert split.num_examples == len(split.examples) == 3
    for taken, expected in zip(split.examples, whole.examples.take(3), strict=True):
        assert taken["name"] == expected["name"]


def test_digest_tells_config_split_and_number_of_examples(data_dir):
    def digest(split="train", **options):
        split = shapes.load(split, data_dir=data_dir, config="tiny", **options)
        assert re.fullmatch("[0-9a-f]{64}", split.digest)
        return split.digest

    assert digest() == digest()
    assert len({digest(), digest("test"), digest("train[:8]"), digest(max_examples=8)}) == 4


def test_prepared_twice_gives_the_same_bytes(data_dir, tmp_path):
    shapes.load("train", data_dir=str(tmp_path), config="tiny")
    first, second = _read_files(data_dir), _read_files(tmp_path)
    records = [name for name in first if "tfrecord" in name]
    assert len(records) == 2
    for name in records:
        assert first[name] == second[name]


def test_prepared_once(data_dir):
    before = _read_files(data_dir)
    shapes.load("test", data_dir=data_dir, config="tiny")
    folder = pathlib.Path(data_dir, "shapes", "tiny")
    assert _read_files(data_dir) == before
    assert [path.name for path in folder.iterdir()] == ["1.0.0"]


def test_nothing_is_printed(tmp_path, capfd):
    shapes.load("train", data_dir=str(tmp_path), config="tiny")
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "examples" not in captured.err


def test_another_process_is_faster(tmp_path, monkeypatch):
    builder = shapes.Shapes(config="tiny", data_dir=str(tmp_path))
    split_generators = builder._split_generators

    def split_generators_when_overtaken(dl_manager):
        shapes.load("train", data_dir=str(tmp_path), config="tiny")
        return split_generators(dl_manager)

    monkeypatch.setattr(builder, "_split_generators", split_generators_when_overtaken)
    prepared = shapes._draw_once(builder)
    assert len(list(prepared.as_dataset(split="test"))) == 8
    assert [path.name for path in tmp_path.joinpath("shapes", "tiny").iterdir()] == ["1.0.0"]


def test_builder_is_a_tfds_data_set(data_dir):
    builder = tfds.builder("shapes/tiny", data_dir=data_dir)
    assert builder.info.full_name == "shapes/tiny/1.0.0"
    assert builder.info.features["segmentation_mask"].shape == (128, 128, 1)
    assert shapes.Shapes(data_dir=data_dir).builder_config.num_examples == (2000, 200)


@pytest.mark.parametrize("split", ["validation", "train[:", "train[:5x]", ""])
def test_unknown_split(data_dir, split):
    with pytest.raises(UserError, match=r"^shapes has no split .*allowed: train, test, and"):
        shapes.load(split, data_dir=data_dir, config="tiny")


def test_unknown_config(data_dir):
    with pytest.raises(UserError, match="no config 'huge': use one of full, tiny"):
        shapes.load("train", data_dir=data_dir, config="huge")


def test_folder_that_cannot_be_written(tmp_path):
    tmp_path.joinpath("file").write_text("in the way")
    with pytest.raises(UserError, match=r"^cannot prepare shapes under .*set --data_dir") as error:
        shapes.load("train", data_dir=str(tmp_path / "file"), config="tiny")
    assert "\n" not in str(error.value)


def test_default_folder_that_cannot_be_written(tmp_path, monkeypatch, caplog):
    tmp_path.joinpath("file").write_text("in the way")
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert shapes.load("train", config="tiny").num_examples == 16
    prepared = tmp_path / "tensorflow_datasets" / "shapes" / "tiny" / "1.0.0"
    assert prepared.is_dir()
    assert "--data_dir" in caplog.text
