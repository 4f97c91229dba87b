"""A folder is spoiled in every way that the doctor knows; each finding names its file."""

import html.parser
import json
import logging
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import draw_boxes
from tfseg.config import DataConfig, DoctorConfig, DoctorRunConfig, TrainDataConfig, class_weights
from tfseg.data import pipeline
from tfseg.data.catalog import get_dataset_spec
from tfseg.inspection import run_inspection, verdicts


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(boxes_dir, tmp_path):
    """A copy of the boxes that a test may spoil."""
    return shutil.copytree(boxes_dir, tmp_path / "boxes")


def examine(folder, output_dir, *, train_batch_size=4, gallery_augmented=False, **data):
    config = DoctorConfig(
        run=DoctorRunConfig(str(output_dir), train_batch_size, gallery_augmented),
        data=DataConfig(dataset=f"folder:{folder}", **data),
        train_data=TrainDataConfig(augmentation="flip"),
    )
    is_fit = run_inspection(config)
    report = json.loads((output_dir / "doctor.json").read_text())
    assert report["fit"] == is_fit == report["verdict"].startswith("fit: ")
    return report


def files_of(report, kind):
    return [line for each in report["findings"] if each["kind"] == kind for line in each["files"]]


def problems(report):
    return {finding["kind"] for finding in report["findings"] if finding["problem"]}


def test_a_good_folder_is_fit_and_its_figures_are_those_of_its_masks(boxes_dir, tmp_path):
    report = examine(boxes_dir, tmp_path)
    assert report["verdict"] == "fit: 12 train and 5 eval examples, 3 classes, 0 problems, 0 notes"
    masks = [
        np.asarray(Image.open(path)) for path in (boxes_dir / "annotations" / "train").iterdir()
    ]
    for class_id, row in enumerate(report["classes"]):
        pixels = [int((mask == class_id).sum()) for mask in masks]
        assert row["train"] == {"pixels": sum(pixels), "images": sum(map(bool, pixels))}
    sizes = report["splits"]["train"]["sizes"]
    assert sizes == {"smallest": [50, 70], "median": [56, 70], "largest": [61, 70]}
    assert report["splits"]["train"]["values"]["255"]["pixels"] == sum(2 * 70 for _ in masks)


def test_suggestions_can_be_pasted(boxes_dir, tmp_path):
    suggestions = examine(boxes_dir, tmp_path)["suggestions"]
    (text,) = [suggestions["class_weights"].removeprefix("--class_weights=")]
    weights = class_weights.parse(text)
    # Every class occurs in every image, so frequencies are shares of all pixels that are not void.
    masks = np.concatenate(
        [
            np.asarray(Image.open(path)).ravel()
            for path in (boxes_dir / "annotations" / "train").iterdir()
        ]
    )
    frequency = np.bincount(masks[masks < 255]) / (masks < 255).sum()
    expected = np.median(frequency) / frequency
    assert list(weights) == ["floor", "box", "light"]
    assert list(weights.values()) == pytest.approx(expected, rel=5e-3)
    assert suggestions["image_size"] == "--image_size=64,64"  # the median is 56x70
    assert "id2label" not in suggestions


def spoil_image(folder, name, content):
    path = folder / "images" / "train" / name
    path.write_bytes(content(path.read_bytes()))
    return path


def spoil_mask(folder, name, values):
    path = folder / "annotations" / "train" / name
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("unreadable", lambda folder: spoil_image(folder, "3.jpg", lambda data: data[:400])),
        ("unreadable", lambda folder: spoil_image(folder, "3.jpg", lambda data: b"no picture")),
        ("empty", lambda folder: spoil_image(folder, "3.jpg", lambda data: b"")),
        ("size", lambda folder: spoil_mask(folder, "3.png", np.zeros((5, 7), np.uint8))),
        ("mask", lambda folder: spoil_mask(folder, "3.png", np.zeros((53, 70, 3), np.uint8))),
    ],
)
def test_a_bad_file_makes_the_data_unfit_unless_it_is_skipped(folder, tmp_path, kind, spoil):
    path = spoil(folder)
    report = examine(folder, tmp_path)
    assert problems(report) == {kind}
    assert len(files_of(report, kind)) == 1
    assert files_of(report, kind)[0].startswith(str(path))
    skipping = examine(folder, tmp_path, on_bad_example="skip")
    assert skipping["verdict"] == (
        "fit: 11 train and 5 eval examples, 3 classes, 0 problems, 1 note"
    )


