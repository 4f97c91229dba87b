"""Callbacks over real fits of a tiny Keras model, and at the edges of what they are told."""

import csv
import math
import re
import time

import numpy as np
import pytest

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import tensorflow as tf

from tfseg.errors import UserError
from tfseg.losses.cross_entropy import SegmentationCrossEntropy
from tfseg.training import callbacks
from tfseg.training.optimizers import build_optimizer, build_schedule

STEPS_PER_EPOCH = 4


def build_model(learning_rate=0.01, seed=0):
    """A convolution of 3 classes, compiled as training compiles a SegFormer."""
    tf.keras.utils.set_random_seed(seed)
    model = tf.keras.Sequential([tf.keras.layers.Conv2D(3, 1, input_shape=(4, 4, 3))])
    schedule = build_schedule(
        "constant", learning_rate=learning_rate, total_steps=100, warmup_steps=0
    )
    optimizer = build_optimizer(schedule, weight_decay=0.01, gradient_clip_norm=None)
    model.compile(optimizer, SegmentationCrossEntropy(255))
    return model


def build_batches(bad_step=None):
    """Endless batches of one image; the image of `bad_step`, counted from 1, holds a nan."""
    rng = np.random.default_rng(0)

    def generate():
        step = 0
        while True:
            step += 1
            image = rng.normal(size=(1, 4, 4, 3)).astype(np.float32)
            image[0, 0, 0, 0] = np.nan if step == bad_step else image[0, 0, 0, 0]
            yield image, rng.integers(0, 3, (1, 4, 4)).astype(np.int32)

    signature = (tf.TensorSpec((1, 4, 4, 3), tf.float32), tf.TensorSpec((1, 4, 4), tf.int32))
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


def fit(model, *used, epochs=1, initial_epoch=0, bad_step=None):
    return model.fit(
        build_batches(bad_step),
        epochs=epochs,
        initial_epoch=initial_epoch,
        steps_per_epoch=STEPS_PER_EPOCH,
        callbacks=list(used),
        verbose=0,
    )


def end_epochs(callback, logs_of_epochs, first_epoch=0):
    for epoch, logs in enumerate(logs_of_epochs, first_epoch):
        callback.on_epoch_end(epoch, logs)


# Evaluate


