"""The state of a training, and how a run resumes from its newest checkpoint."""

from __future__ import annotations

import logging
import math

import tensorflow as tf
from etils import epath

from tfseg.errors import UserError

_logger = logging.getLogger(__name__)


class TrainingState(tf.Module):
    """How far a run has come. It is saved and restored together with model and optimizer.

    Attributes:
        epoch: Number of epochs that are done, int64.
        best: Best value of the monitored metric so far, float64; NaN before the first evaluation.
    """

    def __init__(self):
        super().__init__()
        self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")
        self.best = tf.Variable(math.nan, dtype=tf.float64, trainable=False, name="best")


def restore_newest(
    model: tf.keras.Model, state: TrainingState, folder: epath.Path, *, keep_checkpoints: int
) -> tf.train.CheckpointManager:
    """Restores the newest readable checkpoint of a folder, if it holds any.

    Args:
        model: A compiled model. Its weights and those of its optimizer are restored.
        state: This is restored too.
        folder: The folder of the checkpoints.
        keep_checkpoints: Number of newest checkpoints that the manager keeps.

    Returns:
        The manager that saves the checkpoints to come.

    Raises:
        UserError: There are checkpoints, and none of them can be read.
    """
    model.optimizer.build(model.trainable_variables)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer, state=state)
    # TensorFlow creates the counter when it is first used. All workers have to do that together,
    # although one of them alone saves.
    checkpoint.save_counter.read_value()
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=keep_checkpoints)
    newest_first = reversed(manager.checkpoints)
    restored = next((path for path in newest_first if _restore(checkpoint, path)), None)
    if restored is not None:
        _logger.info("resumed from %s, after %d epochs", restored, int(state.epoch.numpy()))
    elif manager.checkpoints:
        raise UserError(
            f"none of the checkpoints in {folder} can be read; remove that folder to start again, "
            "or choose another --model_dir"
        )
    return manager


def _restore(checkpoint: tf.train.Checkpoint, path: str) -> bool:
    try:
        checkpoint.restore(path).assert_existing_objects_matched()
    # Which exception TensorFlow raises depends on where the file is damaged.
    except (tf.errors.OpError, LookupError, ValueError, AssertionError, RuntimeError) as error:
        _logger.warning("skipped the checkpoint %s, which cannot be read: %s", path, error)
        return False
    return True
