import csv
import io
import json
import logging
import os
import shutil

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import datasets
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.exif_files import turned_jpeg
from tests.data.sources.pictures import encode, rows
from tfseg.config import DataConfig
from tfseg.data import caching, pipeline
from tfseg.data.catalog import get_dataset_spec
from tfseg.data.labels import LabelSpec
from tfseg.data.sources import checks, huggingface
from tfseg.data.split import Part
from tfseg.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")

LABELS = LabelSpec(("a", "b", "c"))


def load(folder, split="train", labels=LABELS, **options):
    return list(huggingface.load(folder, split, labels, **options).examples.as_numpy_iterator())


def test_examples(write):
    folder = write(rows())
    loaded = huggingface.load(folder, "train", LABELS)
    assert loaded.num_examples == len(loaded.examples) == 4
    for index, example in enumerate(loaded.examples.as_numpy_iterator()):
        assert example["name"].decode() == f"train_{index}"
        assert (example["image"] == 10 * index).all()
        assert example["image"].shape == (8 + index, 12, 3)
        assert (example["mask"] == index % 3).all()
        assert example["mask"].dtype == np.int32


def test_slices_splits_and_max_examples(write):
    folder = write(rows())
    write(rows(2), split="validation")
    assert len(load(folder, "validation")) == 2
    assert [len(example["image"]) for example in load(folder, "train[50%:]")] == [10, 11]
    assert [len(example["image"]) for example in load(folder, max_examples=3)] == [8, 9, 10]


def test_records_are_row_indices_so_a_shuffle_holds_all(write):
    loaded = huggingface.load(write(rows(9)), "train", LABELS)
    assert loaded.records.element_spec == tf.TensorSpec((), tf.int64)
    assert caching.shuffle_buffer_size(loaded.records) == 9
    shuffled = loaded.records.shuffle(9, seed=3).map(loaded.decode)
    sizes = {int(example["name"][6:]): len(example["image"]) for example in as_numpy(shuffled)}
    assert sizes == {index: 8 + index for index in range(9)}


def as_numpy(examples):
    return examples.as_numpy_iterator()


def test_pil_decodes_nothing_once_the_split_is_open(write, monkeypatch):
    loaded = huggingface.load(write(rows(3)), "train", LABELS)

    def fail(*arguments, **options):
        raise AssertionError("PIL opened a picture")

    monkeypatch.setattr(PIL.Image, "open", fail)
    assert len(list(loaded.examples)) == 3


def write_image_folder(root, metadata):
    """Writes three pictures with their masks, and a table that says which belong together."""
    folder = root / f"pictures_{metadata}" / "train"
    folder.mkdir(parents=True)
    lines = []
    for index, (image, mask) in enumerate(rows(3)):
        names = {"file_name": f"{index}.png", "mask_file_name": f"{index} mask.png"}
        for name, picture in zip(names.values(), (image, mask), strict=True):
            (folder / name).write_bytes(picture["bytes"])
        lines.append(names)
    with open(folder / f"metadata.{metadata}", "w", newline="") as file:
        if metadata == "jsonl":
            file.writelines(json.dumps(line) + "\n" for line in lines)
        else:
            writer = csv.DictWriter(file, lines[0])
            writer.writeheader()
            writer.writerows(lines)
    return str(folder.parent)


def write_form(form, write, root):
    if form in ("csv", "jsonl"):
        return write_image_folder(root, form)
    folder = write(rows(3))
    table = datasets.Dataset.from_parquet(f"{folder}/train.parquet")
    if form == "saved dict":
        table = datasets.DatasetDict(train=table)
    if form.startswith("saved"):
        table.save_to_disk(root / "saved")
        return str(root / "saved")
    return f"{folder}/train.parquet" if form == "file" else folder


@pytest.mark.parametrize("form", ["parquet", "file", "saved", "saved dict", "csv", "jsonl"])
def test_every_form_gives_the_same_examples(form, write, tmp_path):
    path = write_form(form, write, tmp_path)
    loaded = huggingface.load(path, "train", LABELS)
    examples = list(as_numpy(loaded.examples))
    assert [example["name"] for example in examples] == [b"train_0", b"train_1", b"train_2"]
    assert [int(example["image"][0, 0, 0]) for example in examples] == [0, 10, 20]
    assert [int(example["mask"][0, 0]) for example in examples] == [0, 1, 2]
    assert loaded.digest == digest(write(rows(3)))
    assert [len(example["image"]) for example in load(path, "train[1:]")] == [9, 10]


@pytest.mark.parametrize("form", ["parquet", "file", "saved", "saved dict"])
def test_a_second_start_decodes_no_example_that_is_embedded(form, write, tmp_path, monkeypatch):
    path = write_form(form, write, tmp_path)
    first = huggingface.load(path, "train", LABELS)
    decoded = []
    monkeypatch.setattr(checks, "check_encoded", lambda *arguments: decoded.append(arguments))
    again = huggingface.load(path, "train", LABELS)
    assert not decoded
    assert (again.digest, again.pixels) == (first.digest, first.pixels)


