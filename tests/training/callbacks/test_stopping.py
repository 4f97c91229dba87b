"""A loss that is not finite, and the end at a step."""

import csv

import pytest

from tests.training.callbacks.fits import build_model, fit
from tfseg.errors import UserError
from tfseg.training.callbacks import history as history_lib
from tfseg.training.callbacks import scoring, stopping


@pytest.mark.parametrize("bad_step", [1, 6])
def test_a_nan_stops_the_run_and_names_the_step(bad_step):
    with pytest.raises(UserError, match=f"nan at step {bad_step};.*--learning_rate") as error:
        fit(build_model(), stopping.StopOnNaN(), epochs=3, bad_step=bad_step)
    assert "\n" not in str(error.value)


def test_a_learning_rate_that_is_too_high_stops_the_run():
    # AdamW's step is about the rate itself: 3e38 is the largest that float32 holds.
    model = build_model(learning_rate=3e38)
    with pytest.raises(UserError, match=r"the loss became (nan|inf) at step [2-4];"):
        fit(model, stopping.StopOnNaN())


def test_a_run_of_finite_losses_is_not_stopped():
    losses = fit(build_model(), stopping.StopOnNaN(), epochs=2).history["loss"]
    assert len(losses) == 2


@pytest.mark.parametrize(("total_steps", "epochs_done"), [(1, 1), (4, 1), (6, 2), (12, 3)])
def test_training_stops_at_a_step_within_an_epoch(total_steps, epochs_done):
    model = build_model()
    history = fit(model, stopping.StopAtStep(total_steps), epochs=3)
    assert int(model.optimizer.iterations) == total_steps
    assert len(history.history["loss"]) == epochs_done


def test_an_epoch_that_ends_early_is_still_evaluated(tmp_path):
    path = tmp_path / "history.csv"
    used = [
        stopping.StopAtStep(6),
        scoring.Evaluate(lambda: {"mean_iou": 0.5, "loss": 1.0}, 5, 2),
        history_lib.WriteHistory(path, 0),
    ]
    fit(build_model(), *used, epochs=2)
    assert [(row["epoch"], row["step"]) for row in csv.DictReader(path.open())] == [("2", "6")]
