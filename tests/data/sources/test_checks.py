import io
import logging

import numpy as np
import pytest
from PIL import Image

from tfseg.data.labels import LabelSpec
from tfseg.data.sources import checks
from tfseg.errors import UserError

LABELS = LabelSpec(("a", "b"))


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def example(index, size=(4, 6), class_id=0):
    image, mask = np.full((4, 6, 3), index, np.uint8), np.full(size, class_id, np.uint8)
    return checks.EncodedExample(png(image), png(mask), f"image {index}", f"mask {index}")


def find_usable(examples, labels=LABELS, on_bad_example="error"):
    def read(index):
        if isinstance(examples[index], OSError):
            raise examples[index]
        return examples[index]

    return checks.find_usable(
        read, len(examples), labels, split="train", on_bad_example=on_bad_example
    )


BAD = {
    "the image cannot be decoded": (
        example(1)._replace(image=b"no picture"),
        r"image 1 cannot be decoded \(it is no JPEG, PNG, BMP, GIF or WebP, or it is damaged\)",
    ),
    "the mask cannot be decoded": (
        example(1)._replace(mask=b"no picture"),
        "mask 1 cannot be read as a mask",
    ),
    "the sizes differ": (
        example(1, (6, 4)),
        r"mask 1 is 6x4 \(height x width\) but its image image 1 is 4x6",
    ),
    "a file cannot be read": (
        PermissionError(13, "Permission denied", "x.png"),
        "an example of split train cannot be read .*'x.png'",
    ),
}


@pytest.mark.parametrize(("bad", "message"), BAD.values(), ids=BAD)
def test_a_bad_example_stops_or_is_left_out(bad, message, caplog):
    examples = [example(0), bad, example(2), bad]
    with pytest.raises(UserError, match=f"{message}.*and 1 more.*--on_bad_example=skip"):
        find_usable(examples)
    with caplog.at_level(logging.WARNING):
        assert find_usable(examples, on_bad_example="skip").indices == [0, 2]
    assert "skipped 2 of 4 examples of split train" in caplog.text


def test_a_value_without_a_name_is_bad_where_labels_are_strict():
    examples = [example(0), example(1, class_id=2)]
    assert find_usable(examples).indices == [0, 1]
    with pytest.raises(UserError, match="mask 1 holds the value 2, which --id2label does not name"):
        find_usable(examples, LabelSpec(("a", "b"), strict=True))


@pytest.mark.parametrize("examples", [[], [BAD["the sizes differ"][0]]])
def test_a_split_without_a_usable_example(examples):
    with pytest.raises(UserError, match="split train has no usable example"):
        find_usable(examples, on_bad_example="skip")


def test_the_digest_depends_on_bytes_and_order_of_the_good_examples_alone():
    first, second, third = example(0), example(1, class_id=1), example(2, class_id=1)
    digest = find_usable([first, second, third]).digest
    renamed = [each._replace(image_name="x", mask_name="y") for each in (first, second, third)]
    assert find_usable(renamed).digest == digest
    bad = BAD["the mask cannot be decoded"][0]
    assert find_usable([first, bad, second, third], on_bad_example="skip").digest == digest
    swapped = first._replace(image=second.image), second._replace(image=first.image), third
    others = (
        [second, first, third],
        [first, second],
        [first, second, third, third],
        [first, second, example(2, class_id=0)],
        swapped,
    )
    assert len({digest, *(find_usable(examples).digest for examples in others)}) == 6


def counting(examples):
    """Returns a function that reads examples, and the list of what it was asked for."""
    reads = []

    def read(index):
        reads.append(index)
        return examples[index]

    return read, reads


@pytest.fixture
def check(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def run(examples, state, labels=LABELS, on_bad_example="error"):
        read, reads = counting(examples)
        options = {"split": "train", "on_bad_example": on_bad_example, "state": state}
        return checks.find_usable(read, len(examples), labels, **options), reads

    return run


def test_examples_that_were_good_in_the_same_state_are_not_decoded_again(check):
    examples = [example(0), example(1, class_id=1)]
    first, reads = check(examples, "state")
    again, no_reads = check(examples, "state")
    assert (sorted(reads), no_reads) == ([0, 1], [])
    assert first == again
    assert again.pixels == {0: 24, 1: 24}


@pytest.mark.parametrize(
    ("state", "labels"),
    [("other", LABELS), (None, LABELS), ("state", LabelSpec(("a", "b"), strict=True))],
)
def test_another_state_or_other_labels_are_checked_again(state, labels, check):
    check([example(0)], "state")
    assert check([example(0)], state, labels)[1] == [0]


def test_splits_with_bad_examples_are_checked_again(check):
    bad = BAD["the sizes differ"][0]
    for _ in range(2):
        usable, reads = check([example(0), bad], "state", on_bad_example="skip")
        assert usable.indices == [0]
        assert sorted(reads) == [0, 1]


def test_an_answer_that_is_damaged_is_not_used(check, tmp_path):
    check([example(0)], "state")
    (kept,) = (tmp_path / "tfseg" / "checked").iterdir()
    kept.write_text("{")
    assert check([example(0)], "state")[1] == [0]


@pytest.mark.parametrize("values", [[[0, 3], [3, 3]], [[-1, 70_000], [70_000, 70_000]]])
def test_pixels_are_counted_by_value(values):
    (few, many) = sorted({value for row in values for value in row})
    assert checks.count_values(np.array(values, np.int32)) == {few: 1, many: 3}
