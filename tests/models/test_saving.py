"""A saved folder is one whole model, the old or the new, whatever moment a kill picks."""

import functools
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.models import checkpoint, segformer

LABELS = LabelSpec(("sky", "road", "tree", "car", "person"))
IMAGE_SIZE = (32, 64)
SHIFT = 1.0  # of the classifier's bias, between the old weights and the new ones
MOMENTS = ("with half a file", "before a rename", "after a rename")

# Builds a model once, then forks one process per folder, which dies in the middle of saving.
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


@pytest.fixture(scope="module")
def killed(reference_dir, tmp_path_factory):
    """For each kind of save (folder, moment, n): it died at that moment of its n-th rename."""
    root = tmp_path_factory.mktemp("killed")
    counts = {"first save": (1, 2, 3), "weights": (1,), "label and weights": (1, 2)}
    cases = {
        name: [(root / f"{name} {m} {n}", m, n) for m in MOMENTS for n in numbers]
        for name, numbers in counts.items()
    }
    for name in ("weights", "label and weights"):
        for folder, *_ in cases[name]:
            segformer.save_model(build(reference_dir), str(folder))
    for folder, *_ in cases["label and weights"]:
        path = folder / "config.json"
        path.write_text(path.read_text().replace('"float32"', '"float16"'))
    arguments = ["|".join(map(str, case)) for group in cases.values() for case in group]
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(reference_dir), str(SHIFT)]
    subprocess.run([*program, *arguments], check=True)
    return cases


def read_bias(folder):
    return load_file(folder / "model.safetensors")["decode_head.classifier.bias"]


@functools.cache
def build(reference_dir):
    """Builds a model with the reference's weights; tests must not change it."""
    return segformer.build_model(LABELS, IMAGE_SIZE, init_from=str(reference_dir))


@functools.cache
def build_shifted(reference_dir):
    """The same model with other weights."""
    model = segformer.build_model(LABELS, IMAGE_SIZE, init_from=str(reference_dir))
    model.network.decode_head.classifier.bias.assign_add(tf.fill([5], SHIFT))
    return model


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_kill_in_a_first_save_leaves_no_model_or_a_whole_one(killed, reference_dir):
    cases = killed["first save"]
    whole = [case for case in cases if (case[0] / "config.json").exists()]
    assert whole == [cases[-1]]
    assert cases[-1][1:] == ("after a rename", 3)
    np.testing.assert_array_equal(read_bias(cases[-1][0]), read_bias(reference_dir) + SHIFT)
    assert segformer.load_model(str(cases[-1][0])).labels == LABELS
    # The next save is not disturbed by what is left.
    for folder, *_ in cases:
        segformer.save_model(build(reference_dir), str(folder))
        np.testing.assert_array_equal(read_bias(folder), read_bias(reference_dir))


@pytest.mark.parametrize("name", ["weights", "label and weights"])
def test_a_kill_in_a_later_save_leaves_the_old_or_the_new_weights(killed, reference_dir, name):
    for folder, moment, n in killed[name]:
        is_new = (moment, n) == (killed[name][-1][1:])
        expected = read_bias(reference_dir) + (SHIFT if is_new else 0)
        np.testing.assert_array_equal(read_bias(folder), expected)
        assert checkpoint.read_labels(checkpoint.read_config(folder)) == LABELS
    loaded = segformer.load_model(str(folder))
    assert loaded.preprocessing == build(reference_dir).preprocessing


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


def test_a_folder_keeps_the_colours_that_it_was_written_with(reference_dir, tmp_path):
    segformer.save_model(build(reference_dir), str(tmp_path))
    before = snapshot(tmp_path)
    model = build(reference_dir)
    model.network.config.palette = [[1, 2, value] for value in range(LABELS.num_classes)]
    model.network.decode_head.classifier.bias.assign_add([SHIFT] * LABELS.num_classes)
    segformer.save_model(model, str(tmp_path))
    after = snapshot(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"model.safetensors"}


def test_a_folder_of_another_transformers_release_still_counts_as_the_same_model(
    reference_dir, tmp_path
):
    segformer.save_model(build(reference_dir), str(tmp_path))
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    values["transformers_version"] = "4.30.0"
    for name in ("tf_legacy_loss", "return_dict", "hidden_dropout_prob", "architectures"):
        values.pop(name, None)  # keys that hold their defaults
    values["a_setting_that_went"] = 3
    path.write_text(json.dumps(values))
    before = path.read_bytes()
    segformer.save_model(build_shifted(reference_dir), str(tmp_path))
    assert path.read_bytes() == before
    np.testing.assert_array_equal(read_bias(tmp_path), read_bias(reference_dir) + SHIFT)


@pytest.mark.parametrize("key", ["torch_dtype", "dtype"])
def test_weights_are_saved_under_the_label_that_they_have(
    write_folder, reference_state, tmp_path, key
):
    half = {
        name: array.astype(np.float16) if array.dtype == np.float32 else array
        for name, array in reference_state.items()
    }
    folder = write_folder(tmp_path / "half", half, **{key: "float16"})
    model = segformer.load_model(str(folder))
    for target in (tmp_path / "new", folder):
        segformer.save_model(model, str(target))
        values = json.loads((target / "config.json").read_text())
        assert values["torch_dtype"] == "float32"
        assert "dtype" not in values
        _, dtypes = read_header(target / "model.safetensors")
        assert dtypes == {"F32", "I64"}


def read_header(path):
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    metadata = header.pop("__metadata__")
    return metadata, {entry["dtype"] for entry in header.values()}