def test_an_image_without_a_mask_and_an_empty_mask(folder, tmp_path):
    missing = folder / "annotations" / "train" / "3.png"
    missing.unlink()
    empty = folder / "annotations" / "train" / "4.png"
    empty.write_bytes(b"")
    report = examine(folder, tmp_path)
    (line,) = files_of(report, "missing")
    assert line == f"{folder}/images/train/3.jpg needs {missing}, which is missing"
    assert files_of(report, "empty") == [f"{empty} is empty (0 bytes)"]
    assert report["verdict"].startswith("not fit: split train, files that do not exist: 1, first: ")
    assert report["verdict"].endswith("(and 1 more)")


def test_what_is_odd_is_a_note(folder, tmp_path):
    image = Image.open(folder / "images" / "train" / "3.jpg").convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "images" / "train" / "3.jpg", exif=exif)
    image.save(folder / "images" / "train" / "4.jpg", "PNG")
    void = np.full((53, 70), 255, np.uint8)
    spoil_mask(folder, "3.png", void)
    spoil_mask(folder, "4.png", np.where(np.arange(70) < 7, 99, void).astype(np.uint8))
    report = examine(folder, tmp_path)
    assert problems(report) == set()
    assert files_of(report, "exif") == [f"{folder}/images/train/3.jpg has EXIF orientation 6"]
    assert files_of(report, "format") == [
        f"{folder}/images/train/4.jpg is a PNG file, not JPEG as its suffix says"
    ]
    assert len(files_of(report, "void")) == 2
    assert files_of(report, "unnamed") == [
        f"value 99 has no name: 371 pixels in 1 mask, first in {folder}/annotations/train/4.png"
    ]
    template = json.loads((tmp_path / "id2label.json").read_text())
    assert template == {"0": "floor", "1": "box", "2": "light", "99": "class_99"}


def test_a_value_without_a_name_is_a_problem_if_labels_are_strict(folder, tmp_path):
    spoil_mask(folder, "3.png", np.full((53, 70), 700, np.uint16))
    report = examine(folder, tmp_path, strict_labels=True)
    assert problems(report) == {"unnamed"}
    assert "value 700 has no name: 3710 pixels" in report["verdict"]


def test_a_split_without_a_batch_or_without_a_usable_example_is_unfit(folder, tmp_path):
    report = examine(folder, tmp_path, train_batch_size=13)
    assert report["verdict"] == (
        "not fit: --train_batch_size=13 is larger than the 12 usable examples of split train"
    )
    for path in (folder / "images" / "val").iterdir():
        path.write_bytes(b"")
    report = examine(folder, tmp_path, on_bad_example="skip")
    assert report["verdict"] == "not fit: split val has no usable example"


def test_images_of_both_splits_are_found_exactly_and_nearly(folder, tmp_path):
    rng = np.random.default_rng(1)
    scene = np.asarray(
        Image.fromarray(rng.integers(0, 255, (9, 12, 3), np.uint8)).resize((160, 120))
    )
    _, mask = draw_boxes(rng, (120, 160))
    add(folder, "train", "scene", scene, mask)
    near = Image.fromarray(scene).resize((96, 72))
    add(folder, "val", "near", np.asarray(near), mask[:72, :96])
    shutil.copy(folder / "images/train/3.jpg", folder / "images/val/copy.jpg")
    shutil.copy(folder / "annotations/train/3.png", folder / "annotations/val/copy.png")
    report = examine(folder, tmp_path)
    assert files_of(report, "duplicate") == [
        f"{folder}/images/val/copy.jpg is {folder}/images/train/3.jpg"
    ]
    near_lines = [line for line in files_of(report, "near_duplicate") if "near.jpg" in line]
    assert len(near_lines) == 1
    assert f"near.jpg is nearly {folder}/images/train/scene.jpg (" in near_lines[0]


