"""Predictions of image files: what is written, what is printed, and what is refused."""

import base64
import contextlib
import dataclasses
import io
import json
import os
import re
import resource
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from tests.data.exif_files import turned_jpeg
from tfseg import serving
from tfseg.cli.exit_codes import errors_as_exit_codes
from tfseg.config import PredictConfig
from tfseg.data.labels import LabelSpec
from tfseg.data.transforms import resize_logits
from tfseg.errors import UserError
from tfseg.report import visualization
from tfseg.serving import module, prediction

import tensorflow as tf  # isort: skip  (after tfseg)


@pytest.fixture
def config(tiny_model_dir, tmp_path):
    return PredictConfig(model=tiny_model_dir, output_dir=str(tmp_path / "out"))


@pytest.fixture
def image_path(make_image, tmp_path):
    path = tmp_path / "cat.png"
    Image.fromarray(make_image(75, 101)).save(path)
    return str(path)


def list_names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_an_image_gets_classes_overlay_and_json(
    config, image_path, tiny_model, make_image, tmp_path, capsys
):
    (result,) = prediction.run_prediction(config, [image_path])
    out = tmp_path / "out"
    assert list_names(out) == ["cat.json", "cat_classes.png", "cat_overlay.png"]
    served = module.ServingModule(tiny_model)
    expected = served.predict_images(make_image(75, 101)[None])
    class_map, confidence = expected["class_map"], expected["confidence"]
    picture = Image.open(out / "cat_classes.png")
    assert picture.mode == "P"
    assert tuple(picture.getpalette()[:3]) == tiny_model.labels.palette[0]
    np.testing.assert_array_equal(np.asarray(picture), class_map[0])
    overlay = np.asarray(Image.open(out / "cat_overlay.png"))
    blend = visualization.overlay(make_image(75, 101), class_map[0], tiny_model.labels.palette)
    np.testing.assert_array_equal(overlay[:75, :101], blend)
    assert len(overlay) > 75, "the legend is below the image"
    written = json.loads((out / "cat.json").read_text())
    segments = written.pop("segments")
    assert result == written
    for segment, expected in zip(
        segments, serving.segment(make_image(75, 101), tiny_model), strict=True
    ):
        mask = Image.open(io.BytesIO(base64.b64decode(segment.pop("mask"))))
        np.testing.assert_array_equal(mask.convert("L"), expected.pop("mask"))
        assert segment == expected
    assert (result["height"], result["width"]) == (75, 101)
    assert result["mean_confidence"] == pytest.approx(float(np.mean(confidence)))
    assert sum(entry["pixels"] for entry in result["classes"]) == 75 * 101
    (line,) = capsys.readouterr().out.splitlines()
    assert f"{result['classes'][0]['name']} {result['classes'][0]['share']:.1%}" in line


def test_a_photograph_on_its_side_gets_an_upright_result(config, make_image, tmp_path):
    path = tmp_path / "phone.jpg"
    path.write_bytes(turned_jpeg(make_image(75, 101), 6))
    (result,) = prediction.run_prediction(config, [str(path)])
    assert (result["height"], result["width"]) == (101, 75)
    assert Image.open(tmp_path / "out" / "phone_classes.png").size == (75, 101)


def test_classes_are_sorted_by_share():
    labels = LabelSpec(("a", "b", "c"))
    counted = prediction.count_classes(np.array([[2, 2, 2, 0]]), labels)
    assert counted == [
        {"id": 2, "name": "c", "pixels": 3, "share": 0.75},
        {"id": 0, "name": "a", "pixels": 1, "share": 0.25},
    ]


def test_image_size_overrides_that_of_the_model(
    config, image_path, tiny_model, make_image, tmp_path
):
    config = dataclasses.replace(config, image_size=(32, 32))
    prediction.run_prediction(config, [image_path])
    preprocessing = dataclasses.replace(tiny_model.preprocessing, image_size=(32, 32))
    logits = tiny_model(preprocessing(make_image(75, 101)[None]))
    predicted = np.asarray(Image.open(tmp_path / "out" / "cat_classes.png"))
    expected = resize_logits(logits, (75, 101)).numpy().argmax(-1)[0]
    # The expected logits were resized to 32x32 on the way, so a few pixels differ. At the model's
    # own 64x96, only 56 % of the pixels would agree.
    assert np.mean(predicted == expected) > 0.95


