import csv
import json
from pathlib import Path

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import numpy as np
import pytest
from etils import epath
from PIL import Image

from tfseg.config import DataConfig
from tfseg.data import label_files, label_table, masks, pipeline
from tfseg.data.catalog import get_dataset_spec
from tfseg.data.folder_layouts import FolderLayout
from tfseg.errors import UserError


@pytest.fixture
def names_file(tmp_path):
    def write(names):
        path = tmp_path / "names.json"
        path.write_text(names if isinstance(names, str) else json.dumps(names))
        return str(path)

    return write


def test_shapes():
    spec = get_dataset_spec("shapes")
    assert (spec.source, spec.train_split, spec.eval_split) == ("shapes", "train", "test")
    assert spec.init_from == "scratch"
    assert spec.labels.num_classes == 6


@pytest.mark.parametrize("name", ["oxford_iiit_pet", "oxford_iiit_pet:4.0.0"])
def test_oxford_iiit_pet_with_and_without_version(name):
    spec = get_dataset_spec(name)
    assert (spec.name, spec.source, spec.path) == (name, "tfds", name)
    assert spec.labels.names == ("pet", "background", "outline")
    assert spec.labels.raw_values == (1, 2, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("oxford_iit_pet", r"is unknown, did you mean 'oxford_iiit_pet'\?"),
        ("shapes:1.0.0", r"--dataset=shapes:1.0.0 is unknown, did you mean 'shapes'\?"),
        ("zzz", r"--dataset=zzz is unknown \(allowed: shapes, .*tfds:..., hf:..., folder:...\)"),
        ("folder:", "--dataset=folder: is unknown"),
        ("s3:bucket", "--dataset=s3:bucket is unknown"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(UserError, match=message):
        get_dataset_spec(name)


@pytest.mark.parametrize(
    ("name", "source", "path"),
    [
        ("tfds:cityscapes/semantic_segmentation:1.0.0", "tfds",
         "cityscapes/semantic_segmentation:1.0.0"),
        ("hf:someone/pictures", "huggingface", "someone/pictures"),
        ("hf:/data/pictures", "huggingface", "/data/pictures"),
    ],
)  # fmt: skip
def test_prefixes(name, source, path, names_file):
    spec = get_dataset_spec(name, id2label=names_file({"0": "sky", "4": "road"}))
    assert (spec.name, spec.source, spec.path) == (name, source, path)
    assert spec.labels.names == ("sky", "road")
    assert spec.labels.raw_values == (0, 4)


@pytest.mark.parametrize("name", ["tfds:cifar10", "hf:someone/pictures"])
def test_prefixed_data_sets_need_names(name):
    with pytest.raises(UserError, match=r"needs --id2label=FILE.json"):
        get_dataset_spec(name)


def test_id2label_replaces_the_names_of_the_catalog(names_file):
    spec = get_dataset_spec("oxford_iiit_pet", id2label=names_file({"3": "edge", "1": "animal"}))
    assert spec.labels.names == ("animal", "edge")
    assert spec.labels.raw_values == (1, 3)


def test_options_reach_the_labels():
    labels = get_dataset_spec("shapes", ignore_index=-1, strict_labels=True).labels
    assert (labels.ignore_index, labels.strict) == (-1, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"0": "sky", ', "must be a JSON object of names by mask value"),
        ('["sky", "road"]', "must be a JSON object of names by mask value"),
        ('{"sky": 0}', "must be a JSON object of names by mask value"),
        ("\udcff".encode("utf-8", "surrogateescape"), "must be a JSON object of names"),
        ("{}", "needs at least one class name"),
        ('{"0": "sky", "1": "sky"}', "names must differ, received twice: sky"),
        ('{"-1": "sky"}', "must be at least 0, received -1"),
    ],
)
def test_damaged_id2label(content, message, tmp_path):
    path = tmp_path / "names.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=f"--id2label={path}.*{message}"):
        get_dataset_spec("shapes", id2label=str(path))


def test_id2label_that_is_no_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        get_dataset_spec("shapes", id2label=str(tmp_path / "missing.json"))
    with pytest.raises(UserError, match="must be a JSON object"):
        get_dataset_spec("shapes", id2label=str(tmp_path))


@pytest.mark.parametrize("names", [{"0": "wall", "1": "sky"}, {"1": "wall", "2": "sky"}])
def test_reduced_labels_in_both_conventions(names, names_file):
    labels = get_dataset_spec("tfds:x", id2label=names_file(names), reduce_labels=True).labels
    assert labels.names == ("wall", "sky")
    assert labels.raw_values == (1, 2)
    assert labels.lookup_table().tolist() == [255, 0, 1, 255]
    assert 0 in labels.known_values, "strict labels must take 0 for void"


def test_reduced_labels_contradict_a_data_set_whose_first_class_is_0():
    with pytest.raises(UserError, match=r"--reduce_labels .* in shapes it is 'background'"):
        get_dataset_spec("shapes", reduce_labels=True)


@pytest.mark.parametrize("name", ["oxford_iiit_pet", "scene_parse150:1.0.0", "cityscapes"])
def test_labels_of_the_catalog_are_not_reduced_twice(name):
    with pytest.raises(UserError, match=f"would reduce the labels of {name} twice: .*leave it out"):
        get_dataset_spec(name, reduce_labels=True)


@pytest.mark.parametrize(
    ("task", "names", "raw_values"),
    [
        ("foreground", ("background", "pet"), (2, 1)),
        ("species", ("background", "cat", "dog"), (2, 4, 5)),
    ],
)
def test_tasks_of_pets(task, names, raw_values):
    labels = get_dataset_spec("oxford_iiit_pet", pet_task=task, strict_labels=True).labels
    assert (labels.names, labels.raw_values) == (names, raw_values)
    assert 3 in labels.known_values, "the outline is void by intent"


def test_breeds_of_pets_are_those_of_tfds():
    from tensorflow_datasets.datasets.oxford_iiit_pet import (
        oxford_iiit_pet_dataset_builder as builder,
    )

    labels = get_dataset_spec("oxford_iiit_pet", pet_task="breed").labels
    assert labels.names == ("background", *builder._LABEL_CLASSES)
    assert labels.raw_values == (2, *range(4, 41))


def test_cityscapes_has_the_19_classes_that_are_scored():
    spec = get_dataset_spec("cityscapes/semantic_segmentation:1.0.0", strict_labels=True)
    assert spec.labels.num_classes == 19
    class_of_value = spec.labels.class_of_value
    assert (class_of_value[7], class_of_value[33]) == (0, 18)
    assert set(range(34)) <= set(spec.labels.known_values)


@pytest.mark.parametrize("with_names", [False, True])
def test_ignore_index_must_not_be_a_class_id(with_names, names_file):
    id2label = names_file({"0": "pet", "1": "background"}) if with_names else None
    with pytest.raises(UserError, match="ignore index 0 is the class id of 'pet': set --ignore_in"):
        get_dataset_spec("oxford_iiit_pet", ignore_index=0, id2label=id2label)


def test_more_classes_than_bytes(names_file):
    id2label = names_file({str(value): f"class {value}" for value in range(300)})
    with pytest.raises(UserError, match="--ignore_index to a value of at least 300"):
        get_dataset_spec("tfds:x", id2label=id2label)
    labels = get_dataset_spec("tfds:x", id2label=id2label, ignore_index=1000).labels
    assert labels.num_classes == 300
    assert labels.lookup_table()[299:].tolist() == [299, 1000]


def folder_labels(folder, **options):
    return get_dataset_spec(f"folder:{folder.root}", **options).labels


def test_folder_takes_classes_from_the_training_masks(folder):
    folder.pair("train", "a", mask=np.array([[0, 255, 3]], np.uint8))
    folder.pair("train", "b", mask=np.array([[7, 7, 3]], np.uint8))
    folder.pair("val", "c", mask=np.array([[9]], np.uint8))
    labels = folder_labels(folder)
    assert labels.names == ("class_0", "class_3", "class_7")
    assert labels.raw_values == (0, 3, 7)
    assert folder_labels(folder, reduce_labels=True).raw_values == (3, 7)


def test_the_void_value_of_the_masks_is_no_class(folder):
    folder.pair("train", "a", mask=np.arange(12, dtype=np.uint8)[None])
    labels = folder_labels(folder, ignore_index=11)
    assert labels.raw_values == tuple(range(11))
    assert labels.lookup_table()[11] == 11


def test_palette_masks_give_indices(folder):
    folder.pair("train", "a", mask=np.zeros((2, 2), np.uint8))
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="P")
    picture.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    picture.save(folder.mask_path("train", "a.PNG"))
    folder.mask_path("train", "a.png").unlink()
    assert folder_labels(folder).raw_values == (0, 1, 2)


