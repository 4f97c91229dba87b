"""`run_push`: uploads the best weights of a run after its training."""

from __future__ import annotations

import json
import logging
import math
import sys

from etils import epath

from tfseg import files
from tfseg.config import serialization
from tfseg.config.commands import PushConfig, TrainConfig
from tfseg.errors import UserError
from tfseg.hub import failures, repository, snapshot
from tfseg.hub.run_card import unfinished_run_card
from tfseg.report.history import read_history

_logger = logging.getLogger(__name__)


def run_push(config: PushConfig) -> str:
    """Uploads the best weights of a run with their model card to the Hugging Face Hub.

    Args:
        config: Names the run. Its own `--hub_model_id` and `--hub_private` count where `config`
            leaves them open.

    Returns:
        The address of the repository.

    Raises:
        UserError: The folder holds no best weights, or the Hub refuses or does not answer.
    """
    model_dir = epath.Path(config.model_dir).expanduser()
    run = _read_config(model_dir)
    target = repository.choose(
        config.hub_model_id or run.hub.hub_model_id,
        config.hub_private or run.hub.hub_private,
        model_dir,
    )
    folder = snapshot.take(model_dir / "best")
    try:
        if not (folder / "README.md").exists():
            files.write_atomically(folder / "README.md", _unfinished_card(run, model_dir))
        with failures.as_user_errors(target.repo_id):
            target = repository.upload(
                folder, target, "Upload by tfseg.push", has_bars=sys.stderr.isatty()
            )
    finally:
        snapshot.discard(folder)
    _logger.info("uploaded %s to %s", model_dir / "best", target.url)
    return target.url


def _read_config(model_dir: epath.Path) -> TrainConfig:
    for name in ("config.json", "labels.json", "best/config.json"):
        if not (model_dir / name).exists():
            raise UserError(
                f"--model_dir={model_dir} has no {name}; it takes the folder of a run whose best "
                "weights are saved, such as runs/shapes"
            )
    return serialization.train_config_from_json((model_dir / "config.json").read_text("utf-8"))


def _unfinished_card(run: TrainConfig, model_dir: epath.Path) -> str:
    """Returns the card of a run that has not ended, and so has not written its own."""
    names = json.loads((model_dir / "labels.json").read_text("utf-8"))["names"]
    monitor, sign = run.training.monitor, -1 if run.training.monitor == "val_loss" else 1
    path = model_dir / "history.csv"
    evaluations = read_history(path) if path.exists() else []
    rows = [row for row in evaluations if math.isfinite(row.get(monitor, math.nan))]
    best = max(rows, key=lambda row: sign * row[monitor], default={})
    epoch = int(best["epoch"]) if best else None
    return unfinished_run_card(run, names, best, epoch)
