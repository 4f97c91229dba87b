"""MeanIoU works as `evaluate` says, and gives the figures of `evaluate`'s own mean_iou."""

import pickle

import evaluate
import numpy as np
import pytest

from tests.evaluation.test_mean_iou import CASES, REFERENCE, reference_maps
from tfseg.evaluation import MeanIoU


def sides_of(name):
    return {side: reference_maps(name, side) for side in ("predictions", "references")}


def assert_equal(scores, expected):
    assert scores.keys() == expected.keys()
    for key, score in scores.items():
        np.testing.assert_allclose(score, expected[key], rtol=0, atol=1e-12, err_msg=key)


def expected_scores(name):
    keys = ("mean_iou", "mean_accuracy", "overall_accuracy")
    keys += ("per_category_iou", "per_category_accuracy")
    return {key: REFERENCE[f"{name}/{key}"] for key in keys}


@pytest.fixture
def metric():
    return MeanIoU()


@pytest.mark.parametrize("name", CASES)
def test_compute_and_the_private_call_of_the_guides_equal_evaluate(metric, name):
    assert_equal(metric.compute(**sides_of(name), **CASES[name]), expected_scores(name))
    assert_equal(metric._compute(**sides_of(name), **CASES[name]), expected_scores(name))


@pytest.mark.parametrize("name", ["foreign_ids", "negative_void", "reduce_labels"])
def test_batches_and_single_masks_add_up(metric, name):
    predictions, references = sides_of(name).values()
    metric.add(prediction=predictions[0], reference=references[0])
    metric.add_batch(predictions=predictions[1:], references=references[1:])
    assert len(metric) == len(predictions)
    assert_equal(metric.compute(**CASES[name]), expected_scores(name))
    assert len(metric) == 0


def test_combined_with_another_metric_each_gets_the_masks(metric):
    both = evaluate.combine({"first": metric, "second": MeanIoU()})
    predictions, references = sides_of("void_pixels").values()
    both.add(predictions[0], references[0])
    both.add_batch(predictions[1:], references[1:])
    scores = both.compute(**CASES["void_pixels"])
    expected = expected_scores("void_pixels")
    assert (
        scores["first_mean_iou"]
        == scores["second_mean_iou"]
        == pytest.approx(float(expected["mean_iou"]), abs=1e-12)
    )


def test_memory_does_not_grow_with_the_masks(metric, rng):
    masks = rng.integers(0, 150, (4, 50, 50), np.uint8)
    metric.add_batch(predictions=masks, references=masks[::-1])
    size = len(pickle.dumps(metric._pairs))
    for _ in range(20):
        metric.add_batch(predictions=masks, references=masks[::-1])
    assert len(pickle.dumps(metric._pairs)) == size
    assert len(metric) == 84


def test_what_cannot_be_counted_is_refused(metric):
    mask = np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match="no mask was added"):
        metric.compute(num_labels=2, ignore_index=255)
    with pytest.raises(ValueError, match="received 2 predictions for 1 references"):
        metric.add_batch(predictions=[mask, mask], references=[mask])
    with pytest.raises(TypeError, match="predictions must be integer class ids, received float64"):
        metric.add(prediction=mask / 2, reference=mask)
    with pytest.raises(ValueError, match="num_process=2: MeanIoU counts in one process"):
        MeanIoU(num_process=2, process_id=0)


def test_equals_the_original_module(metric, request, rng):
    """Beside `evaluate`'s own script, where --evaluate_module names it."""
    path = request.config.getoption("--evaluate_module")
    if path is None:
        pytest.skip("--evaluate_module=PATH of evaluate's mean_iou.py was not given")
    original = evaluate.load(path)
    references = rng.integers(0, 12, (5, 60, 80), np.uint8)
    predictions = np.where(rng.random(references.shape) < 0.6, references, 3).astype(np.uint8)
    references[rng.random(references.shape) < 0.1] = 255
    for settings in (
        {"num_labels": 12, "ignore_index": 255},
        {"num_labels": 11, "ignore_index": 255, "reduce_labels": True},
        {"num_labels": 12, "ignore_index": 0, "nan_to_num": 0},
    ):
        sides = {"predictions": list(predictions), "references": list(references)}
        assert_equal(metric.compute(**sides, **settings), original.compute(**sides, **settings))
