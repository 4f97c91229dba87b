"""A split of TFDS and one that breaks in the middle are read to the end."""

import numpy as np
import tensorflow as tf

from tests.inspection.splits import encoded_png, read_record
from tfseg.data.labels import LabelSpec
from tfseg.data.sources import shapes
from tfseg.data.split import Split
from tfseg.inspection import scan as scan_lib
from tfseg.inspection.scan import scan_split

LABELS = LabelSpec(("sky", "road"))


def scan(split):
    return scan_split(split, LABELS, "train", num_thumbnails=1, show_progress=False)


def test_pixels_need_no_file():
    """TFDS gives masks, and some data sets images, as pixels."""
    images = np.random.default_rng(0).integers(0, 255, (3, 20, 30, 3), np.uint8)
    masks = np.zeros((3, 20, 30), np.int32)
    masks[1] = 70_000
    records = tf.data.Dataset.from_tensor_slices(
        {"image": images, "mask": masks, "name": ["a", "b", "c"]}
    )
    found = scan(Split("train", records, 3, "digest", read=read_record))
    assert (found.names, found.digest) == (["a", "b", "c"], "digest")
    assert found.value_pixels == {0: 1200, 70_000: 600}
    assert found.value_example == {0: "mask of a", 70_000: "mask of b"}
    assert found.class_images.tolist() == [2, 0]
    assert found.class_support.tolist() == [1200, 0]


def test_only_so_many_values_are_kept(monkeypatch):
    monkeypatch.setattr(scan_lib, "_MAX_VALUES", 5)
    mask = np.arange(12, dtype=np.int32).reshape(1, 3, 4)
    images = np.zeros((1, 3, 4, 3), np.uint8)
    records = tf.data.Dataset.from_tensor_slices({"image": images, "mask": mask, "name": ["a"]})
    found = scan(Split("train", records, 1, "digest", read=read_record))
    assert found.value_pixels == dict.fromkeys(range(5), 1)
    assert found.class_pixels.tolist() == [1, 1]


def test_a_split_of_tfds(tmp_path):
    found = scan(shapes.load("train[:3]", data_dir=str(tmp_path), config="tiny"))
    assert len(found.names) == 3
    assert all(name.startswith("shapes_train_") for name in found.names)
    assert found.sizes == [(128, 128)] * 3
    assert sum(found.value_pixels.values()) == 3 * 128 * 128
    assert found.faults == found.notes == []


def test_records_that_break_off_are_a_fault_and_the_others_count():
    def generate():
        for name in ("a", "b"):
            yield {"image": encoded_png((4, 6, 3)), "mask": encoded_png((4, 6)), "name": name}
        raise OSError("the disk is gone")

    signature = dict.fromkeys(("image", "mask", "name"), tf.TensorSpec((), tf.string))
    records = tf.data.Dataset.from_generator(generate, output_signature=signature)
    found = scan(Split("train", records, 5, "", read=read_record))
    assert found.names == ["a", "b"]
    (fault,) = found.faults
    assert fault.kind == "unreadable"
    assert fault.text.startswith("train_2 and the 2 after it cannot be read (")
    assert "the disk is gone" in fault.text


def test_order_and_digest_do_not_depend_on_the_threads():
    content = [encoded_png((4, 6, 3), seed) for seed in range(40)]
    records = tf.data.Dataset.from_tensor_slices(
        {
            "image": content,
            "mask": [encoded_png((4, 6))] * 40,
            "name": [str(number) for number in range(40)],
        }
    )
    split = Split("train", records, 40, "", read=read_record)
    first, second = scan(split), scan(split)
    assert first.names == [str(number) for number in range(40)]
    assert first.digest == second.digest != ""
