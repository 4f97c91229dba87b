"""The printed table of per-class metrics."""

import numpy as np
import pytest

from tests.evaluation.known_counts import CONFUSION, NAMES
from tfseg.evaluation import class_table


def test_class_table_equals_hand_count():
    assert class_table.format_class_table(CONFUSION, NAMES).splitlines() == [
        "class      IoU %  accuracy %  Dice %  pixels %",
        "cat        66.67       66.67   80.00     60.00",
        "dog        33.33      100.00   50.00     20.00",
        "grass       0.00        0.00    0.00     20.00",
        "sky            -           -       -      0.00",
        "mean       33.33       55.56   43.33",
        "by pixels  46.67       60.00",
    ]


def test_an_empty_confusion_matrix_gives_dashes_without_a_warning(recwarn):
    lines = class_table.format_class_table(np.zeros([1, 1], np.int64), ["cat"]).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["cat", "-", "-", "-", "0.00"],
        ["mean", "-", "-", "-"],
        ["by", "pixels", "-", "-"],
    ]
    assert not recwarn.list


def test_another_number_of_names_is_refused():
    with pytest.raises(ValueError, match="received 1 class names for a confusion matrix of 4"):
        class_table.format_class_table(CONFUSION, ["cat"])
