"""Predictions of image files: what is written, what is printed, and what is refused."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tfseg  # noqa: F401
from tests.data.exif_files import turned_jpeg
from tfseg.config import PredictConfig
from tfseg.data.labels import LabelSpec
from tfseg.data.transforms import resize_logits
from tfseg.errors import UserError
from tfseg.serving import module, prediction


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
    assert Image.open(out / "cat_overlay.png").size == (101, 75)
    assert result == json.loads((out / "cat.json").read_text())
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
    for suffix in ("classes", "overlay"):
        assert Image.open(tmp_path / "out" / f"phone_{suffix}.png").size == (75, 101)


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
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes((tmp_path / "cat.png").read_bytes()[:200])
    config = dataclasses.replace(config, on_bad_example="skip")
    (result,) = prediction.run_prediction(config, [str(damaged), image_path])
    assert result["image"] == image_path
    assert "skipped 1 of 2 images" in capsys.readouterr().out
    with pytest.raises(UserError, match="none of the 1 images can be read"):
        prediction.run_prediction(config, [str(damaged)])


def test_missing_files_and_empty_folders_are_named(config, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"missing\.jpg: no such file or folder"):
        prediction.run_prediction(config, [str(tmp_path / "missing.jpg")])
    with pytest.raises(UserError, match=r"empty holds no image \(looked for \.jpg"):
        prediction.run_prediction(config, [str(tmp_path / "empty")])


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
