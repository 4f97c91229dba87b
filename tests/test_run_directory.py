"""Whose folder it is, and the checkpoint that a run goes on from."""

import pytest
import tensorflow as tf

from tfseg import config_io, run_directory
from tfseg.callbacks import TrainingState
from tfseg.config import RunConfig, TrainConfig
from tfseg.errors import UserError


def make_config(model_dir, **run):
    return TrainConfig(run=RunConfig(model_dir=str(model_dir), **run))


def test_a_new_folder_is_taken(tmp_path):
    assert run_directory.check_model_dir(make_config(tmp_path / "new")) == tmp_path / "new"
    assert not (tmp_path / "new").exists()


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"--model_dir=.* is a file"):
        run_directory.check_model_dir(make_config(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_foreign_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="--model_dir"):
        run_directory.check_model_dir(make_config(tmp_path))


def test_config_and_flagfile_are_written(tmp_path):
    config = make_config(tmp_path / "run")
    run_directory.write_config(config, run_directory.check_model_dir(config))
    text = (tmp_path / "run" / "config.json").read_text()
    assert config_io.train_config_from_json(text) == config
    assert f"--model_dir={tmp_path / 'run'}" in (tmp_path / "run" / "train.flags").read_text()


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
