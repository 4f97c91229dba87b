"""Uploads while a training runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import tensorflow as tf

from tfseg.training.state import TrainingState


class PushBest(tf.keras.callbacks.Callback):
    """Has the best weights uploaded whenever `SaveBest`, which runs before, has saved them.

    Args:
        state: Holds the best value so far, which changes when weights are saved.
        push: Called with the number of the epoch, from 1, and its logs. It returns at once.
    """

    def __init__(self, state: TrainingState, push: Callable[[int, Mapping[str, float]], None]):
        super().__init__()
        self._state = state
        self._push = push
        self._best = float(state.best.numpy())

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Pushes if this epoch is the best one."""
        best = float(self._state.best.numpy())
        if math.isfinite(best) and best != self._best:
            self._best = best
            self._push(epoch + 1, logs)
