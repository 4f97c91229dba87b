"""Reasons to end a training early: a loss that is not finite, and a number of steps."""

from __future__ import annotations

import math

import tensorflow as tf

from tfseg.errors import UserError


class StopOnNaN(tf.keras.callbacks.Callback):
    """Ends the run at the first loss that is not finite. What was saved before stays.

    Raises:
        UserError: The message names the step.
    """

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Checks the epoch's mean loss, which stays NaN once the loss of one step was NaN."""
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"the loss became {logs['loss']} at step {int(self.model.optimizer.iterations)}; "
                "lower --learning_rate, lengthen --warmup_steps or set --gradient_clip_norm; "
                "the best weights so far are kept"
            )


class StopAtStep(tf.keras.callbacks.Callback):
    """Ends training after a number of optimizer steps, even in the middle of an epoch."""

    def __init__(self, total_steps: int):
        super().__init__()
        self._total_steps = total_steps

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Stops the fit once the optimizer has done its steps."""
        if int(self.model.optimizer.iterations) >= self._total_steps:
            self.model.stop_training = True
