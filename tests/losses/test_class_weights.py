"""Class weights come in the order of the class ids; unknown class names are refused."""

import pytest

from tfseg.errors import UserError
from tfseg.losses import class_weights

NAMES = ("road", "screen door, screen", "a=b", "pole")


def test_weights_have_the_order_of_the_class_ids():
    weights = class_weights.by_class("pole=5,a=b=0,screen door, screen=0.5", NAMES)
    assert weights == (1.0, 0.5, 0.0, 5.0)
    assert class_weights.by_class(None, NAMES) is None


def test_the_error_for_an_unknown_class_lists_the_allowed_names():
    with pytest.raises(UserError) as caught:
        class_weights.by_class("road=1,poles=5", ("road", "pole"))
    assert "--class_weights names the class 'poles'" in str(caught.value)
    assert "did you mean 'pole'? (allowed: road, pole)" in str(caught.value)


def test_weights_that_are_zero_for_every_class_are_refused():
    with pytest.raises(UserError, match=r"--class_weights=road=0,pole=0 .* above 0"):
        class_weights.by_class("road=0,pole=0", ("road", "pole"))
    assert class_weights.by_class("road=0,pole=0", ("road", "pole", "tree")) == (0, 0, 1)
