"""What a training keeps while it runs: the best weights, and the state to resume from."""

from __future__ import annotations

import math

import tensorflow as tf
from etils import epath

from tfseg.training.state import TrainingState


class SaveBest(tf.keras.callbacks.ModelCheckpoint):
    """Keras's ModelCheckpoint for the best weights, with its best value kept across a resumption.

    It saves through `Segformer.save`, which writes the Hugging Face folder. Epochs without an
    evaluation are skipped, because ModelCheckpoint would print a warning for each of them.

    Args:
        folder: Where the best weights belong.
        monitor: `val_mean_iou` (larger is better) or `val_loss` (smaller is better).
        state: Holds the best value of the run so far.
    """

    def __init__(self, folder: epath.PathLike, monitor: str, state: TrainingState):
        best = float(state.best.numpy())
        super().__init__(
            str(folder).replace("{", "{{").replace("}", "}}"),  # Keras formats the path.
            monitor=monitor,
            mode="min" if monitor == "val_loss" else "max",
            save_best_only=True,
            initial_value_threshold=None if math.isnan(best) else best,
        )
        self._state = state

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Saves the model if this epoch was evaluated and is the best one."""
        if self.monitor in logs:
            super().on_epoch_end(epoch, logs)
            if math.isfinite(self.best):
                self._state.best.assign(self.best)


class SaveState(tf.keras.callbacks.Callback):
    """Saves the full training state every few epochs and after the last epoch.

    Args:
        manager: Checkpoint manager of model, optimizer and state.
        state: This callback sets its epoch counter.
        every: Epochs between two checkpoints.
        total_epochs: Epochs of the whole training.
    """

    def __init__(
        self,
        manager: tf.train.CheckpointManager,
        state: TrainingState,
        every: int,
        total_epochs: int,
    ):
        super().__init__()
        self._manager = manager
        self._state = state
        self._every = every
        self._total_epochs = total_epochs

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Counts the epoch as done, and saves the state when it is time."""
        self._state.epoch.assign(epoch + 1)
        if (epoch + 1) % self._every == 0 or epoch + 1 == self._total_epochs:
            self._manager.save(checkpoint_number=epoch + 1)
