import numpy as np
import pytest

from tfseg.data.labels import NO_VALUE, LabelSpec


def test_class_ids_follow_the_order_of_names():
    labels = LabelSpec(("pet", "background"), raw_values=(7, 2))
    assert labels.num_classes == 2
    assert labels.id2label == {0: "pet", 1: "background"}
    assert labels.label2id == {"pet": 0, "background": 1}


def test_raw_values_default_to_positions():
    assert LabelSpec(("a", "b", "c")).raw_values == (0, 1, 2)


def test_lookup_table_ends_with_void():
    table = LabelSpec(("a", "b"), raw_values=(3, 1), ignore_index=200).lookup_table()
    assert table.dtype == np.int32
    assert table.tolist() == [200, 1, 200, 0, 200]


def test_known_values_are_classes_and_void():
    labels = LabelSpec(("a",), raw_values=(1,), void_values=(0,), ignore_index=9)
    assert sorted(labels.known_values) == [NO_VALUE, 0, 1, 9]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ()}, "at least one class name"),
        ({"names": ("a", "b"), "raw_values": (1,)}, "raw_values has 1 entries for 2 classes"),
        ({"names": ("a", "b"), "palette": ((0, 0, 0),)}, "palette has 1 entries for 2 classes"),
        ({"names": ("a", "b", "a")}, "names must differ, received twice: a"),
        ({"names": ("a", "b"), "raw_values": (4, 4)}, "raw_values must differ.*: 4"),
        ({"names": ("a",), "raw_values": (-1,)}, "at least 0, received -1"),
        ({"names": ("a", "b"), "ignore_index": 1}, "class id of 'b': set --ignore_index"),
    ],
)
def test_contradictions_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LabelSpec(**arguments)


@pytest.mark.parametrize("ignore_index", [-1, 2, 255])
def test_ignore_index_may_be_any_value_that_is_no_class_id(ignore_index):
    labels = LabelSpec(("a", "b"), ignore_index=ignore_index)
    assert labels.lookup_table()[-1] == ignore_index
