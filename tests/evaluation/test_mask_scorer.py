"""Masks on disk are found by name, scored by evaluate's rules, and refused by name."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.evaluation.known_counts import random_batch
from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split
from tfseg.errors import UserError
from tfseg.evaluation import mask_scorer
from tfseg.evaluation.mean_iou import compute_mean_iou

LABELS = LabelSpec(("cat", "dog", "grass", "sky"))
NAMES = [f"street/{index}" for index in range(20)]


@pytest.fixture
def data():
    return random_batch(6, (len(NAMES), 6, 7))


def split_of(masks):
    dataset = tf.data.Dataset.from_tensor_slices({"mask": tf.constant(masks, tf.int32)})
    return Split("val", dataset, len(masks), "")


def write(folder, maps, names=NAMES):
    for name, class_map in zip(names, maps, strict=True):
        path = folder / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.asarray(class_map, np.uint8)).save(path)


def score(folder, masks):
    steps = []
    paths = mask_scorer.find_masks(str(folder), NAMES)
    scores = mask_scorer.score_masks(split_of(masks), paths, LABELS, steps.append)
    return scores, np.concatenate([step.counts for step in steps])


@pytest.mark.parametrize("names", [NAMES, [name.rpartition("/")[2] for name in NAMES]])
def test_masks_score_as_by_compute_mean_iou(data, tmp_path, names):
    masks, class_maps = data
    class_maps[masks == 255] = 200  # any value is allowed where the mask is void
    write(tmp_path, class_maps, names)
    scores, counts = score(tmp_path, masks)
    expected = compute_mean_iou(
        predictions=class_maps, references=masks, num_labels=4, ignore_index=255
    )
    metrics = scores.metrics(LABELS.names)
    assert "loss" not in metrics
    assert metrics["mean_iou"] == pytest.approx(expected["mean_iou"], abs=1e-12)
    assert metrics["mean_accuracy"] == pytest.approx(expected["mean_accuracy"], abs=1e-12)
    assert scores.num_examples == len(NAMES)
    for image, mask in zip(counts, masks, strict=True):
        np.testing.assert_array_equal(image[1], np.bincount(mask[mask != 255], minlength=4))
    np.testing.assert_array_equal(counts.sum(0)[2], scores.confusion.sum(0))


def test_raw_values_are_counted_as_their_classes(data, tmp_path):
    """Values 7 and 3 are one class; 9 has no class, nor has the -1 of unknown segments."""
    labels = LabelSpec(LABELS.names, raw_values=(0, 7, 2, 300), merged_values=((3, 1),))
    masks, class_maps = data
    write(tmp_path, class_maps)
    raw = np.array([0, 7, 2, 300])[np.minimum(masks, 3)]
    raw[(masks == 1) & (class_maps == 1)] = 3
    raw[masks == 255] = np.where(class_maps[masks == 255] > 1, 9, -1)
    dataset = tf.data.Dataset.from_tensor_slices({"raw": tf.constant(raw, tf.int32)})
    split = Split("val", dataset, len(masks), "", decode_values=lambda record: record["raw"])
    paths = mask_scorer.find_masks(str(tmp_path), NAMES)
    scores = mask_scorer.score_masks(split, paths, labels, lambda images: None)
    np.testing.assert_array_equal(scores.confusion, score(tmp_path, masks)[0].confusion)


def change(class_maps, tmp_path, fault):
    write(tmp_path, class_maps)
    path = tmp_path / f"{NAMES[17]}.png"
    if fault == "missing":
        path.unlink()
    if fault == "damaged":
        path.write_bytes(path.read_bytes()[:40])
    if fault == "size":
        Image.fromarray(np.zeros((7, 6), np.uint8)).save(path)
    if fault == "value":
        Image.fromarray(np.full((6, 7), 4, np.uint8)).save(path)
    if fault == "colours":
        Image.fromarray(np.zeros((6, 7, 3), np.uint8)).save(path)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "lacks masks of .* of 20 images; each must be called as its image"),
        ("damaged", r"street/17\.png of --predictions: it is (damaged|no picture)"),
        ("size", r"street/17\.png has 7x6 pixels \(height x width\), but the mask .* has 6x7"),
        ("value", r"street/17\.png holds values up to 4; .* class ids, 0 to 3"),
        ("colours", r"street/17\.png of --predictions: it has 3 channels"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(data, tmp_path, fault, message):
    masks, class_maps = data
    change(class_maps, tmp_path, fault)
    with pytest.raises(UserError, match=message):
        score(tmp_path, masks)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"--predictions=.*nowhere: there is no such folder"):
        mask_scorer.find_masks(str(tmp_path / "nowhere"), NAMES)


def test_one_mask_is_not_taken_for_two_images(tmp_path):
    write(tmp_path, [np.zeros((2, 2))], ["0"])
    with pytest.raises(UserError, match="lacks masks of some of 2 images"):
        mask_scorer.find_masks(str(tmp_path), ["left/0", "right/0"])
