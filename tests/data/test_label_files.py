import json

import numpy as np
import pytest

from tests import hosts
from tfseg.data import label_files, masks
from tfseg.data.catalog import get_dataset_spec
from tfseg.data.labels import LabelSpec, color_value
from tfseg.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="file.json"):
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return str(path)

    return write_file


def read(path, **options):
    return label_files.read_id2label(path, **{"reduce_labels": False, **options})


@pytest.mark.parametrize("road", ["128,64,128", " 128, 64, 128", "#804080"])
def test_colours_name_classes_in_their_order(road, write):
    labels = read(write({road: "road", "0,0,0": "background"}))
    assert labels.names == ("road", "background")
    assert labels.raw_values == (128 + 256 * 64 + 65_536 * 128, 0)
    assert labels.palette == ((128, 64, 128), (0, 0, 0))
    assert labels.has_color_masks


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ({"0": "sky", "1,2,3": "road"}, {}, "numbers or colours, not both"),
        ({"1,2,300": "road"}, {}, "parts of 0 to 255, received 1,2,300"),
        ({"1,2": "road"}, {}, "received '1,2'"),
        ({"1,2,3": "road"}, {"reduce_labels": True}, "no value 0 for --reduce_labels"),
        ({"1,2,3": "road", "#010203": "street"}, {}, "two keys stand for the same mask"),
    ],
)
def test_colours_that_are_none(names, options, message, write):
    with pytest.raises(UserError, match=f"--id2label=.*{message}"):
        read(write(names), **options)


def test_id2label_on_the_hub(local_hub):
    folder = local_hub / "datasets" / "someone" / "label-files"
    folder.mkdir(parents=True)
    (folder / "my-id2label.json").write_text('{"0": "wall", "1": "sky"}')
    labels = read("someone/label-files:my-id2label.json", reduce_labels=True)
    assert (labels.names, labels.raw_values) == (("wall", "sky"), (1, 2))
    with pytest.raises(UserError, match=r"other\.json is no file here, .*it has no such file"):
        read("someone/label-files:other.json")


@pytest.mark.slow
def test_a_hub_that_does_not_answer(monkeypatch, tmp_path):
    hosts.use_model_hub(monkeypatch, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(UserError, match=r"names\.json is no file here.*it does not answer"):
        read("someone/label-files:names.json")


VEHICLES = LabelSpec(("sky", "car", "bus", "tree"), raw_values=(3, 4, 5, 6))


def mapped(labels, values):
    return masks.map_mask_values(np.array(values, np.int32), labels).numpy().tolist()


def test_label_map_merges_drops_and_adds(write):
    path = write({"bus": "car", "sky": None, "9": "car", "tree": "plant"})
    labels = label_files.apply_label_map(VEHICLES, path)
    assert labels.names == ("car", "plant")
    assert labels.palette[0] == VEHICLES.palette[1]
    assert mapped(labels, [3, 4, 5, 6, 9, 7]) == [255, 0, 0, 1, 0, 255]
    assert {3, 4, 5, 6, 9} <= set(labels.known_values), "strict labels must take them"


def test_label_map_of_a_class_that_is_named_by_its_value(write):
    labels = label_files.apply_label_map(VEHICLES, write({"3": None, "5": "car"}))
    assert labels.names == ("car", "tree")
    assert mapped(labels, [3, 4, 5, 6]) == [255, 0, 0, 1]


def test_label_map_of_the_catalog(write):
    spec = get_dataset_spec("oxford_iiit_pet", label_map=write({"outline": "pet"}))
    assert spec.labels.names == ("pet", "background")
    assert mapped(spec.labels, [1, 2, 3]) == [0, 1, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"buss": "car"}, r"'buss' is no class, did you mean 'bus'\? and no mask value"),
        ({"bus": 1}, "'bus' must go to a class name or null, received 1"),
        (["bus"], "must be a JSON object of class names"),
        (dict.fromkeys(VEHICLES.names), "at least one class name"),
    ],
)
def test_damaged_label_map(content, message, write):
    with pytest.raises(UserError, match=f"--label_map=.*{message}"):
        label_files.apply_label_map(VEHICLES, write(content))


def test_colours_become_class_ids_in_a_folder(folder, write):
    colors = np.array([[[128, 64, 128], [70, 130, 180]], [[9, 9, 9], [128, 64, 128]]], np.uint8)
    folder.pair("train", "a", mask=colors, image=np.zeros((2, 2, 3), np.uint8))
    names = write({"128,64,128": "road", "70,130,180": "sky"})
    labels = get_dataset_spec(f"folder:{folder.root}", id2label=names).labels
    data = folder.mask_path("train", "a.png").read_bytes()
    assert mapped(labels, masks.decode_mask(data, labels)) == [[0, 1], [255, 0]]


def test_ids_of_instances_become_classes(folder):
    folder.pair("train", "a", mask=np.array([[1000, 2003, 2004]], np.uint16))
    labels = get_dataset_spec(f"folder:{folder.root}", instance_divisor=1000).labels
    assert labels.raw_values == (1, 2)


def test_color_value_is_coco_s():
    assert color_value(1, 2, 3) == 1 + 2 * 256 + 3 * 256**2
