"""The metrics equal counts made by hand and those of Hugging Face's `evaluate`."""

import json
import pathlib

import numpy as np
import pytest

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported
from tests.evaluation.known_counts import (
    ACCURACY,
    CLASS_MAP,
    CONFUSION,
    DICE,
    IOU,
    MASK,
    NAMES,
    VOID,
    random_batch,
)
from tfseg.evaluation import mean_iou
from tfseg.evaluation.confusion_matrix import ConfusionMatrix

import tensorflow as tf  # isort: skip  (after tfseg)

REFERENCE = np.load(
    pathlib.Path(__file__).parents[1] / "reference" / "mean_iou_reference.npz", allow_pickle=False
)
CASES = json.loads(str(REFERENCE["cases"]))
SKLEARN = np.load(
    pathlib.Path(__file__).parents[1] / "reference" / "class_figures_reference.npz",
    allow_pickle=False,
)


def reference_maps(name, side):
    keys = [key for key in REFERENCE.files if key.startswith(f"{name}/{side}/")]
    return [REFERENCE[key] for key in sorted(keys)]


def test_summary_equals_hand_count():
    summary = mean_iou.summarize_confusion(CONFUSION, NAMES)
    expected = {
        "mean_iou": (2 / 3 + 1 / 3 + 0) / 3,
        "mean_accuracy": (2 / 3 + 1 + 0) / 3,
        "overall_accuracy": 3 / 5,
        "frequency_weighted_iou": 3 / 5 * 2 / 3 + 1 / 5 * 1 / 3 + 1 / 5 * 0,
        "mean_dice": (4 / 5 + 2 / 4 + 0) / 3,
        **{f"iou_{name}": value for name, value in zip(NAMES, IOU, strict=True)},
        **{f"accuracy_{name}": value for name, value in zip(NAMES, ACCURACY, strict=True)},
        **{f"dice_{name}": value for name, value in zip(NAMES, DICE, strict=True)},
    }
    assert list(summary) == list(expected)
    assert all(type(value) is float for value in summary.values())
    assert summary == pytest.approx(expected, abs=1e-15, nan_ok=True)


def test_the_metrics_of_no_pixels_are_nan_without_a_warning(recwarn):
    summary = mean_iou.summarize_confusion(np.zeros([2, 2], np.int64))
    assert set(summary) > {"iou_0", "accuracy_1"}
    assert all(np.isnan(value) for value in summary.values())
    assert not recwarn.list


def test_a_class_that_is_predicted_but_never_true_has_iou_zero_and_no_accuracy():
    summary = mean_iou.summarize_confusion(np.array([[3, 1], [0, 0]]))
    assert summary["iou_1"] == 0
    assert np.isnan(summary["accuracy_1"])
    assert summary["mean_iou"] == pytest.approx(3 / 4 / 2)
    assert summary["mean_accuracy"] == pytest.approx(3 / 4)


def test_confusion_of_wrong_shape_or_names_is_refused():
    with pytest.raises(ValueError, match=r"must be square, received shape \[2, 3\]"):
        mean_iou.summarize_confusion(np.zeros([2, 3], np.int64))
    with pytest.raises(ValueError, match="received 1 class names for a confusion matrix of 4"):
        mean_iou.summarize_confusion(CONFUSION, ["cat"])