@pytest.mark.parametrize(
    ("every", "total_epochs", "expected"),
    [(1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (10, 3, [3]), (2, 4, [2, 4])],
)
def test_evaluation_comes_every_so_many_epochs_and_after_the_last(every, total_epochs, expected):
    evaluated = []

    class Epochs(tf.keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if "val_mean_iou" in logs:
                assert (logs["val_mean_iou"], logs["val_loss"]) == (0.25, 2.0)
                evaluated.append(epoch + 1)

    def evaluate():
        return {"mean_iou": 0.25, "loss": 2.0}

    used = [callbacks.Evaluate(evaluate, every, total_epochs), Epochs()]
    history = fit(build_model(), *used, epochs=total_epochs)
    assert evaluated == expected
    assert len(history.history["val_mean_iou"]) == len(expected)


# SaveBest


@pytest.mark.parametrize(
    ("monitor", "values", "saved"),
    [
        ("val_mean_iou", [0.2, 0.1, 0.3, 0.3, 0.4], [1, 3, 5]),
        ("val_loss", [2.0, 3.0, 1.0, 1.0, 0.5], [1, 3, 5]),
        ("val_mean_iou", [math.nan, 0.1, math.nan, 0.2], [1, 2, 4]),
        ("val_loss", [math.nan, 5.0, math.nan, 6.0, 4.0], [1, 2, 5]),
        ("val_mean_iou", [0.0, 0.0], [1]),
    ],
)
def test_the_best_is_saved_by_either_monitor(monitor, values, saved):
    epochs, state = [], callbacks.TrainingState()
    callback = callbacks.SaveBest(lambda: epochs.append(len(seen)), monitor, state)
    seen = []
    for epoch, value in enumerate(values):
        seen.append(value)
        callback.on_epoch_end(epoch, {monitor: value, "loss": 0.0})
    assert epochs == saved
    best = max if monitor == "val_mean_iou" else min
    assert float(state.best) == best(value for value in values if not math.isnan(value))


def test_epochs_without_an_evaluation_save_nothing():
    callback = callbacks.SaveBest(pytest.fail, "val_mean_iou", callbacks.TrainingState())
    callback.on_epoch_end(0, {"loss": 1.0})
    assert math.isnan(callback._state.best)


def test_the_best_before_a_resumption_counts():
    state, saved = callbacks.TrainingState(), []
    state.best.assign(0.5)
    callback = callbacks.SaveBest(lambda: saved.append(True), "val_mean_iou", state)
    callback.on_epoch_end(3, {"val_mean_iou": 0.4})
    assert not saved
    callback.on_epoch_end(4, {"val_mean_iou": 0.6})
    assert saved == [True]


# WriteHistory


def read_rows(path):
    return list(csv.DictReader(path.open()))


def scored(value):
    return {"loss": 1.5, "val_loss": 1.25, "val_mean_iou": value}


@pytest.fixture
def trained():
    """A model whose optimizer has done one epoch."""
    model = build_model()
    fit(model)
    return model


def test_history_holds_a_row_an_evaluation(tmp_path):
    path = tmp_path / "run" / "history.csv"
    path.parent.mkdir()
    values = iter((0.1, 0.2, 0.3))

    def evaluate():
        return {"mean_iou": next(values), "loss": 2.0}

    model = build_model(learning_rate=0.25)
    used = [callbacks.Evaluate(evaluate, 2, 5), callbacks.WriteHistory(path, 0)]
    history = fit(model, *used, epochs=5).history
    rows = read_rows(path)
    assert list(rows[0]) == ["epoch", "step", "learning_rate", "loss", "val_mean_iou", "val_loss"]
    assert [(row["epoch"], row["step"]) for row in rows] == [("2", "8"), ("4", "16"), ("5", "20")]
    assert [float(row["val_mean_iou"]) for row in rows] == [0.1, 0.2, 0.3]
    losses = [history["loss"][epoch - 1] for epoch in (2, 4, 5)]
    assert [float(row["loss"]) for row in rows] == losses
    assert {float(row["learning_rate"]) for row in rows} == {0.25}
    assert [file.name for file in path.parent.iterdir()] == ["history.csv"]


def test_a_resumed_run_drops_the_rows_that_it_does_again(tmp_path, trained):
    path = tmp_path / "history.csv"
    first = callbacks.WriteHistory(path, 0)
    first.set_model(trained)
    end_epochs(first, [scored(value) for value in (0.1, 0.2, 0.3)])
    resumed = callbacks.WriteHistory(path, 2)
    resumed.set_model(trained)
    end_epochs(resumed, [scored(0.7), scored(0.8)], first_epoch=2)
    rows = read_rows(path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row["val_mean_iou"]) for row in rows] == [0.1, 0.2, 0.7, 0.8]


def test_a_run_from_the_start_drops_every_old_row(tmp_path, trained):
    path = tmp_path / "history.csv"
    for value in (0.1, 0.2):
        callback = callbacks.WriteHistory(path, 0)
        callback.set_model(trained)
        callback.on_epoch_end(0, scored(value))
    assert [float(row["val_mean_iou"]) for row in read_rows(path)] == [0.2]


def test_old_columns_stay_when_the_figures_change(tmp_path, trained):
    path = tmp_path / "history.csv"
    path.write_text("epoch,step,learning_rate,loss,val_old,val_mean_iou\n1,4,0.5,2.0,9.0,0.1\n")
    callback = callbacks.WriteHistory(path, 1)
    callback.set_model(trained)
    callback.on_epoch_end(1, {**scored(0.2), "val_new": 7.0})
    first, second = read_rows(path)
    assert (first["val_old"], first["val_new"], first["val_mean_iou"]) == ("9.0", "", "0.1")
    assert (second["val_old"], second["val_new"], second["val_mean_iou"]) == ("", "7.0", "0.2")


def test_a_nan_figure_is_written(tmp_path, trained):
    callback = callbacks.WriteHistory(tmp_path / "history.csv", 0)
    callback.set_model(trained)
    callback.on_epoch_end(0, scored(math.nan))
    assert math.isnan(float(read_rows(tmp_path / "history.csv")[0]["val_mean_iou"]))


# MeasureInputWait and EpochLine


def pause(tensor):
    """Passes a tensor on after a twentieth of a second."""

    def sleep(value):
        time.sleep(0.05)
        return value

    return tf.ensure_shape(tf.py_function(sleep, [tensor], tensor.dtype), tensor.shape)


def measure(model, batches, *, epochs=2, steps_per_epoch=5, used=(), verbose=0):
    return model.fit(
        batches,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        callbacks=[callbacks.MeasureInputWait(), *used],
        verbose=verbose,
    ).history


def test_a_slow_pipeline_takes_most_of_the_step_time():
    batches = build_batches().map(lambda images, masks: (pause(images), masks))
    shares = measure(build_model(), batches.prefetch(tf.data.AUTOTUNE))["input_bound"]
    assert len(shares) == 2
    assert all(0.5 < share <= 1 for share in shares)


def test_a_slow_step_hides_a_cached_pipeline():
    model = tf.keras.Sequential(
        [tf.keras.layers.Lambda(pause, input_shape=(4, 4, 3)), tf.keras.layers.Conv2D(3, 1)]
    )
    model.compile(tf.keras.optimizers.SGD(0.1), SegmentationCrossEntropy(255))
    batches = build_batches().take(3).cache().repeat().prefetch(tf.data.AUTOTUNE)
    shares = measure(model, batches)["input_bound"]
    assert len(shares) == 2
    assert all(0 <= share < 0.2 for share in shares)


def test_the_first_step_of_a_fit_does_not_count(capsys):
    logs_of_epochs = []
    keep = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: logs_of_epochs.append(dict(logs))
    )
    used = [keep, callbacks.EpochLine()]
    measure(build_model(), build_batches(), steps_per_epoch=1, used=used, verbose=2)
    assert ["input_bound" in logs for logs in logs_of_epochs] == [False, True]
    first, second = re.findall(r"^1/1 - .*$", capsys.readouterr().out, re.MULTILINE)
    assert "Input-bound" not in first
    assert "Input-bound" in second


