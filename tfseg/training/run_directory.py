"""The folder of a run: whose it is, what it repeats, and where it goes on."""

from __future__ import annotations

import logging

import tensorflow as tf
from etils import epath

from tfseg import files
from tfseg.config import serialization
from tfseg.config.commands import TrainConfig
from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.training.callbacks import TrainingState

_logger = logging.getLogger(__name__)


def check_model_dir(config: TrainConfig, labels: LabelSpec) -> epath.Path:
    """Returns the run's folder, which is new or holds a run of the same configuration.

    A folder without a checkpoint has nothing to lose: a run that was corrected may take it.

    Args:
        config: Resolved.
        labels: The data set's classes, which a resumed run must find as they were.

    Raises:
        UserError: It holds another run, or `resume` is off and it holds one.
    """
    model_dir = epath.Path(config.run.model_dir).expanduser()
    for part in (model_dir, *model_dir.parents):
        if part.exists() and not part.is_dir():
            raise UserError(f"--model_dir={model_dir}: {part} is a file, not a folder")
    if not (model_dir / "checkpoints" / "checkpoint").exists():
        return model_dir
    changes = _changes(model_dir, config, labels)
    if changes:
        raise UserError(
            f"--model_dir={model_dir} holds a run of another configuration "
            f"({'; '.join(changes)}); choose another --model_dir, or remove that folder"
        )
    if not config.run.resume:
        raise UserError(
            f"--model_dir={model_dir} holds a run, and --noresume was given; choose another "
            "--model_dir, or remove that folder"
        )
    return model_dir


def _changes(model_dir: epath.Path, config: TrainConfig, labels: LabelSpec) -> list[str]:
    texts = []
    for name in ("config.json", "labels.json"):
        path = model_dir / name
        texts.append(path.read_text() if path.exists() else "")
    changes = serialization.changed_fields(serialization.train_config_from_json(texts[0]), config)
    if texts[1] != labels.to_json():
        changes.append("the class names or the mask values that stand for them")
    return changes


def write_config(config: TrainConfig, labels: LabelSpec, model_dir: epath.Path) -> None:
    """Writes `config.json`, `labels.json` and `train.flags`; removes what a kill left half-done."""
    for folder in (model_dir, *(model_dir / name for name in ("best", "report", "saved_model"))):
        files.remove_leftovers(folder)
    files.write_atomically(model_dir / "config.json", serialization.to_json(config))
    files.write_atomically(model_dir / "labels.json", labels.to_json())
    command = f"python -m tfseg.train --flagfile={model_dir}/train.flags --model_dir=NEW"
    files.write_atomically(model_dir / "train.flags", serialization.flagfile_text(config, command))


def restore_state(
    model: tf.keras.Model, state: TrainingState, config: TrainConfig, model_dir: epath.Path
) -> tf.train.CheckpointManager:
    """Restores the newest whole checkpoint, if there is one; an unreadable one is passed over.

    Args:
        model: Compiled; its weights and its optimizer's are restored.
        state: Restored too.
        config: How many checkpoints to keep.
        model_dir: Holds `checkpoints/`.

    Returns:
        The manager that saves the checkpoints to come.

    Raises:
        UserError: There are checkpoints, and none can be read.
    """
    model.optimizer.build(model.trainable_variables)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer, state=state)
    manager = tf.train.CheckpointManager(
        checkpoint, str(model_dir / "checkpoints"), max_to_keep=config.run.keep_checkpoints
    )
    for path in reversed(manager.checkpoints):
        try:
            checkpoint.restore(path).assert_existing_objects_matched()
        # What TensorFlow raises depends on where the file is damaged.
        except (tf.errors.OpError, LookupError, ValueError, AssertionError, RuntimeError) as error:
            _logger.warning("passed over the checkpoint %s, which cannot be read: %s", path, error)
            continue
        _logger.info("resumed from %s, after %d epochs", path, int(state.epoch))
        return manager
    if manager.checkpoints:
        raise UserError(
            f"none of the checkpoints in {model_dir / 'checkpoints'} can be read; remove that "
            "folder to start again, or choose another --model_dir"
        )
    return manager
