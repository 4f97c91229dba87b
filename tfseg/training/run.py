"""Training, from configuration to SavedModel: `run_training` is the table of contents."""

from __future__ import annotations

import dataclasses
import logging
import math
import sys
import time

import numpy as np
import tensorflow as tf
from etils import epath

from tfseg import files
from tfseg.config.commands import TrainConfig
from tfseg.data import pipeline
from tfseg.data.catalog import DatasetSpec
from tfseg.evaluation import evaluator
from tfseg.evaluation.class_table import format_class_table
from tfseg.hub import model_card
from tfseg.losses import class_weights
from tfseg.losses.cross_entropy import SegmentationCrossEntropy
from tfseg.models import segformer
from tfseg.models.segformer import Segformer
from tfseg.report import page
from tfseg.serving import bundle, module
from tfseg.training import callbacks, optimizers, reproducibility, resolution, run_directory

_logger = logging.getLogger(__name__)

_GALLERY_SIZE = 4


@dataclasses.dataclass(frozen=True)
class Run:
    """What the steps of a training share.

    Attributes:
        config: Resolved: no field that training reads is None by omission.
        spec: The data set's facts.
        class_weights: The weight of each class in the loss; None: 1 for each.
        model_dir: Folder of the run.
        train_examples: From `pipeline.load_split`.
        eval_examples: The same, cached where they fit.
    """

    config: TrainConfig
    spec: DatasetSpec
    class_weights: tuple[float, ...] | None
    model_dir: epath.Path
    train_examples: tf.data.Dataset
    eval_examples: tf.data.Dataset


def run_training(config: TrainConfig) -> dict[str, float]:
    """Trains, scores the best weights, draws the report and exports.

    Args:
        config: The run; fields that are None are resolved from data set and checkpoint.

    Returns:
        The final figures of the best weights on the eval split, as in `metrics.json`.

    Raises:
        UserError: Bad input; nothing was written, or what was written is whole.
    """
    started = time.monotonic()
    run = open_run(config)
    model = build_model(run)
    run_directory.write_config(run.config, run.spec.labels, run.model_dir)
    has_trained = fit(model, run)

    best = segformer.load_model(str(run.model_dir / "best"))
    figures = write_results(best, run)
    if run.config.run.export:
        export(best, run, is_new=has_trained)
    minutes = (time.monotonic() - started) / 60
    summary = "mean IoU %.4f after %.1f minutes; all of it in %s"
    _logger.info(summary, figures["mean_iou"], minutes, run.model_dir)
    return figures


def open_run(config: TrainConfig) -> Run:
    """Checks everything that can be checked before a model is built, and loads both splits."""
    spec = pipeline.get_spec(config.data)
    config = resolution.resolve_config(config, spec)
    weights = class_weights.by_class(config.training.class_weights, spec.labels.names)
    model_dir = run_directory.check_model_dir(config, spec.labels)
    reproducibility.set_seed(config.training.seed, deterministic=config.training.deterministic)
    return Run(config, spec, weights, model_dir, *load_splits(config, spec))


