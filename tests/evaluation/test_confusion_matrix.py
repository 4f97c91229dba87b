"""The confusion matrix counts exactly, eagerly, in graphs and under XLA; it refuses bad ids."""

import numpy as np
import pytest

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported
from tests.evaluation.known_counts import CLASS_MAP, CONFUSION, MASK, VOID, random_batch
from tfseg.evaluation.confusion_matrix import ConfusionMatrix

import tensorflow as tf  # isort: skip  (after tfseg)


def matrix_of_four():
    return ConfusionMatrix(num_classes=4, ignore_index=VOID)


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


def test_predictions_at_void_pixels_may_have_any_value():
    confusion = ConfusionMatrix(num_classes=2, ignore_index=-1)
    confusion.update([-1, -1, -1, 1], [-7, 2, 10**6, 1])
    np.testing.assert_array_equal(confusion.result(), [[0, 0], [0, 1]])


def test_several_updates_equal_one_update_with_all_images():
    masks, class_maps = random_batch(1, (9, 8, 5))
    whole, parts = matrix_of_four(), matrix_of_four()
    whole.update(masks, class_maps)
    for start, stop in ((0, 4), (4, 5), (5, 5), (5, 9)):
        parts.update(masks[start:stop], class_maps[start:stop])
    assert whole.result().sum() == np.count_nonzero(masks != VOID)
    np.testing.assert_array_equal(parts.result(), whole.result())


def test_counts_stay_exact_beyond_the_integers_of_float32():
    confusion = matrix_of_four()
    zeros = tf.zeros([4096, 4097], tf.uint8)
    confusion.update(zeros, zeros)
    for _ in range(3):
        confusion.update([0], [0])
    # Above 2**24 float32 holds only even integers, so it can hold neither +1 nor +3 here.
    assert confusion.result()[0, 0] == 2**24 + 4096 + 3


def test_counts_stay_exact_beyond_the_integers_of_float64():
    confusion = matrix_of_four()
    (counts,) = confusion.variables  # 16 cells, then the number of class ids out of range
    counts.assign([2**53] * 16 + [0])
    confusion.update([1], [2])
    assert confusion.result()[1, 2] == 2**53 + 1
    assert confusion.result()[2, 1] == 2**53


def test_update_traces_once_for_batches_of_different_shapes():
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


def test_under_xla_ids_out_of_range_make_the_result_fail():
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
def test_ids_out_of_range_raise_and_leave_the_counts_unchanged(masks, class_maps, in_graph):
    confusion = matrix_of_four()
    confusion.update(MASK, CLASS_MAP)
    update = tf.function(confusion.update) if in_graph else confusion.update
    with pytest.raises(tf.errors.InvalidArgumentError, match="class ids must be 0 to 3, or 255"):
        update(tf.constant(masks), tf.constant(class_maps))
    np.testing.assert_array_equal(confusion.result(), CONFUSION)


def test_int64_ids_do_not_wrap_into_the_range_of_classes():
    with pytest.raises(tf.errors.InvalidArgumentError, match="class ids must be 0 to 3"):
        matrix_of_four().update(tf.constant([0]), tf.constant([2**32 + 1], tf.int64))


def test_update_refuses_shapes_that_differ_and_float_dtypes():
    confusion = matrix_of_four()
    with pytest.raises(ValueError, match=r"masks \(2, 3\) and class_maps \(3, 2\)"):
        confusion.update(MASK, CLASS_MAP.T)
    with pytest.raises(ValueError, match="must have the same shape"):
        confusion.update(MASK[..., np.newaxis], CLASS_MAP)
    with pytest.raises(TypeError, match="class_maps must be integer class ids, received float32"):
        confusion.update(MASK, CLASS_MAP.astype(np.float32))


def test_update_refuses_shapes_that_differ_at_run_time():
    confusion = matrix_of_four()
    spec = tf.TensorSpec([None], tf.int32)
    update = tf.function(confusion.update, input_signature=(spec, spec))
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have the same shape"):
        update(tf.zeros([5], tf.int32), tf.zeros([1], tf.int32))
    assert confusion.result().sum() == 0


@pytest.mark.parametrize(
    ("num_classes", "ignore_index", "message"),
    [(0, VOID, "num_classes must be at least 1, received 0"), (4, 3, "3 is a class id: set --ign")],
)
def test_confusion_matrix_refuses_invalid_arguments(num_classes, ignore_index, message):
    with pytest.raises(ValueError, match=message):
        ConfusionMatrix(num_classes=num_classes, ignore_index=ignore_index)
