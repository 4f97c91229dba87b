"""Which examples are kept in memory."""

import pytest
import tensorflow as tf

from tests.data.counted import COUNT, LABELS, Records, Source
from tfseg.data import caching
from tfseg.data.labels import LabelSpec


@pytest.fixture
def source():
    return Source()


@pytest.mark.parametrize(("limit", "is_cached"), [(1 << 20, True), (10_000, False)])
def test_auto_cache_keeps_what_fits(source, limit, is_cached, monkeypatch):
    # Ten examples of about 2,000 pixels, 3 bytes of image and 1 of mask each: 80 KB.
    monkeypatch.setattr(caching, "CACHE_LIMIT_BYTES", limit)
    assert caching.cache_examples(source.examples, "auto", LABELS)[1] == is_cached
    assert 8 <= len(source.reads) <= COUNT, "a look at the first examples is enough"


def test_auto_cache_estimates_decoded_bytes(source, monkeypatch):
    decoded = sum(
        example["image"].nbytes + example["mask"].size
        for example in source.examples.as_numpy_iterator()
    )
    for limit, is_cached in ((0.9 * decoded, False), (1.1 * decoded, True)):
        monkeypatch.setattr(caching, "CACHE_LIMIT_BYTES", limit)
        assert caching.cache_examples(source.examples, "auto", LABELS)[1] == is_cached


@pytest.mark.parametrize(("limit", "expected"), [(10_000, COUNT), (40, 5), (1, 1)])
def test_a_shuffle_holds_the_records_that_fit_and_not_decoded_examples(
    limit, expected, monkeypatch
):
    """Ten records of 8 bytes stand for ten examples of 8 KB."""
    monkeypatch.setattr(caching, "CACHE_LIMIT_BYTES", limit)
    _, _, buffer_size = caching.choose_records(Records().split, "auto", LABELS)
    assert buffer_size == expected


def test_paths_of_any_data_set_fit_a_shuffle():
    paths = ["/data/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"] * 20_000
    records = tf.data.Dataset.from_tensor_slices({"image": paths, "mask": paths})
    assert caching.shuffle_buffer_size(records) == 20_000


@pytest.mark.parametrize(
    ("num_classes", "ignore_index", "dtype"),
    [
        (10, 255, tf.uint8),
        (255, 255, tf.uint8),
        (256, 256, tf.uint16),
        (10, 300, tf.uint16),
        (10, 70_000, tf.int32),
        (10, -1, tf.int32),
    ],
)
def test_masks_are_cached_in_the_smallest_type(num_classes, ignore_index, dtype):
    labels = LabelSpec(tuple(map(str, range(num_classes))), ignore_index=ignore_index)
    mask = tf.constant([[0, num_classes - 1, ignore_index]], tf.int32)
    examples = tf.data.Dataset.from_tensors({"image": tf.zeros((1, 3, 3), tf.uint8), "mask": mask})
    cached, _ = caching.cache_examples(examples, "memory", labels)
    assert cached.element_spec["mask"].dtype == dtype
    (example,) = cached.map(caching.widen_mask)
    assert example["mask"].dtype == tf.int32
    assert example["mask"].numpy().tolist() == mask.numpy().tolist()
