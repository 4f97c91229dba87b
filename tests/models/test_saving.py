"""A saved folder is one whole model, the old or the new, whatever moment a kill picks."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.models import segformer

LABELS = LabelSpec(("sky", "road", "tree", "car", "person"))
IMAGE_SIZE = (32, 64)
MOMENTS = ("with half a file", "before a rename", "after a rename")

# Builds a model once, and then forks a process for each folder, which dies in the middle of saving.
PROGRAM = """
    import os, sys
    from tfseg.data.labels import LabelSpec
    from tfseg.models import segformer

    init_from, shift, *cases = sys.argv[1:]
    labels = LabelSpec(("sky", "road", "tree", "car", "person"))
    model = segformer.build_model(labels, (32, 64), init_from=init_from)
    model.network.decode_head.classifier.bias.assign_add([float(shift)] * 5)
    replace = os.replace

    def save_and_die(folder, moment, count):
        renames = 0

        def replace_or_die(source, target):
            nonlocal renames
            renames += 1
            if renames == count and moment == "with half a file":
                os.truncate(source, os.path.getsize(source) // 2)
                os._exit(9)
            if renames == count and moment == "before a rename":
                os._exit(9)
            replace(source, target)
            if renames == count:
                os._exit(9)

        os.replace = replace_or_die
        segformer.save_model(model, folder)
        os._exit(0)

    for case in cases:
        folder, moment, count = case.split("|")
        process = os.fork()
        if not process:
            save_and_die(folder, moment, int(count))
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9, case
"""


def save_and_die(init_from, shift, cases):
    """Saves into each folder of `cases` and dies at its moment of its n-th rename."""
    arguments = ["|".join(map(str, case)) for case in cases]
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(init_from), str(shift)]
    subprocess.run([*program, *arguments], check=True)


def read_bias(folder):
    model = segformer.load_model(str(folder))
    return model.network.decode_head.classifier.bias.numpy()


def build(reference_dir):
    return segformer.build_model(LABELS, IMAGE_SIZE, init_from=str(reference_dir))


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_kill_in_a_first_save_leaves_no_model_or_a_whole_one(reference_dir, tmp_path):
    cases = [(tmp_path / f"{m}-{n}", m, n) for m in MOMENTS for n in (1, 2, 3)]
    save_and_die(reference_dir, 1.0, cases)
    whole = [(moment, n) for folder, moment, n in cases if (folder / "config.json").exists()]
    assert whole == [("after a rename", 3)]
    expected = read_bias(reference_dir) + 1.0
    np.testing.assert_array_equal(read_bias(cases[-1][0]), expected)
    # The next save is not disturbed by what is left.
    model = build(reference_dir)
    for folder, *_ in cases:
        segformer.save_model(model, str(folder))
        np.testing.assert_array_equal(read_bias(folder), read_bias(reference_dir))


def test_a_kill_while_weights_are_replaced_leaves_the_old_or_the_new_ones(reference_dir, tmp_path):
    cases = [(tmp_path / moment, moment, 1) for moment in MOMENTS]
    model = build(reference_dir)
    for folder, *_ in cases:
        segformer.save_model(model, str(folder))
    save_and_die(reference_dir, 1.0, cases)
    for (folder, *_), shift in zip(cases, (0.0, 0.0, 1.0), strict=True):
        np.testing.assert_array_equal(read_bias(folder), read_bias(reference_dir) + shift)
        assert segformer.load_model(str(folder)).preprocessing == model.preprocessing


def other_labels(reference_dir):
    names = ("sky", "road", "tree", "car", "horse")
    return segformer.build_model(LabelSpec(names), IMAGE_SIZE, init_from=str(reference_dir))


def other_image_size(reference_dir):
    return segformer.build_model(LABELS, (64, 64), init_from=str(reference_dir))


def other_backbone(reference_dir):
    return segformer.build_model(LABELS, IMAGE_SIZE, drop_path_rate=0.5)


@pytest.mark.parametrize(
    ("build_other", "difference"),
    [
        (other_labels, "id2label"),
        (other_image_size, "preprocessor_config.json"),
        (other_backbone, "hidden_sizes"),
    ],
)
def test_another_model_is_refused_and_stays_untouched(
    reference_dir, tmp_path, build_other, difference
):
    segformer.save_model(build(reference_dir), str(tmp_path))
    before = snapshot(tmp_path)
    with pytest.raises(UserError) as error:
        segformer.save_model(build_other(reference_dir), str(tmp_path))
    assert snapshot(tmp_path) == before
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert difference in str(error.value)


def test_a_folder_of_another_transformers_release_still_counts_as_the_same_model(
    reference_dir, tmp_path
):
    model = build(reference_dir)
    segformer.save_model(model, str(tmp_path))
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    values["transformers_version"] = "4.30.0"
    for name in ("tf_legacy_loss", "return_dict", "hidden_dropout_prob", "architectures"):
        values.pop(name, None)  # keys that hold their defaults
    values["a_setting_that_went"] = 3
    path.write_text(json.dumps(values))
    before = path.read_bytes()
    model.network.decode_head.classifier.bias.assign_add(tf.ones(5))
    segformer.save_model(model, str(tmp_path))
    assert path.read_bytes() == before
    np.testing.assert_array_equal(read_bias(tmp_path), read_bias(reference_dir) + 1.0)
