"""Keras callbacks: evaluation, best weights, state, history, input wait, and the stop on NaN."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Mapping

import tensorflow as tf
from etils import epath

from tfseg import files
from tfseg.errors import UserError


class Evaluate(tf.keras.callbacks.Callback):
    """Scores the model every so many epochs and after the last one.

    The figures join the epoch's logs as `val_<figure>`, for the callbacks that come after this
    one. In other epochs the logs stay without them.

    Args:
        evaluate: Returns figures by name, `mean_iou` and `loss` among them.
        every: Epochs between two evaluations.
        total_epochs: Epochs of the whole training; the last one is always scored.
    """

    def __init__(self, evaluate: Callable[[], Mapping[str, float]], every: int, total_epochs: int):
        super().__init__()
        self._evaluate = evaluate
        self._every = every
        self._total_epochs = total_epochs

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Adds the figures to `logs`."""
        if (epoch + 1) % self._every == 0 or epoch + 1 == self._total_epochs:
            logs.update({f"val_{name}": value for name, value in self._evaluate().items()})


class TrainingState(tf.Module):
    """Where a run stands; saved and restored with model and optimizer.

    Attributes:
        epoch: Epochs that are done, int64.
        best: Best value of the monitored figure so far, float64; nan before the first.
    """

    def __init__(self):
        super().__init__()
        self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")
        self.best = tf.Variable(math.nan, dtype=tf.float64, trainable=False, name="best")


class SaveBest(tf.keras.callbacks.Callback):
    """Saves the weights whenever the monitored figure improves.

    Args:
        save: Writes the model where the best weights belong.
        monitor: `val_mean_iou` (larger is better) or `val_loss` (smaller is better).
        state: Remembers the best value over a resumption.
    """

    def __init__(self, save: Callable[[], None], monitor: str, state: TrainingState):
        super().__init__()
        self._save = save
        self._monitor = monitor
        self._state = state

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Compares, saves and remembers."""
        if self._monitor not in logs:
            return
        value, best = logs[self._monitor], float(self._state.best)
        improves = value < best if self._monitor == "val_loss" else value > best
        if improves or math.isnan(best):
            self._save()
            self._state.best.assign(value)


class SaveState(tf.keras.callbacks.Callback):
    """Saves the full training state every so many epochs and after the last one.

    Args:
        manager: Checkpoint manager of model, optimizer and state.
        state: Its epoch counter is set here.
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
        """Counts the epoch as done; saves when it is time."""
        self._state.epoch.assign(epoch + 1)
        if (epoch + 1) % self._every == 0 or epoch + 1 == self._total_epochs:
            self._manager.save(checkpoint_number=epoch + 1)


class WriteHistory(tf.keras.callbacks.Callback):
    """Writes `history.csv`: a row an evaluation, columns `epoch`, `step`, `learning_rate`, ....

    The whole file is written anew each time, under a temporary name first. Rows of epochs that a
    resumed run does again are dropped.

    Args:
        path: The CSV file.
        first_epoch: Epoch that the run starts with.
    """

    def __init__(self, path: epath.PathLike, first_epoch: int):
        super().__init__()
        self._path = epath.Path(path)
        self._rows: list[dict] = []
        if self._path.exists():
            rows = list(csv.DictReader(io.StringIO(self._path.read_text())))
            self._rows = [row for row in rows if int(row["epoch"]) <= first_epoch]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Adds a row if this epoch was evaluated."""
        if "val_mean_iou" not in logs:
            return
        optimizer = self.model.optimizer
        step = int(optimizer.iterations)
        row = {"epoch": epoch + 1, "step": step, "learning_rate": float(optimizer.learning_rate)}
        self._rows.append({**row, **{name: float(value) for name, value in logs.items()}})
        text = io.StringIO()
        # Rows from before a resumption may have other figures.
        columns = dict.fromkeys(name for row in self._rows for name in row)
        writer = csv.DictWriter(text, fieldnames=list(columns), restval="")
        writer.writeheader()
        writer.writerows(self._rows)
        files.write_atomically(self._path, text.getvalue())


class MeasureInputWait(tf.keras.callbacks.Callback):
    """Measures the share of step time in which training waited for its next batch.

    The share, in [0, 1], joins the epoch's logs as `input_bound`, for the callbacks that come
    after this one. The first step of a fit, which traces and compiles, does not count.

    Keras's training function takes the next batch inside its own graph. So during a fit the batch
    is taken in Python, just before Keras's function is called, which gets it through an iterator
    of one: it computes what it did, the pipeline goes on prefetching, and a step takes about
    0.2 ms more. Clock ops at the end of the pipeline need no such change, but saw 9 s of 39 s
    waited where the pipeline kept every core busy, and TensorFlow refuses them when it is
    deterministic. One batch a call: `steps_per_execution` must be 1.
    """

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Puts the timed training function in the place of Keras's."""
        self._keras_function = self.model.train_function
        self._train_on_batch = None
        self._has_traced = False
        self.model.train_function = self._train

    def on_train_end(self, logs: dict | None = None) -> None:
        """Gives the model Keras's function back."""
        self.model.train_function = self._keras_function

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Starts at zero seconds."""
        self._waited = self._total = 0.0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Adds the step's seconds; its loss is known by now, so the device is done with it."""
        if self._has_traced:
            self._waited += self._answered - self._asked
            self._total += time.perf_counter() - self._asked
        self._has_traced = True

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Adds the share to `logs`, unless no step counted."""
        if self._total > 0:
            logs["input_bound"] = self._waited / self._total

    def _train(self, iterator: tf.data.Iterator) -> dict[str, tf.Tensor]:
        self._asked = time.perf_counter()
        batch = next(iterator)
        self._answered = time.perf_counter()
        if self._train_on_batch is None:
            # The signature keeps the shapes as the iterator states them, as in Keras's graph.
            self._train_on_batch = tf.function(
                lambda batch: self._keras_function.python_function(iter((batch,))),
                input_signature=[iterator.element_spec],
            )
        return self._train_on_batch(batch)


class EpochLine(tf.keras.callbacks.ProgbarLogger):
    """Keras's line an epoch, with `Input-bound: 3 % of step time` at the end of its times.

    Must come after `MeasureInputWait`, and after what adds figures that the line should show.
    """

    def __init__(self):
        super().__init__(count_mode="steps")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Prints the line."""
        logs = dict(logs)
        share = logs.pop("input_bound", None)
        if share is not None:
            # The unit is what Keras prints last of the times, `200ms/step`.
            self.progbar.unit_name += f" - Input-bound: {100 * share:.0f} % of step time"
        super().on_epoch_end(epoch, logs)


class StopOnNaN(tf.keras.callbacks.Callback):
    """Ends the run at the first loss that is not finite; what was saved before stays.

    Raises:
        UserError: Names the step.
    """

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Checks the epoch's mean loss, which stays NaN once a step's was."""
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"the loss became {logs['loss']} at step {int(self.model.optimizer.iterations)}; "
                "lower --learning_rate, lengthen --warmup_steps or set --gradient_clip_norm; "
                "the best weights so far are kept"
            )


class StopAtStep(tf.keras.callbacks.Callback):
    """Ends training after a number of optimizer steps, within an epoch if need be."""

    def __init__(self, total_steps: int):
        super().__init__()
        self._total_steps = total_steps

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Stops the fit once the optimizer has done its steps."""
        if int(self.model.optimizer.iterations) >= self._total_steps:
            self.model.stop_training = True
