import functools
import logging

import numpy as np
import pytest
import tensorflow as tf

from tfseg.data import bad_examples
from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split
from tfseg.errors import UserError

LABELS = LabelSpec(("a", "b"), raw_values=(1, 2))
STRICT = LabelSpec(("a", "b"), raw_values=(1, 2), strict=True)


def read(*masks, labels=LABELS, names=None, unchecked=False):
    """A data set of images of 4x6 pixels with these masks, unchecked by its source."""

    def rows():
        for index, mask in enumerate(masks):
            name = names[index] if names else f"scene {index}"
            yield {"image": np.zeros((4, 6, 3), np.uint8), "mask": mask, "name": name}

    signature = {
        "image": tf.TensorSpec((None, None, 3), tf.uint8),
        "mask": tf.TensorSpec((None, None), tf.int32),
        "name": tf.TensorSpec((), tf.string),
    }
    examples = tf.data.Dataset.from_generator(rows, output_signature=signature)
    examples = examples.apply(tf.data.experimental.assert_cardinality(len(masks)))
    if unchecked:
        return examples
    return examples.map(functools.partial(bad_examples.check_example, labels=labels))


def mask(value=1, size=(4, 6)):
    return np.full(size, value, np.int32)


def test_masks_become_class_ids():
    first, second = read(mask(1), mask(7)).as_numpy_iterator()
    assert (first["mask"] == 0).all()
    assert (second["mask"] == LABELS.ignore_index).all()
    assert first["name"] == b"scene 0"


def iterate(examples):
    list(examples)


@tf.function
def iterate_in_graph(examples):
    for _ in examples:
        pass


def fit(examples):
    model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    floats = examples.map(lambda each: (tf.cast(each["image"][0], tf.float32), tf.ones((6, 1))))
    model.fit(floats, verbose=0)


@pytest.mark.parametrize("consume", [iterate, iterate_in_graph, fit])
@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (mask(size=(6, 4)), "its mask is 6x4 (height x width) but the image is 4x6"),
        (mask(7), "its mask holds the value 7, which --id2label does not name"),
    ],
)
def test_a_bad_example_in_the_middle_becomes_one_line(bad, fault, consume):
    examples = read(mask(), bad, mask(), labels=STRICT)
    with pytest.raises(UserError) as error, bad_examples.naming_bad_examples():
        consume(examples)
    assert str(error.value) == (
        f"bad example scene 1: {fault}; repair it, or --on_bad_example=skip to go on without it"
    )


@pytest.mark.parametrize("name", ["a [b] {{node c}} (d).jpg; \\n", "'Zürich' 東京.jpg"])
def test_names_may_hold_any_characters(name):
    with pytest.raises(UserError) as error, bad_examples.naming_bad_examples():
        list(read(mask(size=(1, 1)), names=[name]))
    assert str(error.value).startswith(f"bad example {name}: its mask is 1x1")


def test_other_errors_pass_unchanged():
    broken = tf.data.Dataset.from_tensors(b"no number").map(tf.strings.to_number)
    with pytest.raises(tf.errors.InvalidArgumentError), bad_examples.naming_bad_examples():
        list(broken)
    with pytest.raises(KeyError), bad_examples.naming_bad_examples():
        raise KeyError("bad example ")


def test_strict_labels_take_values_that_are_void_by_intent():
    labels = LabelSpec(("a",), raw_values=(1,), strict=True, void_values=(0,), ignore_index=9)
    values = np.tile(np.array([0, 1, 9], np.int32), (4, 2))
    (example,) = read(values, labels=labels).as_numpy_iterator()
    assert np.unique(example["mask"]).tolist() == [0, 9]


def test_skip_bad_leaves_them_out_and_names_them(caplog):
    examples = read(mask(), mask(size=(6, 4)), mask(2), unchecked=True)
    split = bad_examples.map_to_classes(Split("train", examples, 3, "digest"), LABELS)
    with caplog.at_level(logging.WARNING):
        good = bad_examples.skip_bad(split)
    assert good.num_examples == len(good.records) == 2
    names = [example["name"] for example in good.examples.as_numpy_iterator()]
    assert names == [b"scene 0", b"scene 2"]
    assert "skipped: scene 1" in caplog.text
    assert "skipped 1 of 3 examples of split train" in caplog.text


def decode_eagerly(files):
    tf.io.decode_jpeg(next(iter(files)))


def decode_in_map(files):
    list(files.map(tf.io.decode_jpeg, num_parallel_calls=2).prefetch(1))


@pytest.mark.parametrize("decode", [decode_eagerly, decode_in_map])
def test_a_file_that_cannot_be_decoded_becomes_one_line(decode):
    broken = tf.data.Dataset.from_tensors(b"\xff\xd8\xff no picture")
    with pytest.raises(UserError) as error, bad_examples.naming_bad_examples():
        decode(broken)
    assert str(error.value).startswith("an image or a mask cannot be decoded (")
    assert "Iterator::" not in str(error.value)
    assert "\n" not in str(error.value)
