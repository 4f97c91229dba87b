"""The checkpoint from which a run resumes."""

import pytest
import tensorflow as tf

from tfseg.errors import UserError
from tfseg.training.state import TrainingState, restore_newest


@pytest.fixture
def model():
    model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))])
    model.compile(tf.keras.optimizers.AdamW(0.1), "mse")
    return model


def save_checkpoints(model, folder, epochs):
    state = TrainingState()
    manager = restore_newest(model, state, folder, keep_checkpoints=2)
    for epoch in epochs:
        model.layers[0].bias.assign([epoch, epoch])
        state.epoch.assign(epoch)
        state.best.assign(epoch / 10)
        manager.save(checkpoint_number=epoch)


def test_the_newest_checkpoint_is_restored_and_old_ones_go(model, tmp_path):
    save_checkpoints(model, tmp_path, (1, 2, 3))
    model.layers[0].bias.assign([0, 0])
    state = TrainingState()
    restore_newest(model, state, tmp_path, keep_checkpoints=2)
    assert int(state.epoch) == 3
    assert float(state.best) == pytest.approx(0.3)
    assert model.layers[0].bias.numpy().tolist() == [3, 3]
    indices = {path.name for path in tmp_path.glob("*.index")}
    assert indices == {"ckpt-2.index", "ckpt-3.index"}


def test_a_damaged_checkpoint_is_skipped(model, tmp_path, caplog):
    save_checkpoints(model, tmp_path, (1, 2))
    (data,) = tmp_path.glob("ckpt-2.data*")
    data.write_bytes(data.read_bytes()[:50])
    state = TrainingState()
    restore_newest(model, state, tmp_path, keep_checkpoints=2)
    assert int(state.epoch) == 1
    assert model.layers[0].bias.numpy().tolist() == [1, 1]
    assert "skipped the checkpoint" in caplog.text


def test_no_readable_checkpoint_is_an_error_and_not_a_fresh_start(model, tmp_path):
    save_checkpoints(model, tmp_path, (1,))
    for path in tmp_path.glob("ckpt-1.*"):
        path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="none of the checkpoints"):
        restore_newest(model, TrainingState(), tmp_path, keep_checkpoints=2)