def add(folder, split, name, image, mask):
    Image.fromarray(image).save(folder / "images" / split / f"{name}.jpg", quality=80)
    Image.fromarray(mask).save(folder / "annotations" / split / f"{name}.png")


def test_the_verdict_is_one_line_whatever_the_names(folder, tmp_path):
    (folder / "images" / "train" / "new\nline.jpg").write_bytes(b"")
    (folder / "annotations" / "train" / "new\nline.png").write_bytes(b"")
    verdict = examine(folder, tmp_path)["verdict"]
    assert verdict.startswith("not fit: split train, empty files: 1, first: ")
    assert verdict.endswith(r"new\nline.jpg is empty (0 bytes)")


class Page(html.parser.HTMLParser):
    """Collects sources of pictures, links, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.outside, self.open, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "img":
            self.sources.append(attributes["src"])
        self.outside += [attributes[key] for key in ("href", "srcset") if key in attributes]
        if tag in ("script", "link", "iframe", "b"):
            self.outside.append(tag)
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_loads_nothing_and_escapes_names(folder, tmp_path):
    names = {"0": "<b>floor</b>", "1": "a & b", "2": "light"}
    (folder / "id2label.json").write_text(json.dumps(names))
    odd = folder / "images" / "train" / "x <b>odd.jpg"
    shutil.copy(folder / "images" / "train" / "0.jpg", odd)
    report = examine(folder, tmp_path, gallery_augmented=True, image_size=(64, 64))
    text = (tmp_path / "doctor.html").read_text()
    page = Page(text)
    assert (page.open, page.outside) == ([], [])
    assert report["verdict"] in page.text
    assert f"{odd} needs " in page.text
    assert "<b>floor</b>" in page.text
    assert "a & b" in page.text
    # 6 + 3 examples and a batch of 4, each as image, mask and overlay. The odd one, the last by
    # name, is not usable and not shown.
    assert len(page.sources) == 3 * (5 + 3 + 4)
    assert all(source.startswith("data:image/") for source in page.sources)
    assert len(text) < 2 << 20


def test_a_training_finds_the_verdict_of_the_same_files_only(folder, tmp_path):
    report = examine(folder, tmp_path)
    data = DataConfig(dataset=f"folder:{folder}")
    spec = get_dataset_spec(data.dataset)

    def recall():
        splits = [pipeline.load_split(spec, data, split, None) for split in ("train", "val")]
        digests = (split.digest for split in splits)
        return verdicts.recall(verdicts.Examples(*digests, spec.labels, "error", True))

    assert recall() == report["verdict"]
    spoil_mask(folder, "3.png", np.ones((53, 70), np.uint8))
    assert recall() is None


def test_a_verdict_that_cannot_be_kept_is_no_error(folder, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        examine(folder, tmp_path)
    assert "what was found out about the data is not kept" in caplog.text


@pytest.mark.slow
def test_the_command_exits_with_the_verdict(folder, tmp_path):
    command = [
        sys.executable, "-m", "tfseg.doctor", f"--dataset=folder:{folder}",
        f"--output_dir={tmp_path}",
    ]  # fmt: skip
    fit = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert fit.returncode == 0, fit.stderr
    last = fit.stdout.splitlines()[-1]
    assert last == "fit: 12 train and 5 eval examples, 3 classes, 0 problems, 0 notes"
    spoil_image(folder, "3.jpg", lambda data: b"")
    unfit = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert unfit.returncode == 1
    assert unfit.stdout.splitlines()[-1].startswith("not fit: split train, empty files: 1")
    assert "Traceback" not in unfit.stderr
