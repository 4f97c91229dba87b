"""A loss that is not finite ends a fit."""

import pytest
import tensorflow as tf

from tests.training.callbacks.fits import build_model, fit
from tfseg.errors import UserError
from tfseg.training.callbacks import stopping


@pytest.mark.parametrize(("bad_step", "steps"), [(1, "1 to 4"), (6, "5 to 8")])
def test_a_nan_stops_the_run_at_the_end_of_an_epoch(bad_step, steps):
    words = f"nan in one of the steps {steps};.*--learning_rate"
    with pytest.raises(UserError, match=words) as error:
        fit(build_model(), stopping.StopOnNaN(), epochs=3, bad_step=bad_step)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("bad_step", "steps"), [(1, "1 to 2"), (4, "3 to 4"), (7, "7 to 8")])
def test_a_nan_stops_a_long_epoch_soon(monkeypatch, bad_step, steps):
    monkeypatch.setattr(stopping, "CHECK_EVERY_STEPS", 2)
    with pytest.raises(UserError, match=f"nan in one of the steps {steps};"):
        fit(build_model(), stopping.StopOnNaN(), epochs=3, bad_step=bad_step)


def test_executions_of_several_steps_are_checked(monkeypatch):
    monkeypatch.setattr(stopping, "CHECK_EVERY_STEPS", 2)
    model = build_model()
    model.compile(model.optimizer, model.loss, steps_per_execution=3)
    with pytest.raises(UserError, match="nan in one of the steps 5 to 7;"):
        fit(model, stopping.StopOnNaN(), epochs=3, bad_step=6)


def test_a_learning_rate_that_is_too_high_stops_the_run():
    # AdamW's step is about the rate itself: 3e38 is the largest that float32 holds.
    model = build_model(learning_rate=3e38)
    with pytest.raises(UserError, match=r"the loss became (nan|inf) in one of the steps 1 to 4;"):
        fit(model, stopping.StopOnNaN())


def test_a_run_of_finite_losses_is_not_stopped():
    losses = fit(build_model(), stopping.StopOnNaN(), epochs=2).history["loss"]
    assert len(losses) == 2


def test_the_loss_of_most_steps_stays_on_the_device(monkeypatch):
    monkeypatch.setattr(stopping, "CHECK_EVERY_STEPS", 3)
    checked = []

    class Checks(stopping.StopOnNaN):
        def on_train_batch_end(self, batch, logs=None):
            assert tf.is_tensor(logs["loss"]), "Keras has fetched the loss"
            super().on_train_batch_end(batch, logs)

        def _check(self, loss, num_steps):
            super()._check(loss, num_steps)
            checked.append(num_steps)

    fit(build_model(), Checks(), epochs=2)
    assert checked == [3, 4, 3, 4]
