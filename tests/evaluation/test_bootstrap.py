"""The bootstrap equals a plain loop over drawn images, and covers as often as it says."""

import numpy as np
import pytest

from tests.evaluation.known_counts import random_batch
from tfseg.evaluation import bootstrap
from tfseg.evaluation.mean_iou import compute_mean_iou

NUM_CLASSES = 4


def count(masks, class_maps):
    counts = np.zeros((len(masks), 3, NUM_CLASSES), np.int64)
    for row, mask, class_map in zip(counts, masks, class_maps, strict=True):
        for class_id in range(NUM_CLASSES):
            true, predicted = mask == class_id, (class_map == class_id) & (mask != 255)
            row[:, class_id] = (true & predicted).sum(), true.sum(), predicted.sum()
    return counts


@pytest.fixture(scope="module")
def images():
    """Images of which each holds two classes only, so that a resample may lack a class."""
    masks, class_maps = random_batch(3, (6, 8, 9))
    for index in range(6):
        masks[index][masks[index] == index % NUM_CLASSES] = 255
    return masks, class_maps


def test_mean_iou_of_sums_equals_that_of_the_masks(images):
    expected = compute_mean_iou(
        predictions=images[1], references=images[0], num_labels=NUM_CLASSES, ignore_index=255
    )
    assert bootstrap.mean_iou(count(*images).sum(0)) == pytest.approx(expected["mean_iou"])


def test_classes_that_are_nowhere_are_left_out_and_nothing_is_nan(recwarn):
    sums = np.array([[[3, 0], [4, 0], [3, 0]], [[0, 0], [0, 0], [0, 0]]])
    np.testing.assert_array_equal(bootstrap.mean_iou(sums), [3 / 4, np.nan])
    assert not recwarn.list


def test_an_interval_equals_the_quantiles_of_images_drawn_one_by_one(images):
    masks, class_maps = images
    drawn = np.random.default_rng(5).integers(0, len(masks), (200, len(masks)))
    values = [
        compute_mean_iou(
            predictions=class_maps[chosen],
            references=masks[chosen],
            num_labels=NUM_CLASSES,
            ignore_index=255,
        )["mean_iou"]
        for chosen in drawn
    ]
    interval = bootstrap.mean_iou_interval(count(*images), num_resamples=200, seed=5)
    assert interval == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_a_chunk_of_resamples_gives_the_same_as_all_at_once(images, monkeypatch):
    counts = count(*images)
    whole = bootstrap.mean_iou_interval(counts, seed=1)
    monkeypatch.setattr(bootstrap, "_CHUNK", 50)
    assert bootstrap.mean_iou_interval(counts, seed=1) == whole
    assert bootstrap.mean_iou_interval(counts, seed=2) != whole


def test_the_interval_covers_the_accuracy_of_coins_as_often_as_it_says():
    """Images of one pixel: the IoU of a class that is always true is the share of right pixels."""
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        right = rng.random(100) < 0.7
        counts = np.zeros((100, 3, 1), np.int64)
        counts[:, 0, 0], counts[:, 1, 0], counts[:, 2, 0] = right, 1, right
        low, high = bootstrap.mean_iou_interval(counts, num_resamples=400, seed=seed)
        covered += low <= 0.7 <= high
    assert 0.90 <= covered / 200 <= 0.98


def test_pairs_are_drawn_together():
    """B is better on each image by one pixel of ten, so the difference does not vary at all."""
    rng = np.random.default_rng(0)
    right = rng.integers(0, 9, 40)
    before, after = np.zeros((2, 40, 3, 1), np.int64)
    for counts, hits in ((before, right), (after, right + 1)):
        counts[:, 0, 0], counts[:, 1, 0], counts[:, 2, 0] = hits, 10, hits
    low, high = bootstrap.mean_iou_interval(before)
    assert high - low > 0.05
    assert bootstrap.difference_interval(before, after) == pytest.approx((0.1, 0.1))