@pytest.mark.parametrize("name", CASES)
def test_mean_iou_equals_evaluate(name):
    scores = mean_iou.compute_mean_iou(
        predictions=reference_maps(name, "predictions"),
        references=reference_maps(name, "references"),
        **CASES[name],
    )
    stored = {key for key in REFERENCE.files if key.startswith(f"{name}/") and key.count("/") == 1}
    assert {f"{name}/{key}" for key in scores} == stored
    for key, score in scores.items():
        np.testing.assert_allclose(score, REFERENCE[f"{name}/{key}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["void_pixels", "absent_classes", "negative_void"])
def test_confusion_matrix_and_summary_equal_evaluate(name):
    settings = CASES[name]
    confusion = ConfusionMatrix(
        num_classes=settings["num_labels"], ignore_index=settings["ignore_index"]
    )
    sides = (reference_maps(name, side) for side in ("references", "predictions"))
    for mask, class_map in zip(*sides, strict=True):
        confusion.update(mask, class_map)
    summary = mean_iou.summarize_confusion(confusion.result())
    for key in ("mean_iou", "mean_accuracy", "overall_accuracy"):
        np.testing.assert_allclose(summary[key], REFERENCE[f"{name}/{key}"], rtol=0, atol=1e-12)
    iou = [summary[f"iou_{class_id}"] for class_id in range(settings["num_labels"])]
    np.testing.assert_allclose(iou, REFERENCE[f"{name}/per_category_iou"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted({key.split("/")[0] for key in SKLEARN.files}))
def test_every_figure_equals_scikit_learns(name):
    masks, class_maps = SKLEARN[f"{name}/masks"], SKLEARN[f"{name}/class_maps"]
    num_classes = len(SKLEARN[f"{name}/iou"])
    confusion = ConfusionMatrix(num_classes=num_classes, ignore_index=VOID)
    confusion.update(masks, class_maps)
    summary = mean_iou.summarize_confusion(confusion.result())
    for kind in ("iou", "accuracy", "dice"):
        values = [summary[f"{kind}_{class_id}"] for class_id in range(num_classes)]
        np.testing.assert_allclose(values, SKLEARN[f"{name}/{kind}"], rtol=0, atol=1e-12)
    for key in ("mean_iou", "mean_accuracy", "mean_dice", "frequency_weighted_iou"):
        np.testing.assert_allclose(summary[key], SKLEARN[f"{name}/{key}"], rtol=0, atol=1e-12)
    assert summary["overall_accuracy"] == pytest.approx(float(SKLEARN[f"{name}/overall_accuracy"]))


def test_mean_iou_takes_one_array_or_a_batch_or_a_list():
    masks, class_maps = random_batch(4, (3, 4, 5))
    settings = {"num_labels": 4, "ignore_index": VOID}
    listed = mean_iou.compute_mean_iou(
        predictions=list(class_maps), references=list(masks), **settings
    )
    flat = mean_iou.compute_mean_iou(
        predictions=class_maps.reshape(12, 5), references=masks.reshape(12, 5), **settings
    )
    batch = mean_iou.compute_mean_iou(
        predictions=tf.constant(class_maps), references=list(masks), **settings
    )
    assert listed["mean_iou"] > 0
    for other in (flat, batch):
        np.testing.assert_array_equal(other["per_category_iou"], listed["per_category_iou"])


def test_labels_are_reduced_once_and_the_arrays_are_not_changed():
    # Reduced once, the true labels are void, 0, 1, void; 1 of the 2 valid pixels is correct.
    reference = np.array([[0, 1, 2, VOID]], np.uint8)
    prediction = np.array([[0, 0, 0, 1]], np.uint8)
    for _ in range(2):
        scores = mean_iou.compute_mean_iou(
            predictions=[prediction],
            references=[reference],
            num_labels=2,
            ignore_index=VOID,
            reduce_labels=True,
        )
        np.testing.assert_array_equal(scores["per_category_iou"], [1 / 2, 0])
        assert scores["overall_accuracy"] == 1 / 2
    np.testing.assert_array_equal(reference, [[0, 1, 2, VOID]])


def test_label_map_maps_original_labels_before_reduction():
    # {0: 1, 1: 0, 9: 2} makes the true labels 1, 0, 2, 2; reduced they are 0, void, 1, 1.
    reference = np.array([[0, 1, 2, 9]], np.uint8)
    prediction = np.array([[0, 1, 1, 0]], np.uint8)
    scores = mean_iou.compute_mean_iou(
        predictions=prediction,
        references=reference,
        num_labels=2,
        ignore_index=VOID,
        label_map={0: 1, 1: 0, 9: 2},
        reduce_labels=True,
    )
    np.testing.assert_array_equal(scores["per_category_iou"], [1 / 2, 1 / 2])
    np.testing.assert_array_equal(scores["per_category_accuracy"], [1, 1 / 2])
    np.testing.assert_array_equal(reference, [[0, 1, 2, 9]])


def test_no_ignore_index_counts_every_class():
    scores = mean_iou.compute_mean_iou(
        predictions=CLASS_MAP, references=np.minimum(MASK, 3), num_labels=4, ignore_index=None
    )
    np.testing.assert_array_equal(scores["per_category_iou"], [2 / 3, 1 / 3, 0, 1])


def test_mean_iou_refuses_arguments_that_do_not_match():
    settings = {"num_labels": 4, "ignore_index": VOID}
    with pytest.raises(ValueError, match="received 2 predictions for 1 references"):
        mean_iou.compute_mean_iou(predictions=[MASK, MASK], references=[MASK], **settings)
    with pytest.raises(ValueError, match=r"shape \[2, 3\] does not match its reference"):
        mean_iou.compute_mean_iou(predictions=[MASK], references=[MASK.T], **settings)
    with pytest.raises(TypeError, match="predictions must be integer class ids, received float64"):
        mean_iou.compute_mean_iou(predictions=[MASK / 2], references=[MASK], **settings)
    with pytest.raises(ValueError, match="num_labels must be at least 1, received 0"):
        mean_iou.compute_mean_iou(
            predictions=[MASK], references=[MASK], num_labels=0, ignore_index=VOID
        )
