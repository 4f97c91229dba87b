"""Evaluation between epochs, over real fits."""

import pytest
import tensorflow as tf

from tests.training.callbacks.fits import build_model, fit
from tfseg.training.callbacks import scoring


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

    used = [scoring.Evaluate(evaluate, every, total_epochs), Epochs()]
    history = fit(build_model(), *used, epochs=total_epochs)
    assert evaluated == expected
    assert len(history.history["val_mean_iou"]) == len(expected)
