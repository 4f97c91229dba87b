"""Everything that is decided, opened and checked before a model is built."""

from __future__ import annotations

import dataclasses
import functools
import logging

import tensorflow as tf
from etils import epath

from tfseg.config.commands import TrainConfig
from tfseg.data import data_service, evaluation_batches, label_table, pipeline
from tfseg.data.catalog import DatasetSpec
from tfseg.data.split import Split
from tfseg.inspection import findings, verdicts
from tfseg.inspection.verdicts import Examples
from tfseg.losses import class_weights
from tfseg.training import cluster, reproducibility, resolution, run_directory, strategies

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Run:
    """What the steps of a training share.

    Attributes:
        config: The resolved configuration: every field that training reads has its value.
        spec: The facts about the data set.
        class_weights: Weight of each class in the loss. None means that every class has weight 1.
        model_dir: The folder of the run.
        train: The training split.
        eval: The eval split.
        strategy: The devices that train.
        mask_size: (height, width) to which evaluations pad all masks; None on devices that take
            batches of any shape.
    """

    config: TrainConfig
    spec: DatasetSpec
    class_weights: tuple[float, ...] | None
    model_dir: epath.Path
    train: Split
    eval: Split
    strategy: tf.distribute.Strategy
    mask_size: tuple[int, int] | None

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by their purpose."""
        return {"train": self.train, "eval": self.eval}


def prepare_run(config: TrainConfig, strategy: tf.distribute.Strategy | None = None) -> Run:
    """Resolves a configuration, opens both splits and checks the run's folder.

    Args:
        config: See `Run`, but not resolved yet.
        strategy: The devices to train on; by default TensorFlow's default strategy, one device.

    Raises:
        UserError: The input is bad. Nothing was written.
    """
    strategy = strategy or tf.distribute.get_strategy()
    strategies.check_training(config.training, strategy)
    spec = pipeline.get_spec(config.data)
    label_table.check_classes(spec.labels)
    config = resolution.resolve_config(config, spec)
    weights = class_weights.by_class(config.training.class_weights, spec.labels.names)
    config = resolution.resolve_versions(config, spec)
    model_dir = run_directory.check_model_dir(config, spec.labels)
    # Workers that drew the same numbers would drop the same paths in different examples.
    seed = (config.training.seed + cluster.read_cluster().index) % 2**32
    reproducibility.set_seed(seed, deterministic=config.training.deterministic)
    _check_data_service(config, spec)
    train, evaluation = _load_splits(config, spec)
    with strategy.scope():
        mask_size = evaluation_batches.choose_mask_size(evaluation)
    run = Run(config, spec, weights, model_dir, train, evaluation, strategy, mask_size)
    run_directory.check_splits(model_dir, run.splits)
    return run


def _check_data_service(config: TrainConfig, spec: DatasetSpec) -> None:
    service = config.train_data.data_service
    if service is not None:
        data_service.check_service(service, source=spec.source, dataset=spec.name)


def _load_splits(config: TrainConfig, spec: DatasetSpec) -> tuple[Split, Split]:
    train_data, data = config.train_data, config.data
    load = functools.partial(pipeline.load_split, spec, data, apply_exif=train_data.apply_exif)
    train = load(train_data.train_split, train_data.max_train_examples)
    evaluation = load(data.eval_split, data.max_eval_examples, is_held_out=True)
    _logger.info(
        "%s: %d training examples (%s), %d eval examples (%s), %d classes",
        data.dataset,
        train.num_examples,
        train.name,
        evaluation.num_examples,
        evaluation.name,
        spec.labels.num_classes,
    )
    label_table.log_labels(train, spec.labels, reduce_labels=data.reduce_labels)
    _log_verdict(config, train, evaluation, spec)
    return train, evaluation


def _log_verdict(config: TrainConfig, train: Split, evaluation: Split, spec: DatasetSpec) -> None:
    """Prints what tfseg.doctor said about these examples, or what the start has shown itself."""
    if spec.source == "shapes":  # drawn by tfseg itself
        return
    how = (config.data.on_bad_example, config.train_data.apply_exif)
    verdict = verdicts.recall(Examples(train.digest, evaluation.digest, spec.labels, *how))
    if verdict is None and spec.source in ("folder", "huggingface"):  # All of them were decoded.
        counts = findings.fit_line(train.num_examples, evaluation.num_examples, spec.labels)
        verdict = f"{counts}; python -m tfseg.doctor with the same flags for the data looks closer"
    _logger.info(
        "doctor: %s",
        verdict or "no example was decoded yet; python -m tfseg.doctor reads the whole data set",
    )
