"""The best weights and the training state, over real fits."""

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.training.callbacks.fits import STEPS_PER_EPOCH, build_model, fit
from tfseg.training.callbacks import checkpoints
from tfseg.training.state import TrainingState


class Saved(tf.keras.Model):
    """A model that remembers where it was saved, in the place of one that writes a folder."""

    def __init__(self):
        super().__init__()
        self.folders = []

    def save(self, filepath, overwrite=True, **_):
        assert overwrite
        self.folders.append(filepath)


def end_epochs(callback, monitor, values):
    """Ends an epoch for each value; returns the epochs, from 1, after which the model was saved."""
    model, saved = Saved(), []
    callback.set_model(model)
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"loss": 0.0} if value is None else {monitor: value})
        saved += [epoch + 1] * (len(model.folders) - len(saved))
    assert {Path(folder).name for folder in model.folders} <= {"best"}
    return saved


@pytest.mark.parametrize(
    ("monitor", "values", "saved"),
    [
        ("val_mean_iou", [0.2, 0.1, 0.3, 0.3, 0.4], [1, 3, 5]),
        ("val_loss", [2.0, 3.0, 1.0, 1.0, 0.5], [1, 3, 5]),
        ("val_mean_iou", [math.nan, 0.1, math.nan, 0.2], [2, 4]),
        ("val_loss", [math.nan, 5.0, math.nan, 6.0, 4.0], [2, 5]),
        ("val_mean_iou", [0.0, 0.0], [1]),
        ("val_mean_iou", [None, 0.2, None, 0.1, None, 0.3], [2, 6]),
    ],
)
def test_the_best_is_saved_by_either_monitor(tmp_path, monitor, values, saved):
    state = TrainingState()
    callback = checkpoints.SaveBest(tmp_path / "best", monitor, state)
    assert end_epochs(callback, monitor, values) == saved
    best = max if monitor == "val_mean_iou" else min
    finite = [value for value in values if value is not None and not math.isnan(value)]
    assert float(state.best) == best(finite)


def test_epochs_without_an_evaluation_print_and_save_nothing(tmp_path, caplog, capfd):
    state = TrainingState()
    callback = checkpoints.SaveBest(tmp_path / "best", "val_mean_iou", state)
    assert end_epochs(callback, "val_mean_iou", [None, None]) == []
    assert math.isnan(float(state.best))
    assert caplog.text + "".join(capfd.readouterr()) == ""


def test_the_best_before_a_resumption_counts(tmp_path):
    state = TrainingState()
    state.best.assign(0.5)
    callback = checkpoints.SaveBest(tmp_path / "best", "val_mean_iou", state)
    assert end_epochs(callback, "val_mean_iou", [0.4, 0.6]) == [2]


def test_a_folder_with_braces_in_its_name_is_taken_as_it_is(tmp_path):
    folder = tmp_path / "{epoch}" / "best"
    callback = checkpoints.SaveBest(folder, "val_mean_iou", TrainingState())
    model = Saved()
    callback.set_model(model)
    callback.on_epoch_end(0, {"val_mean_iou": 0.5})
    assert model.folders == [str(folder)]


def build_state(folder, seed=0):
    model, state = build_model(seed=seed), TrainingState()
    # As a resumption does, so that the optimizer's variables exist when they are restored.
    model.optimizer.build(model.trainable_variables)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer, state=state)
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=2)
    return model, state, manager


@pytest.mark.parametrize(
    ("every", "epochs", "kept"), [(1, 3, [2, 3]), (2, 5, [4, 5]), (10, 3, [3])]
)
def test_the_state_is_saved_every_so_many_epochs_and_after_the_last(tmp_path, every, epochs, kept):
    model, state, manager = build_state(tmp_path)
    fit(model, checkpoints.SaveState(manager, state, every, epochs), epochs=epochs)
    assert [path.rsplit("-", 1)[1] for path in manager.checkpoints] == [str(one) for one in kept]
    assert int(state.epoch) == epochs


def test_a_restored_state_goes_on_as_the_run_would_have(tmp_path):
    model, state, manager = build_state(tmp_path)
    state.best.assign(0.625)
    fit(model, checkpoints.SaveState(manager, state, 1, 2), epochs=2)
    resumed, resumed_state, resumed_manager = build_state(tmp_path, seed=1)
    assert math.isnan(float(resumed_state.best))
    resumed_manager.restore_or_initialize()
    assert (int(resumed_state.epoch), float(resumed_state.best)) == (2, 0.625)
    assert int(resumed.optimizer.iterations) == 2 * STEPS_PER_EPOCH
    for each in (model, resumed):
        fit(each, epochs=3, initial_epoch=int(resumed_state.epoch))
    for mine, theirs in zip(resumed.variables, model.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    assert int(resumed.optimizer.iterations) == 3 * STEPS_PER_EPOCH


def test_an_untouched_state_is_at_the_start():
    state = TrainingState()
    assert int(state.epoch) == 0
    assert math.isnan(float(state.best))
