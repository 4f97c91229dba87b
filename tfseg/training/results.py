"""What a training leaves when it ends: metrics, model card, report and SavedModel."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

import numpy as np

from tfseg import files
from tfseg.errors import UserError
from tfseg.evaluation import bootstrap, evaluator
from tfseg.evaluation.class_table import format_class_table
from tfseg.evaluation.evaluator import Evaluator, Scores
from tfseg.hub.run_card import run_card
from tfseg.models import segformer
from tfseg.models.segformer import Segformer
from tfseg.report import page
from tfseg.serving import bundle
from tfseg.training import run_report, strategies
from tfseg.training.fitting import build_eval_batches
from tfseg.training.preparation import Run
from tfseg.training.run_report import Effort

_logger = logging.getLogger(__name__)

_PICTURE = "predictions.png"


def write_results(run: Run, effort: Effort) -> dict[str, float]:
    """Scores the best weights on all devices, and has the chief write what the training leaves.

    Args:
        run: A training that has ended.
        effort: What this process trained. Without any step, the SavedModel needs no new version.

    Returns:
        The metrics, as in `metrics.json`.

    Raises:
        UserError: No evaluation gave a value of the monitored metric that can be compared.
    """
    strategies.wait_for_all(run.strategy)  # until the chief has written the best weights
    started = time.monotonic()
    with run.strategy.scope():
        best = load_best(run)
        scores, counts = score(best, run)
    seconds = time.monotonic() - started
    effort = effort._replace(eval_examples=scores.num_examples, eval_seconds=seconds)
    metrics = scores.metrics(run.spec.labels.names)
    if counts is not None:
        low, high = bootstrap.mean_iou_interval(counts)
        metrics |= {"mean_iou_low": low, "mean_iou_high": high}
    if strategies.is_chief(run.strategy):
        if run.strategy.num_replicas_in_sync > 1:
            best = load_best(run)  # on one device, for predictions and the SavedModel
        write_report(best, run, scores, metrics, counts, effort)
        if run.uploads:
            run.uploads.submit(f"Best weights, mean IoU {metrics['mean_iou']:.4f}")
        if run.config.run.export:
            export_best(best, run, is_new=effort.steps > 0)
    strategies.wait_for_all(run.strategy)  # A worker that ends would be missed by the chief.
    return metrics


def load_best(run: Run) -> Segformer:
    """Loads the best weights in the precision of the training.

    The epochs were compared in that precision, so `metrics.json` repeats the best row of
    `history.csv` exactly, and states the precision.

    Raises:
        UserError: There are none.
    """
    folder = run.model_dir / "best"
    if not (folder / "config.json").exists():
        raise UserError(
            f"no evaluation gave a finite {run.config.training.monitor}, so there are no best "
            "weights to report; set --monitor to another metric or lower --learning_rate"
        )
    return segformer.load_model(str(folder), precision=run.config.training.precision)


def score(model: Segformer, run: Run) -> tuple[Scores, np.ndarray | None]:
    """Evaluates a model on the eval split; call it in the scope of the strategy.

    Returns:
        The scores, and the counts of each image, int64 `[num_images, 3, num_classes]`, in the order
        of the split; None where other workers have some of them.
    """
    counts = []
    scorer = Evaluator(model, run.spec.labels, per_image=True)
    scores = scorer.evaluate(
        build_eval_batches(model, run), lambda images: counts.append(images.counts)
    )
    counts = np.concatenate(counts)
    return scores, counts if len(counts) == scores.num_examples else None


def write_report(
    model: Segformer,
    run: Run,
    scores: Scores,
    metrics: dict[str, float],
    counts: np.ndarray | None,
    effort: Effort,
) -> None:
    """Writes `metrics.json`, the model card and `report/`, and logs the metrics of each class."""
    labels, dataset = run.spec.labels, run.config.data.dataset
    facts = {
        "dataset": dataset,
        "split": run.eval.name,
        "num_examples": scores.num_examples,
        "precision": run.config.training.precision,
    }
    text = evaluator.metrics_to_json({**facts, **metrics})
    files.write_atomically(run.model_dir / "metrics.json", text)
    content = run_report.build_content(model, run, metrics, scores.confusion, counts, effort)
    page.write_report(run.model_dir / "report", content)
    write_model_card(run, metrics)
    _logger.info("%s", format_class_table(scores.confusion, labels.names))


def write_model_card(run: Run, metrics: Mapping[str, float]) -> None:
    """Writes the README.md of the best weights, beside a copy of the report's predictions."""
    best, picture = run.model_dir / "best", run.model_dir / "report" / _PICTURE
    if picture.exists():
        files.write_atomically(best / _PICTURE, picture.read_bytes())
    card = run_card(
        run.config,
        run.spec.labels.names,
        metrics,
        picture=_PICTURE if picture.exists() else None,
    )
    files.write_atomically(best / "README.md", card)


def export_best(model: Segformer, run: Run, *, is_new: bool) -> None:
    """Writes the next version of the SavedModel, unless these weights have one already.

    The SavedModel computes in float32, whatever the precision of the training.
    """
    base_dir = run.model_dir / "saved_model"
    if not is_new and bundle.choose_version(base_dir) > 1:
        return
    if run.config.training.precision != "float32":
        model = segformer.load_model(str(run.model_dir / "best"))
    _logger.info("SavedModel for TF Serving: %s", bundle.write_bundle(model, str(base_dir)))
