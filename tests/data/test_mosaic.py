import functools

import numpy as np
import pytest
import tensorflow as tf

from tfseg.data import augmentation, mosaic

VOID = 255
SIZE = (48, 64)


def seed(number):
    return tf.stack([tf.cast(number, tf.int64), 7])


def pairs():
    """Four images whose pixels all say which image they are of, in three sizes; as their masks."""
    sizes = [(50, 60), (30, 90), (70, 40), (50, 60)]
    return [
        (tf.fill((*size, 3), (index + 1) / 8), tf.fill(size, index + 1))
        for index, size in enumerate(sizes)
    ]


def make(number, **options):
    options = {"random_scale": (1.0, 1.0), **options}
    crop = functools.partial(
        augmentation.augment, base_size=SIZE, ignore_index=VOID, max_class_share=0.75, **options
    )
    return mosaic.mosaic(pairs(), seed(number), size=SIZE, crop=crop)


def test_four_images_fill_the_quarters_around_a_random_centre():
    centers = []
    for image, mask in tf.data.Dataset.range(30).map(make).as_numpy_iterator():
        np.testing.assert_allclose(image, np.repeat(mask[..., None] / 8, 3, -1), atol=1e-5)
        top, left = np.sum(mask[:, 0] == 1), np.sum(mask[0] == 1)
        expected = np.empty(SIZE, np.int32)
        expected[:top, :left], expected[:top, left:] = 1, 2
        expected[top:, :left], expected[top:, left:] = 3, 4
        np.testing.assert_array_equal(mask, expected)
        centers.append((top / SIZE[0], left / SIZE[1]))
    assert 0.25 <= np.min(centers) < 0.35
    assert 0.65 < np.max(centers) <= 0.75


def test_masks_are_void_where_a_small_image_leaves_room():
    draw = functools.partial(make, random_scale=(0.2, 0.4))
    for image, mask in tf.data.Dataset.range(10).map(draw).as_numpy_iterator():
        assert set(np.unique(mask)) <= {1, 2, 3, 4, VOID}
        np.testing.assert_array_equal(np.isnan(image).any(-1), mask == VOID)
        assert (mask == VOID).any()


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_each_record_is_grouped_with_those_that_follow(count):
    grouped = list(mosaic.group_records(tf.data.Dataset.range(count)).as_numpy_iterator())
    assert len(grouped) == count
    for index, group in enumerate(grouped):
        following = [*range(index, count)] * 4
        assert list(group) == following[:4]


def test_records_may_be_structures_of_any_shapes():
    examples = tf.data.Dataset.range(1, 6).map(
        lambda number: {"mask": tf.fill([number, 2], number), "name": tf.strings.as_string(number)}
    )
    first, *_ = mosaic.group_records(examples).as_numpy_iterator()
    assert [each["name"] for each in first] == [b"1", b"2", b"3", b"4"]
    assert [each["mask"].shape for each in first] == [(1, 2), (2, 2), (3, 2), (4, 2)]
    files = tf.data.Dataset.from_tensor_slices((["a", "b"], ["c", "d"]))
    first, _ = mosaic.group_records(files).as_numpy_iterator()
    assert first == ((b"a", b"c"), (b"b", b"d")) * 2