def test_the_images_of_a_folder_are_segmented_in_order_of_their_names(config, make_image, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("b.jpg", "a.PNG", "notes.txt", "._b.jpg"):
        Image.fromarray(make_image(20, 30)).save(folder / name, format="PNG")
    results = prediction.run_prediction(config, [str(folder), str(folder / "b.jpg")])
    assert [os.path.basename(result["image"]) for result in results] == ["a.PNG", "b.jpg"]


def test_the_error_for_an_unreadable_image_names_it(config, image_path, tmp_path):
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"\xff\xd8\xff\xe0 no more")
    with pytest.raises(UserError, match=r"damaged\.jpg cannot be read: .*--on_bad_example=skip"):
        prediction.run_prediction(config, [str(damaged), image_path])
    assert list_names(tmp_path / "out") == []


def test_unreadable_images_are_skipped_and_counted(config, image_path, tmp_path, capsys):
    whole = io.BytesIO()
    Image.open(image_path).save(whole, "JPEG")
    for name, data in (
        ("damaged.png", (tmp_path / "cat.png").read_bytes()[:200]),
        ("truncated.jpg", whole.getvalue()[:-100]),
    ):
        (tmp_path / name).write_bytes(data)
    bad = [str(tmp_path / name) for name in ("damaged.png", "truncated.jpg")]
    config = dataclasses.replace(config, on_bad_example="skip")
    (result,) = prediction.run_prediction(config, [*bad, image_path])
    assert result["image"] == image_path
    captured = capsys.readouterr()
    for path, line in zip(bad, captured.out.splitlines(), strict=False):
        assert line.startswith(f"{path}  skipped: it is no JPEG")
    assert captured.out.endswith("skipped 2 of 3 images\n")
    assert captured.err == "", "no progress bar where standard error is no terminal"
    with pytest.raises(UserError, match="none of the 2 images can be read"):
        prediction.run_prediction(config, bad)


def test_an_output_dir_that_is_a_file_is_refused(config, image_path, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match=r"--output_dir=.*out cannot be created: File exists"):
        prediction.run_prediction(config, [image_path])


@pytest.mark.parametrize("other", ["cat.jpg", "photos/cat.png"])
def test_two_inputs_with_the_same_output_name_are_refused(config, image_path, tmp_path, other):
    (tmp_path / "photos").mkdir()
    (tmp_path / other).write_bytes(b"")
    with pytest.raises(UserError, match=r"is the output of .*cat\.png: rename one of them"):
        prediction.run_prediction(config, [image_path, str(tmp_path / other)])


def test_an_input_is_never_overwritten(config, image_path, tmp_path):
    mask = tmp_path / "cat_classes.png"
    mask.write_bytes(b"mine")
    config = dataclasses.replace(config, output_dir=str(tmp_path))
    with pytest.raises(UserError, match=r"which is the input .*cat_classes\.png itself"):
        prediction.run_prediction(config, [image_path, str(mask)])
    assert mask.read_bytes() == b"mine"


def test_masks_of_classes_are_written_and_those_of_an_earlier_prediction_go(
    config, image_path, tiny_model, tmp_path
):
    names = tiny_model.labels.names
    folder = tmp_path / "out" / "cat_masks"
    folder.mkdir(parents=True)
    for name in ("mine.png", *(f"{index}_{name}.png" for index, name in enumerate(names))):
        (folder / name).write_bytes(b"old")
    Image.new("RGB", (101, 75), (0, 80, 0)).save(image_path)
    config = dataclasses.replace(config, outputs=("ids", "masks"))
    (result,) = prediction.run_prediction(config, [image_path])
    assert list_names(tmp_path / "out") == ["cat_ids.png", "cat_masks"]
    found = sorted(entry["id"] for entry in result["classes"])
    assert 1 <= len(found) < len(names)
    files = [f"{class_id}_{names[class_id]}.png" for class_id in found]
    assert list_names(folder) == [*files, "mine.png"]
    ids = np.asarray(Image.open(tmp_path / "out" / "cat_ids.png"))
    for class_id, file in zip(found, files, strict=True):
        mask = Image.open(folder / file)
        assert mask.mode == "L"
        np.testing.assert_array_equal(mask, np.where(ids == class_id, 255, 0))