def test_colour_masks_are_named(folder):
    folder.pair("train", "a", mask=np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UserError, match=r"train/a\.png cannot be read as a mask.*3 channels"):
        folder_labels(folder)


def test_a_damaged_mask_is_left_to_the_reading_of_the_split(folder):
    folder.pair("train", "a", mask=np.array([[0, 3]], np.uint8))
    folder.mask_path("train", "b.png").write_bytes(b"damaged")
    assert folder_labels(folder).raw_values == (0, 3)


def test_folder_without_masks_to_take_classes_from(folder):
    folder.pair("val", "a")
    with pytest.raises(UserError, match=r"annotations/train: it holds no masks; .*--id2label"):
        folder_labels(folder)


def test_folder_reads_its_id2label(folder, names_file):
    folder.pair("train", "a")
    (folder.root / "id2label.json").write_text('{"0": "sky", "2": "road"}')
    assert folder_labels(folder).names == ("sky", "road")
    assert folder_labels(folder, id2label=names_file({"0": "air"})).names == ("air",)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("train", "val"), ("train", "val")),
        (("train", "validation", "test"), ("train", "validation")),
        (("train", "test"), ("train", "test")),
        (("training", "validation"), ("training", "validation")),
        (("train",), ("train", "val")),
    ],
)
def test_folder_splits(splits, expected, folder):
    for split in splits:
        folder.pair(split, "a")
    (folder.root / "id2label.json").write_text('{"0": "wall", "1": "floor"}')
    spec = get_dataset_spec(f"folder:{folder.root}")
    assert (spec.train_split, spec.eval_split) == expected
    assert (spec.source, spec.path) == ("folder", str(folder.root))


