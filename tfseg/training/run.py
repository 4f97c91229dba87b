"""A whole training: `run_training` is the table of contents."""

from __future__ import annotations

import contextlib
import logging
import time

from tfseg.config.commands import TrainConfig
from tfseg.data.bad_examples import naming_bad_examples
from tfseg.training import fitting, results, run_directory, strategies
from tfseg.training.preparation import prepare_run
from tfseg.training.run_report import Effort

_logger = logging.getLogger(__name__)


def run_training(config: TrainConfig) -> dict[str, float]:
    """Trains a model, evaluates its best weights, draws the report and exports a SavedModel.

    With several workers each of them calls this function; the chief writes all files.

    Args:
        config: The run. Fields that are None are resolved from the data set and the checkpoint.

    Returns:
        The metrics of the best weights on the eval split, as in `metrics.json`.

    Raises:
        UserError: The input is bad. Either nothing was written, or what was written is whole.
    """
    started = time.monotonic()
    strategy = strategies.build_strategy(config.run.strategy, tpu=config.run.tpu)
    with strategies.naming_lost_workers(strategy), naming_bad_examples():
        with strategies.chief_first(strategy):
            run = prepare_run(config, strategy)
        model = fitting.build_model(run)
        if strategies.is_chief(strategy):
            run_directory.write_run_files(run.model_dir, run.config, run.spec.labels, run.splits)
        with run.uploads or contextlib.nullcontext():  # At its end it waits for the last upload.
            began = time.monotonic()
            num_steps = fitting.fit(model, run)
            effort = Effort(num_steps, train_seconds=time.monotonic() - began)
            metrics = results.write_results(run, effort)
            minutes = (time.monotonic() - started) / 60
            summary = "mean IoU %.4f after %.1f minutes; all results are in %s"
            _logger.info(summary, metrics["mean_iou"], minutes, run.model_dir)
    return metrics
