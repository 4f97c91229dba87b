"""Class weights by class id, and names that the data set does not have."""

import pytest

from tfseg.errors import UserError
from tfseg.losses import class_weights

NAMES = ("road", "screen door, screen", "a=b", "pole")


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