def load_splits(config: TrainConfig, spec: DatasetSpec) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Loads the training and the eval split; both are checked before training starts."""
    train_split = pipeline.load_split(
        spec, config.data, config.train_data.train_split, config.train_data.max_train_examples
    )
    eval_split = pipeline.load_split(
        spec, config.data, config.data.eval_split, config.data.max_eval_examples
    )
    eval_examples, _ = pipeline.cache_examples(eval_split.examples, config.train_data.cache)
    _logger.info(
        "%s: %d training examples (%s), %d eval examples (%s), %d classes",
        pipeline.versioned_name(config.data, spec),
        train_split.num_examples,
        config.train_data.train_split,
        eval_split.num_examples,
        config.data.eval_split,
        spec.labels.num_classes,
    )
    return train_split.examples, eval_examples


def build_model(run: Run) -> Segformer:
    """Builds the model with its first weights."""
    config = run.config
    model = segformer.build_model(
        run.spec.labels,
        config.data.image_size,
        backbone=config.model.backbone,
        init_from=config.model.init_from,
        revision=config.model.revision,
        freeze_encoder=config.model.freeze_encoder,
        drop_path_rate=config.model.drop_path_rate,
        precision=config.training.precision,
        seed=config.training.seed,
    )
    _logger.info(
        "SegFormer from %s (%s): %.1f million weights, images at %dx%d",
        config.model.init_from,
        config.model.backbone if config.model.init_from == "scratch" else "its own backbone",
        model.count_params() / 1e6,
        *config.data.image_size,
    )
    return model


def fit(model: Segformer, run: Run) -> bool:
    """Trains from where the run stands to its end; returns whether there was anything to do."""
    config, labels = run.config, run.spec.labels
    steps_per_epoch, total_steps = count_steps(run)
    total_epochs = math.ceil(total_steps / steps_per_epoch)
    model.compile(
        build_optimizer(config, total_steps),
        SegmentationCrossEntropy(
            labels.ignore_index,
            class_weights=run.class_weights,
            label_smoothing=config.training.label_smoothing,
        ),
        jit_compile=config.training.jit_compile,
    )
    state = callbacks.TrainingState()
    manager = run_directory.restore_state(model, state, config, run.model_dir)
    first_epoch = int(state.epoch)
    if first_epoch >= total_epochs:
        _logger.info("training is done already: %d epochs", first_epoch)
        return False
    batches = pipeline.build_training(
        run.train_examples,
        config.train_data,
        model.preprocessing,
        labels,
        batch_size=config.training.train_batch_size,
        seed=config.training.seed,
        first_epoch=first_epoch,
    )
    model.fit(
        batches,
        initial_epoch=first_epoch,
        epochs=total_epochs,
        steps_per_epoch=steps_per_epoch,
        verbose="auto" if sys.stdout.isatty() else 2,  # a bar in a file is pages of backspaces
        callbacks=[
            callbacks.StopOnNaN(),
            callbacks.StopAtStep(total_steps),
            *build_epoch_callbacks(model, run, state, manager, total_epochs),
        ],
    )
    return True


def count_steps(run: Run) -> tuple[int, int]:
    """Returns steps an epoch and steps in all."""
    training = run.config.training
    steps_per_epoch = pipeline.count_batches(len(run.train_examples), training.train_batch_size)
    return steps_per_epoch, training.train_steps or training.epochs * steps_per_epoch


def build_optimizer(config: TrainConfig, total_steps: int) -> tf.keras.optimizers.Optimizer:
    """Builds AdamW with the configured schedule."""
    training = config.training
    schedule = optimizers.build_schedule(
        training.lr_schedule,
        learning_rate=training.learning_rate,
        total_steps=total_steps,
        warmup_steps=training.warmup_steps,
        power=training.lr_power,
        boundaries=training.lr_boundaries,
        values=training.lr_values,
    )
    return optimizers.build_optimizer(
        schedule,
        weight_decay=training.weight_decay,
        gradient_clip_norm=training.gradient_clip_norm,
    )


def build_epoch_callbacks(
    model: Segformer,
    run: Run,
    state: callbacks.TrainingState,
    manager: tf.train.CheckpointManager,
    total_epochs: int,
) -> list[tf.keras.callbacks.Callback]:
    """Returns what runs at the end of an epoch, in the order in which it must."""
    config, model_dir = run.config, run.model_dir
    scorer = evaluator.Evaluator(model, run.spec.labels)
    batches = build_eval_batches(model, run)

    def score() -> dict[str, float]:
        figures = scorer.evaluate(batches).metrics(run.spec.labels.names)
        return {name: figures[name] for name in ("loss", "mean_iou", "mean_accuracy")}

    def save_best() -> None:
        segformer.save_model(model, str(model_dir / "best"))

    return [
        callbacks.MeasureInputWait(),
        callbacks.Evaluate(score, config.run.eval_every, total_epochs),
        callbacks.SaveBest(save_best, config.training.monitor, state),
        callbacks.WriteHistory(model_dir / "history.csv", int(state.epoch)),
        tf.keras.callbacks.TensorBoard(str(model_dir / "tensorboard"), write_graph=False),
        callbacks.SaveState(manager, state, config.run.checkpoint_every, total_epochs),
        callbacks.EpochLine(),
    ]


def build_eval_batches(model: Segformer, run: Run) -> tf.data.Dataset:
    """Builds the batches of the eval split."""
    return pipeline.build_evaluation(
        run.eval_examples,
        model.preprocessing,
        run.spec.labels,
        batch_size=run.config.training.eval_batch_size,
    )


def write_results(model: Segformer, run: Run) -> dict[str, float]:
    """Scores the model; writes `metrics.json`, its card and `report/`; prints the class table."""
    labels, config = run.spec.labels, run.config
    scores = evaluator.Evaluator(model, labels).evaluate(build_eval_batches(model, run))
    figures = scores.metrics(labels.names)
    dataset, split = pipeline.versioned_name(config.data, run.spec), config.data.eval_split
    facts = {"dataset": dataset, "split": split, "num_examples": scores.num_examples}
    metrics = evaluator.metrics_to_json({**facts, **figures})
    files.write_atomically(run.model_dir / "metrics.json", metrics)
    card = model_card.model_card(labels, figures, dataset=dataset, init_from=config.model.init_from)
    files.write_atomically(run.model_dir / "best" / "README.md", card)
    page.write_report(
        run.model_dir / "report",
        history_csv_rows=page.read_history(run.model_dir / "history.csv"),
        gallery=build_gallery(model, run.eval_examples),
        confusion=scores.confusion,
        labels=labels,
        metrics=figures,
        title=f"{dataset}, {split}",
    )
    _logger.info("%s", format_class_table(scores.confusion, labels.names))
    return figures


def build_gallery(
    model: Segformer, examples: tf.data.Dataset
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns (image, truth, prediction) of a few examples spread over the split."""
    served = module.ServingModule(model)
    stride = max(1, len(examples) // _GALLERY_SIZE)
    gallery = []
    for example in examples.shard(stride, 0).take(_GALLERY_SIZE).as_numpy_iterator():
        class_map = served.predict_images(example["image"][None])["class_map"]
        gallery.append((example["image"], example["mask"], class_map[0].numpy()))
    return gallery


def export(model: Segformer, run: Run, *, is_new: bool) -> None:
    """Writes the next version of the SavedModel, unless these weights have one already."""
    base_dir = run.model_dir / "saved_model"
    if is_new or bundle.choose_version(base_dir) == 1:
        _logger.info("SavedModel for TF Serving: %s", bundle.write_bundle(model, str(base_dir)))
