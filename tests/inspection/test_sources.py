"""The doctor reads every source and every kind of mask, and finds what a training would find."""

import json

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.data.exif_files import turned_jpeg
from tests.data.sources.pictures import encode
from tfseg.config import DataConfig, DoctorConfig, DoctorRunConfig, TrainDataConfig
from tfseg.data import pipeline
from tfseg.errors import UserError
from tfseg.inspection import run_inspection


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "verdicts"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))


@pytest.fixture
def examine(tmp_path):
    """A function that runs the doctor and returns the content of doctor.json."""

    def examine(dataset, apply_exif=True, **data):
        config = DoctorConfig(
            DoctorRunConfig(str(tmp_path / "doctor"), train_batch_size=1),
            DataConfig(dataset=dataset, **data),
            TrainDataConfig(apply_exif=apply_exif),
        )
        run_inspection(config)
        return json.loads((tmp_path / "doctor" / "doctor.json").read_text())

    return examine


@pytest.fixture
def names(tmp_path):
    def write(content, name="names.json"):
        (tmp_path / name).write_text(json.dumps(content))
        return str(tmp_path / name)

    return write


def digest_of_training(split, is_held_out=False, **data):
    config = DataConfig(**data)
    spec = pipeline.get_spec(config)
    return pipeline.load_split(spec, config, split, None, is_held_out=is_held_out).digest


def pair(seed, mask):
    image = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8)
    return {"image": encode(image), "mask": encode(mask)}


def write_parquet(folder, rows, split="train"):
    table = datasets.Dataset.from_list(rows)
    for key in ("image", "mask"):
        table = table.cast_column(key, datasets.Image())
    folder.mkdir(exist_ok=True)
    # `to_parquet` would read the files that cells name.
    pq.write_table(table.data.table, folder / f"{split}.parquet")
    return f"hf:{folder}"


def stripes(*values):
    """A mask whose columns have these values in turn."""
    return np.tile(np.array(values, np.uint8), (8, 12 // len(values)))


def kinds(report):
    return {finding["kind"] for finding in report["findings"] if finding["problem"]}


def test_both_parts_of_a_hugging_face_split(tmp_path, examine, names):
    dataset = write_parquet(tmp_path / "hf", [pair(seed, stripes(0, 1)) for seed in range(8)])
    data = {"dataset": dataset, "id2label": names({"0": "sky", "1": "road"}), "eval_fraction": 0.25}
    report = examine(**data)
    assert report["verdict"].startswith("fit: 6 train and 2 eval examples, 2 classes, 0 problems")
    train, evaluation = report["splits"]["train"], report["splits"]["eval"]
    assert (train["split"], evaluation["split"]) == ("train, part to train on", "train, held out")
    assert train["digest"] == digest_of_training("train", False, **data)
    assert evaluation["digest"] == digest_of_training("train", True, **data)


def test_a_bad_row_and_a_row_without_its_file_are_named(tmp_path, examine, names):
    rows = [pair(seed, stripes(0, 1)) for seed in range(4)]
    rows[1]["mask"]["bytes"] = rows[1]["mask"]["bytes"][:45]
    rows[2]["image"] = {"bytes": None, "path": str(tmp_path / "hf" / "gone.png")}
    dataset = write_parquet(tmp_path / "hf", rows)
    write_parquet(tmp_path / "hf", rows[:1], "validation")
    report = examine(dataset, id2label=names({"0": "sky", "1": "road"}))
    assert kinds(report) == {"mask", "missing"}
    text = json.dumps(report["findings"])
    assert "mask of train_1 cannot be read as a mask" in text
    assert f"train_2 needs {tmp_path}/hf/gone.png, which is missing" in text


def test_a_row_that_names_a_file_outside_the_data_set_is_refused(tmp_path, examine, names):
    rows = [pair(seed, stripes(0, 1)) for seed in range(2)]
    rows[1]["image"] = {"bytes": None, "path": str(tmp_path / "secret.png")}
    dataset = write_parquet(tmp_path / "hf", rows)
    write_parquet(tmp_path / "hf", rows[:1], "validation")
    with pytest.raises(UserError, match=r"image of train_1 names the file .*outside the data set"):
        examine(dataset, id2label=names({"0": "sky", "1": "road"}))


def test_a_data_set_without_names_gets_a_file_of_names_to_fill_in(tmp_path, examine):
    rows = [pair(seed, stripes(0, 4, 255)) for seed in range(3)]
    dataset = write_parquet(tmp_path / "hf", rows)
    write_parquet(tmp_path / "hf", [pair(9, stripes(0, 4))], "validation")
    report = examine(dataset)
    assert kinds(report) == {"no_names"}
    assert report["verdict"].startswith(f"not fit: --dataset={dataset} needs --id2label=FILE.json")
    assert [row["name"] for row in report["classes"]] == ["class_0", "class_4"]
    template = tmp_path / "doctor" / "id2label.json"
    assert report["suggestions"]["id2label"].startswith(f"--id2label={template}  #")
    assert json.loads(template.read_text()) == {"0": "class_0", "4": "class_4"}
    assert kinds(examine(dataset, id2label=str(template))) == set()


def test_masks_without_any_value_get_no_names(tmp_path, examine):
    colors = np.zeros((8, 12, 3), np.uint8)
    dataset = write_parquet(tmp_path / "hf", [pair(0, colors)])
    with pytest.raises(UserError, match=r"needs --id2label=FILE\.json"):
        examine(dataset)


@pytest.fixture
def folder(tmp_path):
    """A folder with a split per folder; `write` sets the same mask for both splits."""

    def write(mask):
        for seed, split in enumerate(("train", "val")):
            for part, pixels in (
                ("images", np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8)),
                ("masks", mask),
            ):
                (tmp_path / "mine" / split / part).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / "mine" / split / part / "a.png")
        return f"folder:{tmp_path}/mine"

    return write


