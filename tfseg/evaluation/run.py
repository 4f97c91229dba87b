"""Scoring a saved model on a data set."""

from __future__ import annotations

import logging

from etils import epath

from tfseg import files
from tfseg.config.sections import EvalConfig
from tfseg.data import pipeline
from tfseg.data.catalog import DatasetSpec
from tfseg.errors import UserError
from tfseg.evaluation import evaluator
from tfseg.evaluation.mean_iou import format_class_table
from tfseg.models import segformer
from tfseg.models.segformer import Segformer

_logger = logging.getLogger(__name__)


def run_evaluation(config: EvalConfig) -> dict[str, float]:
    """Scores a model on every example of the eval split, at the masks' own size.

    Args:
        config: Model and data set; `image_size` is the model's own where not given.

    Returns:
        `loss`, `mean_iou`, `mean_accuracy`, `overall_accuracy`, `iou_<class>` and
        `accuracy_<class>`, in [0, 1]; nan for a class that neither truth nor prediction holds.

    Raises:
        UserError: Model or data set cannot be read, or their classes do not fit.
    """
    output = epath.Path(config.run.output).expanduser() if config.run.output else None
    if output is not None and output.is_dir():
        raise UserError(f"--output={output} is a folder; it takes a JSON file")
    spec = pipeline.get_spec(config.data)
    model = load_model(config, spec)
    split = config.data.eval_split or spec.eval_split
    loaded = pipeline.load_split(spec, config.data, split, config.data.max_eval_examples)
    batches = pipeline.build_evaluation(
        loaded.examples, model.preprocessing, spec.labels, batch_size=config.run.eval_batch_size
    )
    scores = evaluator.Evaluator(model, spec.labels).evaluate(batches)
    figures = scores.figures(spec.labels.names)
    _logger.info("%s", format_class_table(scores.confusion, spec.labels.names))
    _logger.info(
        "mean IoU %.4f, loss %.4f on %d examples of %s (%s)",
        figures["mean_iou"],
        figures["loss"],
        scores.num_examples,
        pipeline.versioned_name(config.data, spec),
        split,
    )
    if output is not None:
        files.write_atomically(output, evaluator.figures_to_json(figures))
    return figures


def load_model(config: EvalConfig, spec: DatasetSpec) -> Segformer:
    """Loads the model and checks that its classes are the data set's.

    Raises:
        UserError: Another number of classes.
    """
    model = segformer.load_model(config.run.model, image_size=config.data.image_size)
    predicted, held = _summary(model.labels.names), _summary(spec.labels.names)
    if model.labels.num_classes != spec.labels.num_classes:
        raise UserError(
            f"--model={config.run.model} predicts {predicted}, but "
            f"--dataset={config.data.dataset} holds {held}; name the mask values with --id2label"
        )
    if predicted != held:
        _logger.warning("class names differ: the model's %s, the data set's %s", predicted, held)
    return model


def _summary(names: tuple[str, ...]) -> str:
    return f"{len(names)} classes ({', '.join(names)})"