def test_examples_in_files_of_their_own_are_decoded_at_each_start(write, tmp_path, monkeypatch):
    path = write_form("csv", write, tmp_path)
    huggingface.load(path, "train", LABELS)
    monkeypatch.setattr(checks, "check_encoded", None)
    with pytest.raises(TypeError):
        huggingface.load(path, "train", LABELS)


def test_a_relative_folder_and_a_link_to_one_are_read(tmp_path, monkeypatch):
    folder = write_image_folder(tmp_path, "csv")
    os.symlink(folder, tmp_path / "link")
    monkeypatch.chdir(tmp_path)
    assert len(load("pictures_csv")) == len(load("link")) == len(load(f"{tmp_path}/link")) == 3


PARTS = [Part(0.3, is_held_out=False), Part(0.3, is_held_out=True)]


def test_parts_are_those_of_train_test_split(write):
    folder = write(rows(10))
    table = datasets.load_dataset(folder, split="train").map(
        lambda _, row: {"row": row}, with_indices=True
    )
    expected = table.train_test_split(test_size=0.3, seed=0)
    for part, name in zip(PARTS, ("train", "test"), strict=True):
        examples = load(folder, part=part)
        rows_of_part = expected[name]["row"][:]
        assert [example["name"].decode() for example in examples] == [
            f"train_{row}" for row in rows_of_part
        ]
        assert [len(example["image"]) for example in examples] == [8 + row for row in rows_of_part]


def test_parts_differ_in_their_digest_and_take_the_first_examples(write):
    folder = write(rows(10))
    assert len({digest(folder), *(digest(folder, part=part) for part in PARTS)}) == 3
    names = [example["name"] for example in load(folder, part=PARTS[1])]
    assert [example["name"] for example in load(folder, part=PARTS[1], max_examples=2)] == names[:2]


def test_a_part_of_a_slice_counts_the_rows_of_the_slice(write):
    examples = load(write(rows(6)), "train[3:]", part=Part(0.5, is_held_out=True))
    sizes = {example["name"].decode(): len(example["image"]) for example in examples}
    assert len(sizes) == 2
    assert sizes.items() <= {"train[3:]_0": 11, "train[3:]_1": 12, "train[3:]_2": 13}.items()


def test_a_part_without_examples_is_refused(write):
    folder = write(rows(1))
    for part in PARTS:
        with pytest.raises(UserError, match=f"--eval_fraction=0.3 .* hf:{folder}, split train, wh"):
            load(folder, part=part)


def write_paths(tmp_path, path):
    """Writes a parquet file whose cell names a file instead of holding its bytes."""
    masks = [encode(np.zeros((8, 12), np.uint8))] * 2
    cells = [{"bytes": None, "path": path}, masks[0]]
    table = datasets.Dataset.from_dict({"image": cells, "mask": masks})
    table = table.cast_column("image", datasets.Image()).cast_column("mask", datasets.Image())
    folder = tmp_path / "parquet"
    folder.mkdir()
    pq.write_table(table.data.table, folder / "train.parquet")  # `to_parquet` would read the file
    return folder


@pytest.mark.parametrize("path", ["{}/secret.png", "../secret.png", "file://{}/secret.png"])
@pytest.mark.parametrize("on_bad_example", ["error", "skip"])
def test_files_outside_the_data_set_are_never_read(path, on_bad_example, tmp_path):
    (tmp_path / "secret.png").write_bytes(encode(np.zeros((8, 12, 3), np.uint8))["bytes"])
    folder = write_paths(tmp_path, path.format(tmp_path))
    for opened in (str(folder), f"{folder}/train.parquet"):
        with pytest.raises(UserError, match=r"image of train_0 names the file .*, which lies o"):
            load(opened, on_bad_example=on_bad_example)


def test_a_file_beside_the_parquet_file_is_read(tmp_path):
    folder = write_paths(tmp_path, "x.png")
    (folder / "x.png").write_bytes(encode(np.full((8, 12, 3), 7, np.uint8))["bytes"])
    assert (load(f"{folder}/train.parquet", max_examples=1)[0]["image"] == 7).all()


def test_a_table_of_pictures_that_leads_out_of_its_folder_is_refused(tmp_path):
    folder = write_image_folder(tmp_path, "jsonl")
    shutil.move(f"{folder}/train/0 mask.png", tmp_path / "secret.png")
    metadata = f"{folder}/train/metadata.jsonl"
    with open(metadata) as file:
        text = file.read().replace("0 mask.png", "../../secret.png")
    with open(metadata, "w") as file:
        file.write(text)
    with pytest.raises(UserError, match=r"secret\.png") as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_revision_and_configuration_reach_the_source_through_the_pipeline(write, tmp_path):
    names = tmp_path / "names.json"
    names.write_text('{"1": "cat", "2": "dog"}')
    spec = get_dataset_spec(f"hf:{write(rows(2))}", id2label=str(names))
    for flag in ("dataset_revision", "dataset_config"):
        config = DataConfig(dataset=spec.name, **{flag: "nothing"})
        with pytest.raises(UserError, match=f"{flag}.*|.*{flag}$"):
            pipeline.load_split(spec, config, "train", None)