def test_colours_without_a_name_are_written_as_colours(folder, examine, names, tmp_path):
    mask = np.zeros((8, 12, 3), np.uint8)
    mask[:, 3:] = (128, 64, 0)
    mask[:, 9:] = (1, 2, 3)
    report = examine(folder(mask), id2label=names({"0,0,0": "sky", "128,64,0": "road"}))
    assert [row["train"]["pixels"] for row in report["classes"]] == [24, 48]
    text = json.dumps(report["findings"])
    assert "value 1,2,3 has no name: 24 pixels in 1 mask" in text
    template = json.loads((tmp_path / "doctor" / "id2label.json").read_text())
    assert list(template) == ["0,0,0", "128,64,0", "1,2,3"]


def test_a_list_that_names_a_missing_image(tmp_path, examine, names):
    """A training stops there, so the data are not fit."""
    (tmp_path / "voc" / "images").mkdir(parents=True)
    (tmp_path / "voc" / "masks").mkdir()
    for seed, name in enumerate("abc"):
        image = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "voc" / "images" / f"{name}.jpg")
        Image.fromarray(stripes(0, 1)).save(tmp_path / "voc" / "masks" / f"{name}.png")
    (tmp_path / "voc" / "train.txt").write_text("a\nb\ngone\n")
    (tmp_path / "voc" / "val.txt").write_text("c\n")
    data = {"dataset": f"folder:{tmp_path}/voc", "id2label": names({"0": "sky", "1": "road"})}
    report = examine(**data)
    assert kinds(report) == {"missing"}
    assert f"{tmp_path}/voc/images/gone does not exist" in report["verdict"]
    report = examine(**data, on_bad_example="skip")
    digest = digest_of_training("train", **data, on_bad_example="skip")
    assert (kinds(report), report["splits"]["train"]["digest"]) == (set(), digest)


