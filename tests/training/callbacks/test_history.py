"""The table of evaluations."""

import csv
import math

import pytest

from tests.training.callbacks.fits import build_model, end_epochs, fit
from tfseg.training.callbacks import history as history_lib
from tfseg.training.callbacks import scoring


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
    used = [scoring.Evaluate(evaluate, 2, 5), history_lib.WriteHistory(path, 0)]
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
    first = history_lib.WriteHistory(path, 0)
    first.set_model(trained)
    end_epochs(first, [scored(value) for value in (0.1, 0.2, 0.3)])
    resumed = history_lib.WriteHistory(path, 2)
    resumed.set_model(trained)
    end_epochs(resumed, [scored(0.7), scored(0.8)], first_epoch=2)
    rows = read_rows(path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row["val_mean_iou"]) for row in rows] == [0.1, 0.2, 0.7, 0.8]


def test_a_run_from_the_start_drops_every_old_row(tmp_path, trained):
    path = tmp_path / "history.csv"
    for value in (0.1, 0.2):
        callback = history_lib.WriteHistory(path, 0)
        callback.set_model(trained)
        callback.on_epoch_end(0, scored(value))
    assert [float(row["val_mean_iou"]) for row in read_rows(path)] == [0.2]


def test_old_columns_stay_when_the_figures_change(tmp_path, trained):
    path = tmp_path / "history.csv"
    path.write_text("epoch,step,learning_rate,loss,val_old,val_mean_iou\n1,4,0.5,2.0,9.0,0.1\n")
    callback = history_lib.WriteHistory(path, 1)
    callback.set_model(trained)
    callback.on_epoch_end(1, {**scored(0.2), "val_new": 7.0})
    first, second = read_rows(path)
    assert (first["val_old"], first["val_new"], first["val_mean_iou"]) == ("9.0", "", "0.1")
    assert (second["val_old"], second["val_new"], second["val_mean_iou"]) == ("", "7.0", "0.2")


def test_a_nan_figure_is_written(tmp_path, trained):
    callback = history_lib.WriteHistory(tmp_path / "history.csv", 0)
    callback.set_model(trained)
    callback.on_epoch_end(0, scored(math.nan))
    assert math.isnan(float(read_rows(tmp_path / "history.csv")[0]["val_mean_iou"]))