def test_columns_by_flag_through_the_pipeline(write, tmp_path):
    # `label` is a usual name of a mask column, but this one holds numbers.
    folder = write(rows(), "photo", "regions", label=[1, 2, 3, 4])
    names = tmp_path / "names.json"
    names.write_text('{"1": "cat", "2": "dog"}')
    spec = get_dataset_spec(f"hf:{folder}", id2label=str(names))
    config = DataConfig(image_key="photo", mask_key="regions")
    examples = pipeline.load_split(spec, config, "train", None).examples
    class_ids = [int(example["mask"][0, 0]) for example in examples.as_numpy_iterator()]
    assert class_ids == [255, 0, 1, 255]
    with pytest.raises(UserError, match=r"--image_key is needed: image, .* \(allowed: photo, reg"):
        pipeline.load_split(spec, DataConfig(), "train", None)


def test_palette_16_bit_and_grayscale(write):
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    picture.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    palette = io.BytesIO()
    picture.save(palette, "PNG")
    grey = encode(np.full((1, 3), 80, np.uint8), "JPEG")
    sixteen_bits = encode(np.array([[0, 300, 65535]], np.uint16))
    examples = load(
        write([(grey, {"bytes": palette.getvalue(), "path": None}), (grey, sixteen_bits)])
    )
    assert [example["mask"].tolist() for example in examples] == [[[0, 1, 2]], [[0, 300, 65535]]]
    assert examples[0]["image"].shape == (1, 3, 3)


def truncated_image(rng):
    image = encode(rng.integers(0, 256, (40, 40, 3), np.uint8), "JPEG")
    image["bytes"] = image["bytes"][:500]
    return (image, encode(np.zeros((40, 40), np.uint8))), r"image of train_1 cannot be decoded"


def mask_of_another_size(rng):
    pair = encode(np.zeros((8, 12, 3), np.uint8)), encode(np.zeros((12, 8), np.uint8))
    return pair, r"annotation of train_1 is 12x8 \(height x width\) but its image .* is 8x12"


def colour_mask(rng):
    pair = encode(np.zeros((8, 12, 3), np.uint8)), encode(np.zeros((8, 12, 3), np.uint8))
    return pair, r"annotation of train_1 cannot be read as a mask \(it has 3 channels"


def missing_mask(rng):
    return (encode(np.zeros((8, 12, 3), np.uint8)), None), r"annotation of train_1 is empty"


def missing_image(rng):
    return (None, encode(np.zeros((8, 12), np.uint8))), r"image of train_1 is empty"


def image_of_no_bytes(rng):
    pair = {"bytes": b"", "path": None}, encode(np.zeros((8, 12), np.uint8))
    return pair, r"image of train_1 is empty"


BAD = [
    truncated_image, mask_of_another_size, colour_mask, missing_mask, missing_image,
    image_of_no_bytes,
]  # fmt: skip


@pytest.mark.parametrize("make_bad", BAD)
def test_bad_example_is_an_error_or_skipped(make_bad, write, rng, caplog):
    good = list(rows(2))
    bad, message = make_bad(rng)
    folder = write([good[0], bad, good[1]])
    with pytest.raises(UserError, match=message) as error:
        load(folder)
    assert "--on_bad_example=skip" in str(error.value)
    with caplog.at_level(logging.WARNING):
        examples = load(folder, on_bad_example="skip")
    assert [example["name"] for example in examples] == [b"train_0", b"train_2"]
    assert "skipped 1 of 3 examples" in caplog.text


def test_strict_labels(write):
    folder = write(rows())
    strict = LabelSpec(("a", "b"), strict=True)
    with pytest.raises(UserError, match="annotation of train_2 holds the value 2"):
        load(folder, labels=strict)


def digest(folder, **options):
    return huggingface.load(folder, "train", LABELS, **options).digest


def test_digest_changes_with_the_examples_alone(write, tmp_path):
    digests = [digest(write(rows(4))), digest(write(rows(3))), digest(write(rows(2)))]
    assert len(set(digests)) == 3
    folder = write(rows(4))
    assert digest(folder, max_examples=3) == digests[1]
    shutil.move(folder, tmp_path / "elsewhere")
    assert digest(str(tmp_path / "elsewhere")) == digests[0]
    one_pixel = list(rows(4))
    mask = np.full((9, 12), 1, np.uint8)
    mask[3, 5] = 2
    one_pixel[1] = one_pixel[1][0], encode(mask)
    assert digest(write(one_pixel)) not in digests


@pytest.mark.parametrize("apply_exif", [True, False])
def test_photographs_and_masks_of_the_stored_size_are_turned(apply_exif, write):
    rng = np.random.default_rng(0)
    data = turned_jpeg(rng.integers(0, 256, (8, 12, 3), np.uint8), 8)
    mask = rng.integers(0, 3, (8, 12), np.uint8)
    folder = write([({"bytes": data, "path": None}, encode(mask))])
    (example,) = load(folder, apply_exif=apply_exif)
    expected = np.rot90(mask) if apply_exif else mask
    np.testing.assert_array_equal(example["mask"], expected)
    assert example["image"].shape == (*expected.shape, 3)