def test_panoptic_values_are_divided(folder, examine, names):
    mask = (np.tile(np.array([0, 1, 2], np.uint16), (8, 4)) * 1000) + 7
    report = examine(folder(mask), id2label=names({"0": "sky", "1": "road"}), instance_divisor=1000)
    assert [row["train"]["pixels"] for row in report["classes"]] == [32, 32]
    assert "value 2 has no name" in json.dumps(report["findings"])


def test_merged_and_dropped_classes(folder, examine, names):
    report = examine(
        folder(stripes(0, 1, 2, 9)),
        id2label=names({"0": "sky", "1": "car", "2": "bus"}),
        label_map=names({"bus": "car", "sky": None, "9": "cat"}, "map.json"),
    )
    car, cat = report["classes"]
    assert (car["name"], car["raw_values"], car["train"]["pixels"]) == ("car", [1, 2], 48)
    assert (cat["name"], cat["raw_values"], cat["train"]["pixels"]) == ("cat", [9], 24)
    assert "id2label" not in report["suggestions"]
    assert kinds(report) == set()


def test_a_strict_training_skips_what_has_no_name_and_so_does_the_count(folder, examine, names):
    dataset = folder(stripes(0, 1, 5))
    data = {"id2label": names({"0": "sky", "1": "road"}), "strict_labels": True}
    assert "unnamed" in kinds(examine(dataset, **data))
    report = examine(dataset, on_bad_example="skip", **data)
    assert report["splits"]["train"]["usable"] == 0
    assert kinds(report) == {"no_example"}


def test_labels_that_are_reduced_already(folder, examine, names):
    """A training with these flags stops at the start."""
    dataset, names = folder(stripes(0, 1, 255)), names({"0": "sky", "1": "road", "2": "car"})
    report = examine(dataset, id2label=names, reduce_labels=True)
    assert "reduction" in kinds(report)
    assert "as if their labels were reduced already" in json.dumps(report["findings"])


def test_a_split_of_void_is_unfit(folder, examine, names):
    report = examine(folder(stripes(255)), id2label=names({"0": "sky", "1": "road"}))
    assert kinds(report) == {"all_void"}
    assert "split train has no pixel of any class" in report["verdict"]


def test_a_turned_photograph_and_its_mask_are_turned_as_in_a_training(
    tmp_path, folder, examine, names
):
    dataset, id2label = folder(stripes(0, 1)), names({"0": "sky", "1": "road"})
    path = tmp_path / "mine" / "train" / "images" / "a.jpg"
    pixels = np.asarray(Image.open(path.with_suffix(".png")))
    path.with_suffix(".png").unlink()
    path.write_bytes(turned_jpeg(pixels, 6))
    report = examine(dataset, id2label=id2label)
    assert kinds(report) == set()
    assert report["splits"]["train"]["sizes"]["median"] == [12, 8]
    assert f"{path} has EXIF orientation 6" in json.dumps(report["findings"])
    upright = np.rot90(stripes(0, 1), -1)
    Image.fromarray(upright).save(tmp_path / "mine" / "train" / "masks" / "a.png")
    assert kinds(examine(dataset, id2label=id2label)) == set()
    assert kinds(examine(dataset, id2label=id2label, apply_exif=False)) == {"size", "no_example"}


def test_a_jpeg_as_a_mask_is_noted(tmp_path, folder, examine, names):
    dataset = folder(stripes(0, 1))
    path = tmp_path / "mine" / "train" / "masks" / "a.png"
    Image.open(path).save(path, "JPEG")
    report = examine(dataset, id2label=names({"0": "sky", "1": "road"}))
    assert f"{path} is a JPEG file, not PNG as its suffix says" in json.dumps(report["findings"])


def test_one_class_is_nothing_to_tell_apart(folder, examine, names):
    report = examine(folder(stripes(0, 1)), id2label=names({"1": "sky"}))
    assert "one_class" in kinds(report)
    assert not report["fit"]
