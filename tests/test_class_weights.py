"""Class weights as text: what is read, by which names, and what is refused in one line."""

import pytest

from tfseg import class_weights
from tfseg.errors import UserError

NAMES = ("road", "screen door, screen", "a=b", "pole")


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


def test_weights_come_in_the_order_of_the_classes():
    weights = class_weights.by_class("pole=5,a=b=0,screen door, screen=0.5", NAMES)
    assert weights == (1.0, 0.5, 0.0, 5.0)
    assert class_weights.by_class(None, NAMES) is None


def test_an_unknown_class_is_named_with_those_that_exist():
    with pytest.raises(UserError) as caught:
        class_weights.by_class("road=1,poles=5", ("road", "pole"))
    assert "--class_weights names the class 'poles'" in str(caught.value)
    assert "did you mean 'pole'? (allowed: road, pole)" in str(caught.value)


def test_all_zero_weights_are_refused_where_every_class_is_named():
    with pytest.raises(UserError, match=r"--class_weights=road=0,pole=0 .* above 0"):
        class_weights.by_class("road=0,pole=0", ("road", "pole"))
    assert class_weights.by_class("road=0,pole=0", ("road", "pole", "tree")) == (0, 0, 1)
