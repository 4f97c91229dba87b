"""Which examples are kept in memory."""

import pytest

from tests.data.test_pipeline import COUNT, Source
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