def test_measuring_changes_neither_the_batches_nor_the_weights():
    model, measured = build_model(), build_model()
    keras_function = measured.make_train_function()
    history = fit(model, epochs=3).history
    measured_history = fit(measured, callbacks.MeasureInputWait(), epochs=3).history
    assert measured_history["loss"] == history["loss"]
    for mine, theirs in zip(measured.variables, model.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    assert measured.train_function is keras_function


def test_the_epochs_line_ends_with_the_share_of_waiting(capsys):
    used = [callbacks.Evaluate(lambda: {"mean_iou": 0.5}, 1, 2), callbacks.EpochLine()]
    history = measure(build_model(), build_batches(), used=used, verbose=2)
    lines = re.findall(r"^5/5 - .*$", capsys.readouterr().out, re.MULTILINE)
    assert len(lines) == 2
    for line, loss, share in zip(lines, history["loss"], history["input_bound"], strict=True):
        assert f" - loss: {loss:.4f} - val_mean_iou: 0.5000 - " in line
        assert line.endswith(f"/step - Input-bound: {100 * share:.0f} % of step time")
        assert "input_bound" not in line


# StopOnNaN and StopAtStep


@pytest.mark.parametrize("bad_step", [1, 6])
def test_a_nan_stops_the_run_and_names_the_step(bad_step):
    with pytest.raises(UserError, match=f"nan at step {bad_step};.*--learning_rate") as error:
        fit(build_model(), callbacks.StopOnNaN(), epochs=3, bad_step=bad_step)
    assert "\n" not in str(error.value)


def test_a_learning_rate_that_is_too_high_stops_the_run():
    # AdamW's step is about the rate itself: 3e38 is the largest that float32 holds.
    model = build_model(learning_rate=3e38)
    with pytest.raises(UserError, match=r"the loss became (nan|inf) at step [2-4];"):
        fit(model, callbacks.StopOnNaN())


def test_a_run_of_finite_losses_is_not_stopped():
    losses = fit(build_model(), callbacks.StopOnNaN(), epochs=2).history["loss"]
    assert len(losses) == 2


@pytest.mark.parametrize(("total_steps", "epochs_done"), [(1, 1), (4, 1), (6, 2), (12, 3)])
def test_training_stops_at_a_step_within_an_epoch(total_steps, epochs_done):
    model = build_model()
    history = fit(model, callbacks.StopAtStep(total_steps), epochs=3)
    assert int(model.optimizer.iterations) == total_steps
    assert len(history.history["loss"]) == epochs_done


def test_an_epoch_that_ends_early_is_still_evaluated(tmp_path):
    path = tmp_path / "history.csv"
    used = [
        callbacks.StopAtStep(6),
        callbacks.Evaluate(lambda: {"mean_iou": 0.5, "loss": 1.0}, 5, 2),
        callbacks.WriteHistory(path, 0),
    ]
    fit(build_model(), *used, epochs=2)
    assert [(row["epoch"], row["step"]) for row in read_rows(path)] == [("2", "6")]


# SaveState


def build_state(folder, seed=0):
    model, state = build_model(seed=seed), callbacks.TrainingState()
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
    fit(model, callbacks.SaveState(manager, state, every, epochs), epochs=epochs)
    assert [path.rsplit("-", 1)[1] for path in manager.checkpoints] == [str(one) for one in kept]
    assert int(state.epoch) == epochs


def test_a_restored_state_goes_on_as_the_run_would_have(tmp_path):
    model, state, manager = build_state(tmp_path)
    state.best.assign(0.625)
    fit(model, callbacks.SaveState(manager, state, 1, 2), epochs=2)
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
    state = callbacks.TrainingState()
    assert int(state.epoch) == 0
    assert math.isnan(float(state.best))
