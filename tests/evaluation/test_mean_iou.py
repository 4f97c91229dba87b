"""Scores against counts made by hand and against Hugging Face `evaluate`."""

import json
import pathlib

import numpy as np
import pytest

from tfseg.evaluation import mean_iou  # isort: skip  sets TF_USE_LEGACY_KERAS before TensorFlow loads
from tfseg.evaluation.confusion_matrix import ConfusionMatrix  # isort: skip
import tensorflow as tf

REFERENCE = np.load(
    pathlib.Path(__file__).parents[1] / "reference" / "mean_iou_reference.npz", allow_pickle=False
)
CASES = json.loads(str(REFERENCE["cases"]))
VOID = 255

# Counted by hand, pixel by pixel, truth -> prediction:
#   0->0  0->0  0->1
#   1->1  2->1  void
# so class 0: 2 right of 3 true, 2 predicted; class 1: 1 right of 1 true, 3 predicted;
# class 2: 0 right of 1 true, 0 predicted; class 3: neither true nor predicted.
MASK = np.array([[0, 0, 0], [1, 2, VOID]], np.int32)
CLASS_MAP = np.array([[0, 0, 1], [1, 1, 3]], np.int32)
CONFUSION = np.array([[2, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
IOU = [2 / (3 + 2 - 2), 1 / (1 + 3 - 1), 0 / (1 + 0 - 0), np.nan]
ACCURACY = [2 / 3, 1 / 1, 0 / 1, np.nan]
NAMES = ["cat", "dog", "grass", "sky"]


def matrix_of_four():
    return ConfusionMatrix(num_classes=4, ignore_index=VOID)


def random_batch(seed, shape, num_classes=4):
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, num_classes, shape)
    masks[rng.random(shape) < 0.2] = VOID
    return masks.astype(np.int32), rng.integers(0, num_classes, shape).astype(np.int32)


def reference_maps(name, side):
    keys = [key for key in REFERENCE.files if key.startswith(f"{name}/{side}/")]
    return [REFERENCE[key] for key in sorted(keys)]


def test_confusion_matrix_equals_hand_count():
    confusion = matrix_of_four()
    confusion.update(MASK, CLASS_MAP)
    assert confusion.result().dtype == np.int64
    np.testing.assert_array_equal(confusion.result(), CONFUSION)


@pytest.mark.parametrize("shape", [(24,), (4, 6), (2, 3, 4), (2, 3, 2, 2), ()])
def test_confusion_matrix_takes_any_rank(shape):
    masks, class_maps = random_batch(0, shape or (1,))
    expected = np.zeros([4, 4], np.int64)
    for truth, prediction in zip(masks.ravel(), class_maps.ravel(), strict=True):
        if truth != VOID:
            expected[truth, prediction] += 1
    confusion = matrix_of_four()
    confusion.update(masks.reshape(shape), class_maps.reshape(shape))
    np.testing.assert_array_equal(confusion.result(), expected)


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize("mask_dtype", [np.uint8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("map_dtype", [np.uint8, np.int32, np.int64])
def test_confusion_matrix_takes_mixed_integer_dtypes(mask_dtype, map_dtype, in_graph):
    confusion = matrix_of_four()
    update = tf.function(confusion.update) if in_graph else confusion.update
    update(tf.constant(MASK, mask_dtype), tf.constant(CLASS_MAP, map_dtype))
    np.testing.assert_array_equal(confusion.result(), CONFUSION)


def test_uint8_maps_of_many_classes_do_not_wrap():
    masks = np.array([[149, 149, VOID]], np.uint8)
    class_maps = np.array([[148, 149, 0]], np.uint8)
    confusion = ConfusionMatrix(num_classes=150, ignore_index=VOID)
    confusion.update(masks, class_maps)
    assert confusion.result()[149, 148] == 1
    assert confusion.result()[149, 149] == 1
    assert confusion.result().sum() == 2


def test_prediction_at_void_may_be_anything():
    confusion = ConfusionMatrix(num_classes=2, ignore_index=-1)
    confusion.update([-1, -1, -1, 1], [-7, 2, 10**6, 1])
    np.testing.assert_array_equal(confusion.result(), [[0, 0], [0, 1]])


def test_streaming_equals_one_shot():
    masks, class_maps = random_batch(1, (9, 8, 5))
    whole, parts = matrix_of_four(), matrix_of_four()
    whole.update(masks, class_maps)
    for start, stop in ((0, 4), (4, 5), (5, 5), (5, 9)):
        parts.update(masks[start:stop], class_maps[start:stop])
    assert whole.result().sum() == np.count_nonzero(masks != VOID)
    np.testing.assert_array_equal(parts.result(), whole.result())


def test_single_pixels_count_beyond_float32():
    confusion = matrix_of_four()
    zeros = tf.zeros([4096, 4097], tf.uint8)
    confusion.update(zeros, zeros)
    for _ in range(3):
        confusion.update([0], [0])
    # 2**24 + 4096 is even and float32 steps by 2 up there: it can hold neither +1 nor +3.
    assert confusion.result()[0, 0] == 2**24 + 4096 + 3


def test_single_pixels_count_beyond_float64():
    confusion = matrix_of_four()
    (counts,) = confusion.variables  # 16 cells, then the pixels with an id outside the classes
    counts.assign([2**53] * 16 + [0])
    confusion.update([1], [2])
    assert confusion.result()[1, 2] == 2**53 + 1
    assert confusion.result()[2, 1] == 2**53


def test_update_traces_once_over_a_dataset_of_free_shapes():
    batches = [random_batch(seed, (2, 3 + seed, 5)) for seed in range(4)]
    spec = tf.TensorSpec([None, None, None], tf.int32)
    dataset = tf.data.Dataset.from_generator(lambda: batches, output_signature=(spec, spec))
    confusion, eager = matrix_of_four(), matrix_of_four()

    @tf.function
    def count_all(examples):
        for masks, class_maps in examples:
            confusion.update(masks, class_maps)

    count_all(dataset)
    for masks, class_maps in batches:
        eager.update(masks, class_maps)
    assert count_all.experimental_get_tracing_count() == 1
    np.testing.assert_array_equal(confusion.result(), eager.result())


def test_xla_counts_the_same():
    confusion = matrix_of_four()
    tf.function(confusion.update, jit_compile=True)(tf.constant(MASK), tf.constant(CLASS_MAP))
    np.testing.assert_array_equal(confusion.result(), CONFUSION)


def test_xla_reports_foreign_ids_at_the_result():
    confusion = matrix_of_four()
    update = tf.function(confusion.update, jit_compile=True)
    update(tf.constant([0, 7, 1]), tf.constant([0, 0, -2]))
    with pytest.raises(ValueError, match="2 pixels had a class id outside 0 to 3"):
        confusion.result()
    confusion.reset()
    assert confusion.result().sum() == 0


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize(
    ("masks", "class_maps"),
    [([4, 0], [0, 0]), ([-1, 0], [0, 0]), ([1, 0], [4, 0]), ([1, 0], [-1, 0])],
)
def test_foreign_ids_raise_and_leave_the_counts(masks, class_maps, in_graph):
    confusion = matrix_of_four()
    confusion.update(MASK, CLASS_MAP)
    update = tf.function(confusion.update) if in_graph else confusion.update
    with pytest.raises(tf.errors.InvalidArgumentError, match="class ids must be 0 to 3, or 255"):
        update(tf.constant(masks), tf.constant(class_maps))
    np.testing.assert_array_equal(confusion.result(), CONFUSION)


def test_wide_ids_do_not_wrap_into_range():
    with pytest.raises(tf.errors.InvalidArgumentError, match="class ids must be 0 to 3"):
        matrix_of_four().update(tf.constant([0]), tf.constant([2**32 + 1], tf.int64))


def test_update_refuses_other_shapes_and_dtypes():
    confusion = matrix_of_four()
    with pytest.raises(ValueError, match=r"masks \(2, 3\) and class_maps \(3, 2\)"):
        confusion.update(MASK, CLASS_MAP.T)
    with pytest.raises(ValueError, match="must be of one shape"):
        confusion.update(MASK[..., np.newaxis], CLASS_MAP)
    with pytest.raises(TypeError, match="class_maps must be integer class ids, received float32"):
        confusion.update(MASK, CLASS_MAP.astype(np.float32))


def test_update_refuses_shapes_that_differ_at_run_time():
    confusion = matrix_of_four()
    spec = tf.TensorSpec([None], tf.int32)
    update = tf.function(confusion.update, input_signature=(spec, spec))
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be of one shape"):
        update(tf.zeros([5], tf.int32), tf.zeros([1], tf.int32))
    assert confusion.result().sum() == 0


@pytest.mark.parametrize(
    ("num_classes", "ignore_index", "message"),
    [(0, VOID, "num_classes must be at least 1, received 0"), (4, 3, "3 is a class id: set --ign")],
)
def test_confusion_matrix_refuses_bad_settings(num_classes, ignore_index, message):
    with pytest.raises(ValueError, match=message):
        ConfusionMatrix(num_classes=num_classes, ignore_index=ignore_index)


def test_summary_equals_hand_count():
    summary = mean_iou.summarize_confusion(CONFUSION, NAMES)
    expected = {
        "mean_iou": (2 / 3 + 1 / 3 + 0) / 3,
        "mean_accuracy": (2 / 3 + 1 + 0) / 3,
        "overall_accuracy": 3 / 5,
        **{f"iou_{name}": value for name, value in zip(NAMES, IOU, strict=True)},
        **{f"accuracy_{name}": value for name, value in zip(NAMES, ACCURACY, strict=True)},
    }
    assert list(summary) == list(expected)
    assert all(type(value) is float for value in summary.values())
    assert summary == pytest.approx(expected, abs=1e-15, nan_ok=True)


def test_summary_of_nothing_is_nan_without_a_warning(recwarn):
    summary = mean_iou.summarize_confusion(np.zeros([2, 2], np.int64))
    assert set(summary) > {"iou_0", "accuracy_1"}
    assert all(np.isnan(value) for value in summary.values())
    assert not recwarn.list


def test_class_predicted_but_never_true_scores_zero_and_has_no_accuracy():
    summary = mean_iou.summarize_confusion(np.array([[3, 1], [0, 0]]))
    assert summary["iou_1"] == 0
    assert np.isnan(summary["accuracy_1"])
    assert summary["mean_iou"] == pytest.approx(3 / 4 / 2)
    assert summary["mean_accuracy"] == pytest.approx(3 / 4)


def test_class_table_equals_hand_count():
    assert mean_iou.format_class_table(CONFUSION, NAMES).splitlines() == [
        "class  IoU %  accuracy %  pixels %",
        "cat    66.67       66.67     60.00",
        "dog    33.33      100.00     20.00",
        "grass   0.00        0.00     20.00",
        "sky        -           -      0.00",
        "mean   33.33       55.56",
    ]


@pytest.mark.parametrize("render", [mean_iou.summarize_confusion, mean_iou.format_class_table])
def test_confusion_of_wrong_shape_or_names_is_refused(render):
    with pytest.raises(ValueError, match=r"is square, received shape \[2, 3\]"):
        render(np.zeros([2, 3], np.int64))
    with pytest.raises(ValueError, match="received 1 class names for a confusion matrix of 4"):
        render(CONFUSION, ["cat"])


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


def test_mean_iou_takes_one_array_a_batch_or_a_list():
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


def test_labels_are_reduced_once_and_arrays_left_alone():
    # Reduced once, the truth is void, 0, 1, void, and 1 of its 2 pixels is predicted right.
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
    # {0: 1, 1: 0, 9: 2} makes the truth 1, 0, 2, 2; reduced: 0, void, 1, 1.
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


def test_mean_iou_refuses_what_does_not_match():
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
