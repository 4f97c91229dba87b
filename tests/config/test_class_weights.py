"""Class weights as text: what is read, and what is refused in one line."""

import pytest

from tfseg.config import class_weights
from tfseg.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("road=1,pole=5", {"road": 1.0, "pole": 5.0}),
        ("road=0", {"road": 0.0}),
        (" road = 1e-3 , pole = .5 ", {"road": 1e-3, "pole": 0.5}),
        ("pole=2,screen door, screen=3,road=4", {"pole": 2, "screen door, screen": 3, "road": 4}),
        ("a=b=2,road=1", {"a=b": 2.0, "road": 1.0}),
    ],
)
def test_parse(text, expected):
    assert class_weights.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("class=weight pairs",)),
        ("road", ("--class_weights=road", "class=weight pairs", "road=1,pole=5")),
        ("road=1,pole", ("--class_weights=road=1,pole ", "class=weight pairs")),
        ("=5", ("class=weight pairs",)),
        ("road=", ("'road'", "at least 0", "nothing")),
        ("road=1,pole=-2", ("'pole'", "at least 0", "-2")),
        ("road=nan", ("'road'", "at least 0", "nan")),
        ("road=inf", ("'road'", "at least 0", "inf")),
        ("road=many", ("'road'", "at least 0", "many")),
        ("road=1,road=2", ("'road' twice",)),
    ],
)
def test_parse_refuses(text, words):
    with pytest.raises(UserError, match="--class_weights") as caught:
        class_weights.parse(text)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
