"""`preprocessor_config.json` is honoured exactly or refused by name."""

import json
import warnings

import numpy as np
import pytest
import tensorflow as tf
from transformers import SegformerImageProcessor

from tfseg.data.labels import LabelSpec
from tfseg.data.transforms import DEFAULT_MEAN, DEFAULT_STD, Preprocessing
from tfseg.errors import UserError
from tfseg.models import image_processor, segformer

LABELS = LabelSpec(("sky", "road", "tree", "car", "person"))
SIZE = {"height": 40, "width": 56}


@pytest.fixture
def write_processor(reference_dir, tmp_path):
    """Writes a checkpoint folder with a processor file and returns the folder."""

    def write(values):
        text = values if isinstance(values, str) else json.dumps(values)
        (tmp_path / "preprocessor_config.json").write_text(text)
        for name in ("config.json", "model.safetensors"):
            (tmp_path / name).write_bytes((reference_dir / name).read_bytes())
        return str(tmp_path)

    return write


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
        {"image_mean": 0.5, "image_std": 0.25},
        {"image_mean": None, "image_std": None},
        {"rescale_factor": 1 / 127.5, "image_mean": 1.0, "image_std": 1.0},
        {"do_rescale": False},
        {"do_rescale": False, "image_mean": 127.5, "image_std": [50, 60, 70]},
        {"do_normalize": False},
        {"do_normalize": False, "image_mean": 0.5, "rescale_factor": 0.01},
        {"do_normalize": False, "do_rescale": False, "rescale_factor": 0.01},
        {"do_resize": False, "resample": 3, "size": {"shortest_edge": 8}},
    ],
    ids=str,
)
def test_pixel_values_equal_those_of_transformers_own_processor(values, write_processor):
    folder = write_processor({"size": SIZE, **values})
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    processor = SegformerImageProcessor.from_pretrained(folder)
    expected = processor(image, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    model = segformer.load_model(folder, image_size=(40, 56))
    received = model.preprocessing(tf.constant(image)).numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"size": 640}, (640, 640)),
        ({"size": {"height": 480, "width": 360}}, (480, 360)),
        ({"size": [96, 128]}, (96, 128)),
        ({"size": None}, (512, 512)),
        ({}, (512, 512)),
    ],
    ids=str,
)
def test_sizes_of_every_age_are_read_as_transformers_reads_them(values, expected, write_processor):
    folder = write_processor(values)
    theirs = SegformerImageProcessor.from_pretrained(folder).size
    assert (theirs["height"], theirs["width"]) == expected
    assert segformer.load_model(folder).preprocessing.image_size == expected
    assert segformer.load_model(folder, image_size=(8, 9)).preprocessing.image_size == (8, 9)


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"do_resize": False}, ["do_resize", "--image_size"]),
        ({"size": {"shortest_edge": 224}}, ["size", "shortest_edge", "--image_size"]),
        ({"size": [1, 2, 3]}, ["size", "[1, 2, 3]", "--image_size"]),
        ({"size": "large"}, ["size", "'large'", "--image_size"]),
        ({"size": {"height": 0, "width": 32}}, ["size", "--image_size"]),
        ({"resample": 3}, ["resample", "3", "bilinear"]),
        ({"image_mean": [0.5, 0.5]}, ["image_mean", "[0.5, 0.5]"]),
        ({"image_std": [0.5]}, ["image_std", "[0.5]"]),
        ({"image_std": [0.5, 0, 0.5]}, ["image_std"]),
        ({"image_std": "wide"}, ["image_std", "'wide'"]),
        ({"rescale_factor": 0}, ["rescale_factor", "0"]),
        ({"rescale_factor": None}, ["rescale_factor", "None"]),
        ({"apply_exif": "no"}, ["apply_exif", "'no'"]),
        ('{"size": ', ["damaged"]),
        ("[1]", ["damaged"]),
    ],
    ids=str,
)
def test_what_cannot_be_honoured_is_refused_by_name(values, parts, write_processor):
    folder = write_processor(values)
    with pytest.raises(UserError) as error:
        segformer.load_model(folder)
    message = str(error.value)
    assert "\n" not in message
    for part in (folder, "preprocessor_config.json", *parts):
        assert part in message


@pytest.mark.parametrize(
    "values", [{"resample": 3}, {"do_resize": False}, {"size": {"shortest_edge": 224}}], ids=str
)
def test_fine_tuning_does_its_own_resizing(values, write_processor):
    folder = write_processor({**values, "image_mean": 0.5})
    model = segformer.build_model(LABELS, (32, 64), init_from=folder)
    assert model.preprocessing == Preprocessing((32, 64), (0.5, 0.5, 0.5), DEFAULT_STD)
    with pytest.raises(UserError, match="image_mean"):
        segformer.build_model(LABELS, (32, 64), init_from=write_processor({"image_mean": [1]}))


def test_a_folder_without_a_processor_gets_imagenets_values(reference_dir):
    preprocessing = segformer.load_model(str(reference_dir)).preprocessing
    assert preprocessing == Preprocessing((512, 512), DEFAULT_MEAN, DEFAULT_STD)


def test_what_is_written_is_read_again_bit_by_bit(tmp_path):
    # Numbers without a short decimal form, as folding a rescale factor makes them.
    preprocessing = Preprocessing((40, 56), (1 / 3, 0.1, 2 / 7), (0.3 / 255 / 0.7, 1 / 9, 0.2))
    image_processor.write_preprocessing(tmp_path, preprocessing)
    assert image_processor.read_preprocessing(tmp_path) == preprocessing


def test_transformers_own_processor_opens_what_is_saved(reference_dir, tmp_path):
    model = segformer.build_model(LABELS, (40, 56), init_from=str(reference_dir))
    segformer.save_model(model, str(tmp_path))
    processor = SegformerImageProcessor.from_pretrained(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)
    expected = processor(image, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    received = model.preprocessing(tf.constant(image)).numpy()
    assert received.shape == (40, 56, 3)
    # PIL rounds to whole grey values after each of its two passes.
    np.testing.assert_allclose(received, expected, atol=1 / 255 / min(DEFAULT_STD))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (LABELS, False),
        (LabelSpec(("sky", "road"), raw_values=(1, 2)), True),
        (LabelSpec(("sky", "road"), raw_values=(1, 3)), False),
        (LabelSpec(("sky", "road"), raw_values=(1, 2), merged_values=((3, 1),)), False),
        (LabelSpec(("sky", "road"), raw_values=(1, 2), has_color_masks=True), False),
    ],
)
def test_transformers_reduces_masks_to_the_class_ids_of_the_model(
    labels, expected, reference_dir, tmp_path
):
    model = segformer.build_model(labels, (32, 64), init_from=str(reference_dir))
    for saved in (tmp_path / "first", tmp_path / "second"):
        segformer.save_model(model, str(saved))
        values = json.loads((saved / "preprocessor_config.json").read_text())
        assert values["do_reduce_labels"] == values["reduce_labels"] == expected
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            processor = SegformerImageProcessor.from_pretrained(saved)
        assert processor.do_reduce_labels == expected
        model = segformer.load_model(str(saved))


def test_the_older_name_of_reduced_labels_is_read(write_processor):
    assert segformer.load_model(
        write_processor({"reduce_labels": True})
    ).preprocessing.reduce_labels


def test_a_model_remembers_whether_photographs_are_turned(tmp_path):
    for apply_exif in (False, True):
        preprocessing = Preprocessing((40, 56), apply_exif=apply_exif)
        image_processor.write_preprocessing(tmp_path, preprocessing)
        assert image_processor.read_preprocessing(tmp_path) == preprocessing
