"""The checks that fields share."""

import pytest

from tfseg.config import EvalConfig
from tfseg.config.validation import check_size, describe_checks, require
from tfseg.errors import UserError


def test_check_size_accepts_multiples_and_none():
    check_size("image_size", (32, 480))
    check_size("image_size", None)


def test_require_names_the_missing_flag():
    with pytest.raises(UserError, match="--model is required"):
        require(EvalConfig().run)


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ({}, ""),
        ({"resumable": True}, ""),
        ({"choices": ("auto", "none")}, "one of auto, none"),
        ({"minimum": 0.0, "below": 1.0}, "at least 0.0 and below 1.0"),
        ({"above": 0.0}, "above 0.0"),
        ({"minimum": 0, "maximum": 9}, "at least 0 and at most 9"),
    ],
)
def test_describe_checks(checks, expected):
    assert describe_checks(checks) == expected
