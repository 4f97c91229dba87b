"""Evaluates a saved model on a data set: `run_evaluation` is the table of contents."""

from __future__ import annotations

import logging

from etils import epath

from tfseg import files
from tfseg.config.commands import EvalConfig
from tfseg.data import evaluation_batches, pipeline
from tfseg.data.bad_examples import naming_bad_examples
from tfseg.data.catalog import DatasetSpec
from tfseg.errors import UserError
from tfseg.evaluation import class_names, evaluator
from tfseg.evaluation.class_table import format_class_table
from tfseg.evaluation.evaluator import Scores
from tfseg.models import class_order, segformer
from tfseg.models.segformer import Segformer

_logger = logging.getLogger(__name__)


def run_evaluation(config: EvalConfig) -> dict[str, float]:
    """Evaluates a model on every example of the eval split, at each mask's own size.

    Args:
        config: The model and the data set. If `image_size` is omitted, the model's own is used.

    Returns:
        `loss`, `mean_iou`, `mean_accuracy`, `overall_accuracy`, and `iou_<class>` and
        `accuracy_<class>` for every class. All but the loss lie in [0, 1]. A metric is nan if it
        is undefined, as for a class that is neither true nor predicted anywhere.

    Raises:
        UserError: The model or the data set cannot be read, or their classes do not match.
    """
    output = _check_output(config.run.output)
    spec = pipeline.get_spec(config.data)
    model = load_model(config, spec)
    scores = score_model(model, spec, config)
    metrics = scores.metrics(spec.labels.names)
    _log_scores(scores, spec, config)
    if output is not None:
        files.write_atomically(output, evaluator.metrics_to_json(metrics))
    return metrics


def load_model(config: EvalConfig, spec: DatasetSpec) -> Segformer:
    """Loads the model and puts its classes in the order of the data set's.

    Raises:
        UserError: The model has other classes than the data set.
    """
    model = segformer.load_model(config.run.model, image_size=config.data.image_size)
    class_names.check_same(
        model.labels.names,
        spec.labels.names,
        model=f"--model={config.run.model}",
        dataset=f"--dataset={config.data.dataset}",
    )
    if model.labels.names != spec.labels.names:
        _logger.info("the classes of the model are put in the order of the data set's")
        class_order.reorder_classes(model, spec.labels)
    return model


def score_model(model: Segformer, spec: DatasetSpec, config: EvalConfig) -> Scores:
    """Scores the model on every example of the eval split.

    Raises:
        UserError: The data set cannot be read, or every pixel is void.
    """
    data = config.data
    split = pipeline.load_split(
        spec,
        data,
        _eval_split(spec, config),
        data.max_eval_examples,
        is_held_out=True,
        apply_exif=model.preprocessing.apply_exif,
    )
    batches = evaluation_batches.build_evaluation(
        split,
        model.preprocessing,
        spec.labels,
        batch_size=config.run.eval_batch_size,
        mask_size=evaluation_batches.choose_mask_size(split),
    )
    with naming_bad_examples():
        return evaluator.Evaluator(model, spec.labels).evaluate(batches)


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


def _log_scores(scores: Scores, spec: DatasetSpec, config: EvalConfig) -> None:
    metrics = scores.metrics(spec.labels.names)
    _logger.info("%s", format_class_table(scores.confusion, spec.labels.names))
    _logger.info(
        "mean IoU %.4f, loss %.4f on %d examples of %s (%s)",
        metrics["mean_iou"],
        metrics["loss"],
        scores.num_examples,
        pipeline.versioned_name(config.data, spec),
        _eval_split(spec, config),
    )