def test_images_of_one_pixel_gray_with_alpha_and_animated_are_segmented(
    config, make_image, tiny_model, tmp_path
):
    pixels = make_image(20, 30)
    gray, alpha = pixels[..., 0], np.concatenate([pixels, pixels[..., :1]], -1)
    frames = {"save_all": True, "append_images": [Image.fromarray(255 - pixels)]}
    cases = {
        "one": (pixels[:1, :1], {}, pixels[:1, :1]),
        "gray": (gray, {}, np.repeat(gray[..., None], 3, -1)),
        "rgba": (alpha, {}, pixels),
        "animated": (pixels, frames, pixels),
    }
    for name, (array, options, _) in cases.items():
        Image.fromarray(array).save(tmp_path / f"{name}.png", **options)
    config = dataclasses.replace(config, outputs=("ids", "overlay"))
    prediction.run_prediction(config, [str(tmp_path / "*.png")])
    for name, (_, _, seen) in cases.items():
        written = Image.open(tmp_path / "out" / f"{name}_ids.png")
        class_map = module.predict_class_maps(tiny_model, tf.constant(seen[None]))[0]
        np.testing.assert_array_equal(written, class_map)


def test_standard_input_and_inner_folders_with_a_progress_bar(
    config, image_path, make_image, tmp_path, monkeypatch, capsys
):
    (tmp_path / "photos" / "may").mkdir(parents=True)
    Image.fromarray(make_image(20, 30)).save(tmp_path / "photos" / "may" / "dog.png")
    config = dataclasses.replace(config, recursive=True, outputs=("ids",))
    stderr = io.StringIO()
    stderr.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", stderr)
    with open(image_path, "rb") as file:
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=file))
        results = prediction.run_prediction(config, [str(tmp_path / "photos"), "-"])
    assert [os.path.basename(result["image"]) for result in results] == ["dog.png", "-"]
    assert list_names(tmp_path / "out" / "may") == ["dog_ids.png"]
    assert Image.open(tmp_path / "out" / "stdin_ids.png").size == (101, 75)
    assert re.search(r"segmenting: 100%.*2/2 \[\d\d:\d\d<\d\d:\d\d", stderr.getvalue())
    lines = [line for line in capsys.readouterr().out.splitlines() if "->" in line]
    assert [line.rpartition("/")[2] for line in lines] == ["dog_ids.png", "stdin_ids.png"]


@contextlib.contextmanager
def files_up_to(num_bytes):
    """Has every write beyond a size fail, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_leaves_whole_images_only(config, make_image, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    for name, pixels in (("a", make_image(20, 30)), ("b", noise), ("c", make_image(20, 30))):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    config = dataclasses.replace(config, outputs=("masks", "classes", "overlay", "json"))
    with pytest.raises(SystemExit) as caught, errors_as_exit_codes(), files_up_to(30_000):
        prediction.run_prediction(config, [str(folder)])
    assert caught.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith(
        f"error: cannot write the results of {folder}/b.png to {tmp_path}/out"
    )
    assert "--output_dir" in message
    assert message.count("\n") == 1
    assert list_names(tmp_path / "out") == [
        "a.json", "a_classes.png", "a_masks", "a_overlay.png"
    ]  # fmt: skip
    assert json.loads((tmp_path / "out" / "a.json").read_text())["width"] == 30


@pytest.mark.slow
def test_an_image_of_a_hundred_million_pixels(config, make_image, tmp_path):
    """Takes 6 GB of memory."""
    path = tmp_path / "large.jpg"
    Image.fromarray(make_image(10_000, 10_000)).save(path)
    (result,) = prediction.run_prediction(config, [str(path)])
    assert sum(entry["pixels"] for entry in result["classes"]) == 10**8
    # PIL warns of, or refuses, files of so many pixels; their header is read without decoding.
    Image.MAX_IMAGE_PIXELS, kept = None, Image.MAX_IMAGE_PIXELS
    try:
        classes = Image.open(tmp_path / "out" / "large_classes.png")
        overlay = Image.open(tmp_path / "out" / "large_overlay.png")
    finally:
        Image.MAX_IMAGE_PIXELS = kept
    assert classes.size == (10_000, 10_000)
    assert overlay.width == 10_000
    assert overlay.height > 10_000


def test_predict_without_an_image_says_so():
    process = subprocess.run(
        [sys.executable, "-m", "tfseg.predict", "--model=nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.startswith("error: no image given")
    assert process.stderr.count("\n") == 1


def test_names_with_line_breaks_are_escaped_in_messages(config, make_image, tmp_path, capsys):
    good, bad = tmp_path / "good\none.png", tmp_path / "bad\none.png"
    Image.fromarray(make_image(20, 30)).save(good)
    bad.write_bytes(b"damaged")
    config = dataclasses.replace(config, on_bad_example="skip")
    prediction.run_prediction(config, [str(good), str(bad)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert r"good\none.png  30x20" in lines[0]
    assert r"bad\none.png  skipped" in lines[1]
    with pytest.raises(UserError, match=r"bad\\none\.png"):
        prediction.run_prediction(dataclasses.replace(config, on_bad_example="error"), [str(bad)])
