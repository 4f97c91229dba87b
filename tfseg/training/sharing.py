"""Uploads of a run's best weights to the Hugging Face Hub."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Mapping

import tensorflow as tf
from etils import epath

from tfseg.config.commands import TrainConfig
from tfseg.errors import UserError
from tfseg.hub import failures, repository
from tfseg.hub.background import Uploads
from tfseg.hub.run_card import unfinished_run_card
from tfseg.training.callbacks.pushing import PushBest
from tfseg.training.state import TrainingState

_logger = logging.getLogger(__name__)


def prepare_uploads(config: TrainConfig, model_dir: epath.Path) -> tuple[TrainConfig, Uploads]:
    """Checks before a training that its weights can be uploaded, and creates the repository.

    If the Hub does not answer or is busy, a warning says so: it may be back when the training ends.

    Args:
        config: The resolved configuration.
        model_dir: The folder of the run.

    Returns:
        The configuration with the full name of the repository, and the uploads of the run.

    Raises:
        UserError: There is no token, or it may not write, or the repository cannot be used.
    """
    target = repository.choose(config.hub.hub_model_id, config.hub.hub_private, model_dir)
    try:
        target = repository.create(target)
        _logger.info("the best weights will be uploaded to %s", target.url)
    except Exception as error:
        reason = failures.describe(error, target.repo_id)
        if not failures.is_passing(error):
            raise UserError(f"--push_to_hub: {reason}") from None
        _logger.warning("%s; the training begins, and uploads will be tried later", reason)
    hub = dataclasses.replace(config.hub, hub_model_id=target.repo_id)
    repair = f"python -m tfseg.push --model_dir={shlex.quote(str(model_dir))}"
    return dataclasses.replace(config, hub=hub), Uploads(model_dir / "best", target, repair)


def build_callbacks(
    config: TrainConfig, names: tuple[str, ...], uploads: Uploads | None, state: TrainingState
) -> list[tf.keras.callbacks.Callback]:
    """Returns what uploads during a training; it must follow the callback that saves.

    Args:
        config: The resolved configuration.
        names: The classes, by class id.
        uploads: None if this process uploads nothing.
        state: Holds the best value so far.
    """
    if uploads is None or config.hub.hub_strategy != "every_save":
        return []

    def push(epoch: int, logs: Mapping[str, float]) -> None:
        metrics = dict(logs)  # Keras goes on with its own.
        uploads.submit(
            f"Weights after epoch {epoch}, mean IoU {metrics['val_mean_iou']:.4f}",
            lambda: unfinished_run_card(config, names, metrics, epoch),
        )

    return [PushBest(state, push)]
