"""A reason to end a training early: a loss that is not finite."""

from __future__ import annotations

import math

import tensorflow as tf

from tfseg.errors import UserError

# To look at a loss, the program waits until the devices have computed it, and they then wait for
# the next step. A failed training may go on for so many steps instead.
CHECK_EVERY_STEPS = 20


class StopOnNaN(tf.keras.callbacks.Callback):
    """Ends the run soon after the first loss that is not finite. What was saved before stays.

    Raises:
        UserError: The message names the range of steps.
    """

    def __init__(self):
        super().__init__()
        # Keras would otherwise fetch the loss of every step for this callback.
        self._supports_tf_logs = True

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Starts to count the steps of the epoch."""
        self._num_checked = 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Checks the epoch's mean loss now and then; it stays NaN after a step whose loss was."""
        if batch + 1 - self._num_checked >= CHECK_EVERY_STEPS:
            self._check(logs["loss"], batch + 1)
        self._last = batch + 1

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Checks the last steps of the epoch before other callbacks save anything."""
        self._check(logs["loss"], self._last)

    def _check(self, loss: tf.Tensor | float, num_steps: int) -> None:
        loss = float(loss)
        if not math.isfinite(loss):
            last = int(self.model.optimizer.iterations.numpy())
            first = last - (num_steps - self._num_checked) + 1
            raise UserError(
                f"the loss became {loss} in one of the steps {first} to {last}; lower "
                "--learning_rate, lengthen --warmup_steps or set --gradient_clip_norm; "
                "the best weights so far are kept"
            )
        self._num_checked = num_steps
