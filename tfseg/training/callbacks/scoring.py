"""Evaluation between epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf


class Evaluate(tf.keras.callbacks.Callback):
    """Evaluates the model every few epochs and after the last epoch.

    The metrics join the epoch's logs as `val_<metric>`, so the callbacks that follow can read
    them. In epochs without an evaluation the logs stay as they are.

    Args:
        evaluate: Returns metrics by name, `mean_iou` and `loss` among them.
        every: Epochs between two evaluations.
        total_epochs: Epochs of the whole training. The last epoch is always evaluated.
    """

    def __init__(self, evaluate: Callable[[], Mapping[str, float]], every: int, total_epochs: int):
        super().__init__()
        self._evaluate = evaluate
        self._every = every
        self._total_epochs = total_epochs

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Adds the metrics to `logs`."""
        if (epoch + 1) % self._every == 0 or epoch + 1 == self._total_epochs:
            logs.update({f"val_{name}": value for name, value in self._evaluate().items()})
