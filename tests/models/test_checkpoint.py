"""Checkpoint folders and Hub ids are found, and what cannot be used is refused in one line."""

import json
import time

import numpy as np
import pytest
from transformers import SegformerConfig

from tests import hosts
from tfseg import network
from tfseg.data import class_names
from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.models import checkpoint, segformer

LABELS = LabelSpec(("sky", "road", "tree", "car", "person"))
OTHER_LABELS = LabelSpec(("pet", "background", "outline"))


@pytest.fixture(scope="module")
def images(reference):
    return reference["even/images"].astype(np.float32)


@pytest.fixture(scope="module")
def expected_logits(reference):
    return reference["even/logits"]


def assert_one_line(error, *parts):
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_flat_last_stage_computes_the_same(
    write_folder, reference_state, images, expected_logits, tmp_path
):
    folder = write_folder(tmp_path / "flat", reference_state, reshape_last_stage=False)
    received = segformer.load_model(str(folder)).quarter_logits(images).numpy()
    np.testing.assert_allclose(received, expected_logits, atol=1e-4)


# What cannot be used is refused in one line.


@pytest.mark.parametrize("text", ['{"model_type": "segf', "", "[1, 2]"])
def test_a_damaged_config_is_refused(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError) as error:
        segformer.load_model(str(tmp_path))
    assert_one_line(error, "config.json")


def test_another_model_type_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "mask2former"}')
    with pytest.raises(UserError) as error:
        segformer.build_model(LABELS, (32, 64), init_from=str(tmp_path))
    assert_one_line(error, "'mask2former'", "'segformer'")


def test_labels_survive_the_config():
    labels = LabelSpec(("a", "b"), palette=((1, 2, 3), (4, 5, 6)), ignore_index=-1)
    config = SegformerConfig()
    checkpoint.set_labels(config, labels)
    read = checkpoint.read_labels(SegformerConfig.from_dict(json.loads(config.to_json_string())))
    assert read == labels


def test_a_checkpoint_without_colours_has_those_of_its_data_set():
    names = [name for name, _, _ in class_names.CITYSCAPES]
    config = SegformerConfig(id2label=dict(enumerate(names)))
    assert checkpoint.read_labels(config).palette[:2] == ((128, 64, 128), (244, 35, 232))


def test_an_ignore_index_that_is_a_class_id_does_not_keep_a_checkpoint_from_loading():
    config = SegformerConfig(num_labels=3, semantic_loss_ignore_index=0)
    assert checkpoint.read_labels(config).ignore_index == -1


def test_a_name_of_two_classes_does_not_keep_a_checkpoint_from_loading():
    config = SegformerConfig(id2label={0: "crane", 1: "road", 2: "crane"})
    assert checkpoint.read_labels(config).names == ("crane", "road", "crane (2)")


@pytest.mark.parametrize(
    ("palette", "words"),
    [
        ([[1, 2, 3], [4, 5, 6]], "palette has 2 colours for 3 classes"),
        ([[1, 2, 3]] * 4, "palette has 4 colours for 3 classes"),
        ([[1, 2, 3], [4, 5], [7, 8, 9]], r"palette holds \[4, 5\]"),
        ([[1, 2, 3], [4, 5, 256], [7, 8, 9]], r"palette holds \[4, 5, 256\]"),
        ([[1, 2, 3], "red", [7, 8, 9]], "palette holds 'red'"),
        ("red", "palette is 'red'"),
    ],
)
def test_a_palette_that_does_not_fit_the_classes_is_a_users_error(palette, words):
    config = SegformerConfig(num_labels=3, palette=palette)
    with pytest.raises(UserError, match=rf"config\.json: {words}.*or remove \"palette\""):
        checkpoint.read_labels(config)


# Folders and the Hub.


@pytest.fixture
def closed_port(monkeypatch, tmp_path):
    """Replaces the Hub by a local port on which nothing listens."""
    hosts.use_model_hub(monkeypatch, hosts.find_closed_url(), tmp_path / "cache")


