"""Examples have names that do not depend on where the data set lies."""

import dataclasses
import shutil

import tensorflow as tf

from tfseg.config import DataConfig
from tfseg.data import example_names, pipeline
from tfseg.data.split import Split


def names_of(dataset, split, **fields):
    data = DataConfig(dataset=dataset, **fields)
    spec = pipeline.get_spec(data)
    loaded = pipeline.load_split(spec, data, split, data.max_eval_examples)
    return example_names.name_examples(loaded, spec, data)


def test_a_folder_gives_the_paths_below_its_images(boxes_dir, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(boxes_dir, data)
    for part, suffix in (("images", "jpg"), ("annotations", "png")):
        town = data / part / "val" / "town"
        town.mkdir()
        for name in ("1", "2"):
            (data / part / "val" / f"{name}.{suffix}").rename(town / f"{name}_x.{suffix}")
    names = ["0", "3", "4", "town/1_x", "town/2_x"]
    assert names_of(f"folder:{data}", "val") == names
    suffixes = {"image_suffix": "_x.jpg", "mask_suffix": "_x.png"}
    assert names_of(f"folder:{data}", "val", **suffixes) == ["town/1", "town/2"]


def test_names_follow_the_order_of_the_examples(boxes_dir):
    data = DataConfig(dataset=f"folder:{boxes_dir}")
    spec = pipeline.get_spec(data)
    split = pipeline.load_split(spec, data, "train", None)
    names = example_names.name_examples(split, spec, data)
    paths = [example["name"].decode() for example in split.examples.as_numpy_iterator()]
    assert [path.rpartition("/")[2] for path in paths] == [f"{name}.jpg" for name in names]
    assert example_names.name_examples(split.select([1, 4]), spec, data) == [names[1], names[4]]


def test_where_a_name_occurs_twice_positions_tell_the_examples_apart(boxes_dir):
    data = DataConfig(dataset=f"folder:{boxes_dir}")
    spec = pipeline.get_spec(data)
    split = pipeline.load_split(spec, data, "val", None)
    records = tf.data.Dataset.from_tensor_slices({"image": ["a/0.jpg", "a/1.jpg", "a/0.png"]})
    split = dataclasses.replace(split, records=records)
    assert example_names.name_examples(split, spec, data) == ["val_0", "val_1", "val_2"]


def test_names_of_tfds_are_its_own_and_stay_below_any_folder():
    data = DataConfig(dataset="cityscapes")
    records = {"image_left": [b"", b""], "name": [b"/ulm/../a.png", b"b.png"]}
    split = Split("val", tf.data.Dataset.from_tensor_slices(records), 2, "")
    names = example_names.name_examples(split, pipeline.get_spec(data), data)
    assert names == ["ulm/a", "b"]
