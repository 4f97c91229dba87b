"""Which run a folder belongs to, and the files that describe it."""

import dataclasses

import pytest
import tensorflow as tf

from tfseg.config import RunConfig, TrainConfig, TrainingConfig, serialization
from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split
from tfseg.errors import UserError
from tfseg.training import run_directory

LABELS = LabelSpec(("sky", "road"))


def make_config(model_dir, **run):
    return TrainConfig(run=RunConfig(model_dir=str(model_dir), **run))


def test_a_new_folder_is_taken(tmp_path):
    assert run_directory.check_model_dir(make_config(tmp_path / "new"), LABELS) == tmp_path / "new"
    assert not (tmp_path / "new").exists()


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"--model_dir=.* is a file"):
        run_directory.check_model_dir(make_config(tmp_path / "file" / "run"), LABELS)
    assert (tmp_path / "file").read_text() == "mine"


def make_splits(num_train=3, digest="a1"):
    examples = tf.data.Dataset.range(1)
    return {
        "train": Split("train", examples, num_train, digest),
        "eval": Split("val", examples, 2, "b2"),
    }


def start_run(tmp_path, leaves="checkpoints/checkpoint", **run):
    """A folder of a run that has left a file."""
    config = make_config(tmp_path, **run)
    run_directory.write_run_files(tmp_path, config, LABELS, make_splits())
    (tmp_path / leaves).parent.mkdir(exist_ok=True)
    (tmp_path / leaves).write_text("")
    return config


def test_the_same_run_is_taken_up(tmp_path):
    config = start_run(tmp_path)
    assert run_directory.check_model_dir(config, LABELS) == tmp_path


def test_a_foreign_config_is_refused(tmp_path):
    config = start_run(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="--model_dir"):
        run_directory.check_model_dir(config, LABELS)


def test_a_run_of_other_classes_is_refused(tmp_path):
    config = start_run(tmp_path)
    with pytest.raises(UserError, match="class names or the mask values"):
        run_directory.check_model_dir(config, LabelSpec(("road", "sky")))


def test_a_run_of_the_same_classes_in_other_colours_is_taken_up(tmp_path):
    config = start_run(tmp_path)
    recolored = dataclasses.replace(LABELS, palette=((1, 2, 3), (4, 5, 6)))
    assert run_directory.check_model_dir(config, recolored) == tmp_path


@pytest.mark.parametrize("content", ["", "[]", '{"names": ["sky", "road"]}'])
def test_a_run_of_unreadable_classes_is_refused(tmp_path, content):
    config = start_run(tmp_path)
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(UserError, match="class names or the mask values"):
        run_directory.check_model_dir(config, LABELS)


def corrected(tmp_path):
    return TrainConfig(
        training=TrainingConfig(learning_rate=1e-5), run=RunConfig(model_dir=str(tmp_path))
    )


def test_a_run_without_results_gives_way_to_a_corrected_one(tmp_path):
    start_run(tmp_path)
    (tmp_path / "checkpoints" / "checkpoint").unlink()
    assert run_directory.check_model_dir(corrected(tmp_path), LABELS) == tmp_path


@pytest.mark.parametrize("leaves", ["best/config.json", "metrics.json", "saved_model/1"])
def test_results_without_checkpoints_do_not_give_way_to_another_run(tmp_path, leaves):
    start_run(tmp_path, leaves)
    with pytest.raises(UserError, match=r"another configuration \(--learning_rate=none, now 1e-05"):
        run_directory.check_model_dir(corrected(tmp_path), LABELS)


def test_results_of_an_unknown_run_are_kept(tmp_path):
    config = start_run(tmp_path, "best/config.json")
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"results but no config\.json.*--model_dir"):
        run_directory.check_model_dir(config, LABELS)


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(tmp_path):
    config = start_run(tmp_path, "best/config.json")
    assert run_directory.check_model_dir(config, LABELS) == tmp_path


def test_a_finished_run_whose_checkpoints_were_removed_is_kept(tmp_path):
    config = start_run(tmp_path, "metrics.json")
    with pytest.raises(UserError, match=r"finished run but no checkpoint.*--model_dir"):
        run_directory.check_model_dir(config, LABELS)


def test_unchanged_splits_are_taken(tmp_path):
    start_run(tmp_path)
    run_directory.check_splits(tmp_path, make_splits())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (make_splits(num_train=4, digest="c3"), r"had 3 examples \(digest a1\).*has 4 \(digest c3"),
        (make_splits(digest="c3"), r"had 3 examples \(digest a1\).*has 3 \(digest c3"),
    ],
    ids=["count", "content"],
)
def test_a_changed_split_is_refused_and_named(tmp_path, changed, words):
    start_run(tmp_path)
    with pytest.raises(UserError, match="the train split 'train' has changed.*" + words):
        run_directory.check_splits(tmp_path, changed)


def test_a_run_without_results_may_start_with_other_data(tmp_path):
    start_run(tmp_path)
    (tmp_path / "checkpoints" / "checkpoint").unlink()
    run_directory.check_splits(tmp_path, make_splits(num_train=4))


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run_directory.check_model_dir(make_config("~/run"), LABELS) == tmp_path / "run"


def test_config_and_flagfile_are_written_and_leftovers_removed(tmp_path):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / ".model.safetensors.1-0123abcd.tfseg-tmp").write_text("half")
    config = start_run(tmp_path)
    text = (tmp_path / "config.json").read_text()
    assert serialization.train_config_from_json(text) == config
    assert "--model_dir=NEW" in (tmp_path / "train.flags").read_text().splitlines()[0]
    assert not list((tmp_path / "best").iterdir())