@pytest.mark.parametrize("revision", [None, "v1"])
def test_a_hub_id_is_fetched_and_later_found_without_the_hub(
    local_hub, write_folder, reference_state, images, expected_logits, monkeypatch, revision
):
    write_folder(local_hub / "somebody" / "roads", reference_state)
    model = segformer.load_model("somebody/roads", revision=revision)
    np.testing.assert_allclose(model.quarter_logits(images).numpy(), expected_logits, atol=1e-4)
    monkeypatch.setattr(network, "hub_answers", lambda: False)
    again = segformer.load_model("somebody/roads", revision=revision)
    np.testing.assert_array_equal(again.quarter_logits(images), model.quarter_logits(images))


@pytest.mark.parametrize("revision", [None, "v1"])
def test_the_commit_behind_a_branch_or_tag_is_told(
    local_hub, write_folder, reference_state, monkeypatch, revision
):
    write_folder(local_hub / "somebody" / "roads", reference_state)
    for is_online in (True, False):
        monkeypatch.setattr(network, "hub_answers", lambda is_online=is_online: is_online)
        folder = checkpoint.find_folder("somebody/roads", revision, flag="init_from")
        assert checkpoint.resolved_revision(folder) == hosts.COMMIT


def test_a_local_folder_has_no_commit(write_folder, reference_state, tmp_path):
    for name in ("best", f"snapshots/{hosts.COMMIT}"):
        folder = write_folder(tmp_path / name, reference_state)
        found = checkpoint.find_folder(str(folder), None, flag="init_from")
        assert checkpoint.resolved_revision(found) is None


@pytest.mark.parametrize(
    ("hub_id", "revision", "reason"),
    [
        ("somebody/nothing", None, "no such model or revision on the Hub"),
        ("somebody/roads", "v9", "no such model or revision on the Hub"),
        ("somebody/empty", None, "no config.json on the Hub"),
    ],
)
def test_what_the_hub_lacks_is_named(local_hub, reference_dir, hub_id, revision, reason):
    (local_hub / "somebody" / "empty").mkdir(parents=True)
    (local_hub / "somebody" / "roads").mkdir()
    (local_hub / "somebody" / "roads" / "config.json").write_text("{}")
    with pytest.raises(UserError) as error:
        segformer.load_model(hub_id, revision=revision)
    assert_one_line(error, f"--model={hub_id}", reason)


@pytest.mark.parametrize("path", ["/nowhere/at/all", "./nowhere", "~/nowhere", "runs/pets/best"])
def test_a_missing_folder_is_named_with_the_ways_out(path):
    with pytest.raises(UserError) as error:
        segformer.build_model(LABELS, (32, 64), init_from=path)
    assert_one_line(error, f"--init_from={path}", "no such folder", "Hub id", "scratch")


def test_a_file_or_a_folder_without_a_config_is_refused(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"")
    for path in (tmp_path, tmp_path / "weights.safetensors"):
        with pytest.raises(UserError) as error:
            segformer.load_model(str(path))
        assert_one_line(error, f"--model={path}", "config.json")


def test_a_home_folder_is_found(reference_dir, monkeypatch):
    monkeypatch.setenv("HOME", str(reference_dir.parent))
    found = checkpoint.find_folder(f"~/{reference_dir.name}", None, flag="model")
    assert (found / "config.json").exists()


def test_a_hub_id_without_a_network_fails_soon_with_the_ways_out(closed_port):
    started = time.monotonic()
    with pytest.raises(UserError) as error:
        segformer.build_model(LABELS, (32, 64), init_from="nobody/no-such-model")
    assert time.monotonic() - started < 30
    assert_one_line(
        error, "--init_from=nobody/no-such-model", "local folder", "--init_from=scratch"
    )


def test_a_name_that_no_hub_knows_is_refused(closed_port):
    with pytest.raises(UserError) as error:
        segformer.load_model("no such model!")
    assert_one_line(error, "--model=no such model!")
