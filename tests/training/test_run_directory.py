"""Whose folder it is, and the checkpoint that a run goes on from."""

import pytest
import tensorflow as tf

from tfseg.config import RunConfig, TrainConfig, TrainingConfig, serialization
from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.training import run_directory
from tfseg.training.callbacks import TrainingState

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


def start_run(tmp_path, **run):
    """A folder that holds a run with a checkpoint."""
    config = make_config(tmp_path, **run)
    run_directory.write_config(config, LABELS, tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "checkpoint").write_text("")
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


def test_a_run_without_a_checkpoint_gives_way_to_a_corrected_one(tmp_path):
    start_run(tmp_path)
    (tmp_path / "checkpoints" / "checkpoint").unlink()
    corrected = TrainConfig(
        training=TrainingConfig(learning_rate=1e-5), run=RunConfig(model_dir=str(tmp_path))
    )
    assert run_directory.check_model_dir(corrected, LABELS) == tmp_path


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


@pytest.fixture
def model():
    model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))])
    model.compile(tf.keras.optimizers.AdamW(0.1), "mse")
    return model


def save_checkpoints(model, config, model_dir, epochs):
    state = TrainingState()
    manager = run_directory.restore_state(model, state, config, model_dir)
    for epoch in epochs:
        model.layers[0].bias.assign([epoch, epoch])
        state.epoch.assign(epoch)
        state.best.assign(epoch / 10)
        manager.save(checkpoint_number=epoch)


def test_the_newest_checkpoint_is_restored_and_old_ones_go(model, tmp_path):
    config = make_config(tmp_path, keep_checkpoints=2)
    save_checkpoints(model, config, tmp_path, (1, 2, 3))
    model.layers[0].bias.assign([0, 0])
    state = TrainingState()
    run_directory.restore_state(model, state, config, tmp_path)
    assert int(state.epoch) == 3
    assert float(state.best) == pytest.approx(0.3)
    assert model.layers[0].bias.numpy().tolist() == [3, 3]
    indices = {path.name for path in (tmp_path / "checkpoints").glob("*.index")}
    assert indices == {"ckpt-2.index", "ckpt-3.index"}


def test_a_damaged_checkpoint_is_passed_over(model, tmp_path, caplog):
    config = make_config(tmp_path)
    save_checkpoints(model, config, tmp_path, (1, 2))
    (data,) = (tmp_path / "checkpoints").glob("ckpt-2.data*")
    data.write_bytes(data.read_bytes()[:50])
    state = TrainingState()
    run_directory.restore_state(model, state, config, tmp_path)
    assert int(state.epoch) == 1
    assert model.layers[0].bias.numpy().tolist() == [1, 1]
    assert "passed over" in caplog.text


def test_no_readable_checkpoint_is_an_error_and_not_a_fresh_start(model, tmp_path):
    config = make_config(tmp_path)
    save_checkpoints(model, config, tmp_path, (1,))
    for path in (tmp_path / "checkpoints").glob("ckpt-1.*"):
        path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="none of the checkpoints"):
        run_directory.restore_state(model, TrainingState(), config, tmp_path)
