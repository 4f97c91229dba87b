"""Which examples are kept in memory."""

import pytest
import tensorflow as tf

from tests.data.counted import COUNT, Records, Source
from tfseg.data import caching


@pytest.fixture
def source():
    return Source()


@pytest.mark.parametrize(("limit", "is_cached"), [(1 << 20, True), (10_000, False)])
def test_auto_cache_keeps_what_fits(source, limit, is_cached, monkeypatch):
    # Ten examples of about 2,000 pixels, 3 bytes of image and 4 of mask each: 140 KB.
    monkeypatch.setattr(caching, "CACHE_LIMIT_BYTES", limit)
    assert caching.cache_examples(source.examples, "auto")[1] == is_cached
    assert 8 <= len(source.reads) <= COUNT, "a look at the first examples is enough"


def test_auto_cache_estimates_decoded_bytes(source, monkeypatch):
    decoded = sum(
        example["image"].nbytes + example["mask"].nbytes
        for example in source.examples.as_numpy_iterator()
    )
    for limit, is_cached in ((0.9 * decoded, False), (1.1 * decoded, True)):
        monkeypatch.setattr(caching, "CACHE_LIMIT_BYTES", limit)
        assert caching.cache_examples(source.examples, "auto")[1] == is_cached


@pytest.mark.parametrize(("limit", "expected"), [(10_000, COUNT), (40, 5), (1, 1)])
def test_a_shuffle_holds_the_records_that_fit_and_not_decoded_examples(
    limit, expected, monkeypatch
):
    """Ten records of 8 bytes stand for ten examples of 14 KB."""
    monkeypatch.setattr(caching, "CACHE_LIMIT_BYTES", limit)
    _, _, buffer_size = caching.choose_records(Records().split, "auto")
    assert buffer_size == expected


def test_paths_of_any_data_set_fit_a_shuffle():
    paths = ["/data/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"] * 20_000
    records = tf.data.Dataset.from_tensor_slices({"image": paths, "mask": paths})
    assert caching.shuffle_buffer_size(records) == 20_000
