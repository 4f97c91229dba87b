"""Evaluates a model, or masks, on a data set: `run_evaluation` is the table of contents."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from etils import epath

from tfseg import files
from tfseg.config import views
from tfseg.config.commands import EvalConfig
from tfseg.data import example_names, pipeline
from tfseg.data.bad_examples import naming_bad_examples
from tfseg.data.catalog import DatasetSpec
from tfseg.data.split import Split
from tfseg.errors import UserError
from tfseg.evaluation import bootstrap, comparison, eval_file, mask_scorer
from tfseg.evaluation.class_table import format_class_table
from tfseg.evaluation.eval_file import ImageRecord
from tfseg.evaluation.evaluator import Scores
from tfseg.evaluation.gathering import Gathering
from tfseg.evaluation.model_scorer import ModelScorer
from tfseg.evaluation.saved_model_scorer import PREFIX, SavedModelScorer

_logger = logging.getLogger(__name__)


def run_evaluation(config: EvalConfig) -> dict[str, float]:
    """Evaluates a model on every example of the eval split, at each mask's own size.

    Args:
        config: The model or the predicted masks, and the data set. If `image_size` is omitted, the
            model's own is used.

    Returns:
        `loss` (not for masks and SavedModels, which give no logits), the metrics of
        `mean_iou.summarize_confusion`, and `mean_iou_low` and `mean_iou_high`, the ends of the 95 %
        bootstrap interval over images. With `compare` also `mean_iou_difference`, `_low` and
        `_high`: the mean IoU minus that of the other evaluation. All but the loss lie in [-1, 1]. A
        metric is nan if it is undefined, as for a class that is neither true nor predicted.

    Raises:
        UserError: The model or the data set cannot be read, or their classes do not match; or the
            evaluation to compare with has other images.
    """
    output = _check_output(config.run.output)
    other = eval_file.read(config.run.compare) if config.run.compare else None
    spec = pipeline.get_spec(config.data)
    scorer = _open_model(config, spec)
    split = _load_split(config, spec, apply_exif=scorer.apply_exif if scorer else True)
    names = example_names.name_examples(split, spec, config.data)
    if other is not None:
        other.check_images(names, spec.labels.names, config.run.compare)
    scores, record = _score(config, spec, scorer, split, names)
    metrics = scores.metrics(spec.labels.names)
    metrics["mean_iou_low"], metrics["mean_iou_high"] = bootstrap.mean_iou_interval(record.counts)
    _log_scores(scores, metrics, spec, config)
    if other is not None:
        metrics |= _compare(record, other, config)
    if output is not None:
        files.write_atomically(output, record.to_json({**metrics, **_facts(config, spec, split)}))
    return metrics


def _open_model(config: EvalConfig, spec: DatasetSpec) -> ModelScorer | SavedModelScorer | None:
    """Returns what predicts; None if the masks are there already."""
    run, dataset = config.run, f"--dataset={config.data.dataset}"
    if run.predictions:
        return None
    if run.model.startswith(PREFIX):
        if config.data.image_size is not None:
            raise UserError(
                f"--image_size cannot change the graph of --model={run.model}; leave it out"
            )
        return SavedModelScorer(run.model, spec.labels, dataset=dataset)
    return ModelScorer(
        run.model,
        spec.labels,
        dataset=dataset,
        image_size=config.data.image_size,
        batch_size=run.eval_batch_size,
        views=views.parse(run.tta) if run.tta else None,
        keeps_maps=run.save_predictions is not None,
    )


def _load_split(config: EvalConfig, spec: DatasetSpec, *, apply_exif: bool) -> Split:
    return pipeline.load_split(
        spec,
        config.data,
        _eval_split(spec, config),
        config.data.max_eval_examples,
        is_held_out=True,
        apply_exif=apply_exif,
    )


def _score(
    config: EvalConfig,
    spec: DatasetSpec,
    scorer: ModelScorer | SavedModelScorer | None,
    split: Split,
    names: Sequence[str],
) -> tuple[Scores, ImageRecord]:
    """Scores every example of the split; shows how far it is."""
    with naming_bad_examples(), Gathering(names, config.run.save_predictions) as gathering:
        if scorer is not None:
            scores = scorer.score(split, gathering.add)
        else:
            paths = mask_scorer.find_masks(config.run.predictions, names)
            scores = mask_scorer.score_masks(split, paths, spec.labels, gathering.add)
    return scores, ImageRecord(spec.labels.names, tuple(names), gathering.counts())


def _compare(record: ImageRecord, other: ImageRecord, config: EvalConfig) -> dict[str, float]:
    counts = other.in_order_of(record, config.run.compare)
    difference = comparison.compare(
        record.counts,
        counts,
        own_name=config.run.model or config.run.predictions,
        other_name=config.run.compare,
    )
    _logger.info("%s", difference.sentence)
    return {
        "mean_iou_difference": difference.value,
        "mean_iou_difference_low": difference.low,
        "mean_iou_difference_high": difference.high,
    }


def _check_output(output: str | None) -> epath.Path | None:
    """Returns the path of the JSON file, or None if none was asked for."""
    if not output:
        return None
    path = epath.Path(output).expanduser()
    if path.is_dir():
        raise UserError(f"--output={path} is a folder; it must be the path of a JSON file")
    return path


def _eval_split(spec: DatasetSpec, config: EvalConfig) -> str:
    default = spec.eval_split if config.data.eval_fraction is None else spec.train_split
    return config.data.eval_split or default


def _facts(config: EvalConfig, spec: DatasetSpec, split: Split) -> dict[str, str | int]:
    source = "predictions" if config.run.predictions else "model"
    return {
        source: getattr(config.run, source),
        "dataset": pipeline.versioned_name(config.data, spec),
        "split": split.name,
        "num_examples": split.num_examples,
        **({"tta": config.run.tta} if config.run.tta else {}),
    }


def _log_scores(
    scores: Scores, metrics: dict[str, float], spec: DatasetSpec, config: EvalConfig
) -> None:
    _logger.info("%s", format_class_table(scores.confusion, spec.labels.names))
    _logger.info(
        "mean IoU %.4f (95 %% interval %.4f to %.4f)%s on %d examples of %s (%s)",
        *(metrics[key] for key in ("mean_iou", "mean_iou_low", "mean_iou_high")),
        f", loss {metrics['loss']:.4f}" if "loss" in metrics else "",
        scores.num_examples,
        pipeline.versioned_name(config.data, spec),
        _eval_split(spec, config),
    )