@pytest.mark.parametrize("ignore_index", [255, -1])
def test_masks_of_one_value_are_no_classes(folder, ignore_index):
    """0 and 255 is a common home-made format: 255 is a class only if void is something else."""
    mask = np.array([[0, 255], [255, 0]], np.uint8)
    folder.pair("train", "a", np.zeros((2, 2, 3), np.uint8), mask)
    if ignore_index == -1:
        spec = get_dataset_spec(f"folder:{folder.root}", ignore_index=-1)
        assert spec.labels.raw_values == (0, 255)
        return
    with pytest.raises(UserError, match=r"besides void \(--ignore_index=255\), 0 is their only"):
        get_dataset_spec(f"folder:{folder.root}")


def test_missing_folders(tmp_path, folder):
    missing = tmp_path / "missing"
    with pytest.raises(UserError, match=f"no folder {missing}; expected .*images/<split>/X.jpg"):
        get_dataset_spec(f"folder:{missing}")
    folder.image_path("train", "a.jpg")
    with pytest.raises(UserError, match=r"no split in .*; expected images/<split>/X\.jpg"):
        get_dataset_spec(f"folder:{folder.root}")


def test_read_id2label_sorts_by_value(names_file):
    path = names_file({"10": "c", "2": "a", "9": "b"})
    assert label_files.read_id2label(path, reduce_labels=False).names == ("a", "b", "c")


def test_classes_from_masks_are_found_again_without_decoding(folder, monkeypatch):
    folder.pair("train", "a", mask=np.array([[0, 3, 7]], np.uint8))
    labels = folder_labels(folder)
    monkeypatch.setattr(masks, "decode_mask", None)
    assert folder_labels(folder) == labels
    folder.pair("train", "b", mask=np.array([[9]], np.uint8))
    with pytest.raises(TypeError):
        folder_labels(folder)


ADE20K = Path(__file__).parents[3] / "shared" / "data" / "ade20k"


@pytest.mark.skipif(not ADE20K.is_dir(), reason=f"ADE20K is not at {ADE20K}")
def test_ade20k_has_the_classes_that_its_own_list_names(names_file):
    """Names by class id from 0, as the label file on the Hub has them, and reduced labels."""
    with (ADE20K / "objectInfo150.csv").open() as file:
        listed = {int(row["Idx"]): row["Name"] for row in csv.DictReader(file)}
    id2label = names_file({str(index - 1): name for index, name in listed.items()})
    (split,) = FolderLayout(epath.Path(ADE20K)).find_splits()
    data = DataConfig(dataset=f"folder:{ADE20K}", id2label=id2label, reduce_labels=True)
    spec = pipeline.get_spec(data)
    loaded = pipeline.load_split(spec, data, split, None)
    label_table.check_reduction(spec.labels, loaded.pixels, split)
    assert loaded.num_examples == 3
    for example in loaded.examples.as_numpy_iterator():
        stem = Path(example["name"].decode()).stem
        (path,) = ADE20K.glob(f"annotations/**/{stem}.png")
        raw = np.asarray(Image.open(path))
        np.testing.assert_array_equal(example["mask"] == 255, raw == 0)
        for value in np.unique(raw[raw > 0]):
            (class_id,) = np.unique(example["mask"][raw == value])
            assert spec.labels.names[class_id] == listed[value]
