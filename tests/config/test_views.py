"""Views as text: what is read, and what is refused in one line."""

import pytest

from tfseg.config import EvalRunConfig, views
from tfseg.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flip", ((1.0,), True)),
        ("flip,0.75,1.0,1.25", ((0.75, 1.0, 1.25), True)),
        (" 0.5 , flip, 2 ", ((0.5, 2.0), True)),
        ("1.5", ((1.5,), False)),
    ],
)
def test_parse(text, expected):
    assert views.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the part ''"),
        ("flop,1.0", "the part 'flop'; it takes flip and scales above 0 and at most 4"),
        ("0", "the part '0'"),
        ("-1", "the part '-1'"),
        ("nan", "the part 'nan'"),
        ("5", "the part '5'"),
        ("1.0,flip,1", "names a view twice"),
        ("flip,flip", "names a view twice"),
    ],
)
def test_parse_refuses(text, words):
    with pytest.raises(UserError, match=f"--tta={text} .*{words}"):
        views.parse(text)


def test_the_configuration_of_an_evaluation_is_checked_at_once():
    with pytest.raises(UserError, match="--tta=big has the part 'big'"):
        EvalRunConfig(model="m", tta="big")
