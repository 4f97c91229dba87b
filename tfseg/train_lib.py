"""Training, from configuration to SavedModel: `run_training` is the table of contents."""

from __future__ import annotations

import dataclasses
import logging
import math
import time

import numpy as np
import tensorflow as tf
from etils import epath

from tfseg import (
    callbacks,
    evaluation,
    files,
    hub,
    optimizers,
    report,
    run_directory,
    runtime,
)
from tfseg.config import TrainConfig, default_model_dir
from tfseg.data import pipeline
from tfseg.data.catalog import DatasetSpec
from tfseg.errors import UserError
from tfseg.losses import SegmentationCrossEntropy
from tfseg.metrics import format_class_table
from tfseg.models import segformer
from tfseg.models.segformer import Segformer
from tfseg.serving import bundle, module

_logger = logging.getLogger(__name__)

_PRETRAINED_LEARNING_RATE = 6e-5  # the paper's, section 4.1
# B0 on shapes in batches of 8: mean IoU 0.64 after 500 steps, 0.85 after 1000.
_SCRATCH_LEARNING_RATE = 1.5e-3
_GALLERY_SIZE = 4


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
    spec = pipeline.get_spec(config.data)
    config = resolve_config(config, spec)
    model_dir = run_directory.check_model_dir(config)
    runtime.set_seed(config.training.seed, deterministic=config.training.deterministic)

    train_examples, eval_examples = load_splits(config, spec)
    model = build_model(config, spec)
    run_directory.write_config(config, model_dir)
    trained = fit(model, train_examples, eval_examples, config, spec, model_dir)

    best = segformer.load_model(str(model_dir / "best"))
    scores = evaluate(best, eval_examples, config, spec)
    figures = write_results(best, scores, eval_examples, config, spec, model_dir)
    if config.run.export and (trained or not (model_dir / "saved_model").exists()):
        path = bundle.write_bundle(best, str(model_dir / "saved_model"))
        _logger.info("SavedModel for TF Serving: %s", path)
    minutes = (time.monotonic() - started) / 60
    _logger.info("mean IoU %.4f after %.1f minutes; all of it in %s", figures["mean_iou"], minutes,
                 model_dir)  # fmt: skip
    return figures


def resolve_config(config: TrainConfig, spec: DatasetSpec) -> TrainConfig:
    """Fills the fields that were left open from the data set's facts."""
    data, model, training = config.data, config.model, config.training
    init_from = model.init_from or spec.init_from or f"nvidia/{model.backbone}"
    scratch = init_from == "scratch"
    drop_path_rate = model.drop_path_rate
    learning_rate = _SCRATCH_LEARNING_RATE if scratch else _PRETRAINED_LEARNING_RATE
    return dataclasses.replace(
        config,
        data=dataclasses.replace(
            data,
            eval_split=data.eval_split or spec.eval_split,
            image_size=data.image_size or spec.image_size,
        ),
        train_data=dataclasses.replace(
            config.train_data,
            train_split=config.train_data.train_split or spec.train_split,
            augmentation=config.train_data.augmentation or spec.augmentation,
        ),
        model=dataclasses.replace(
            model,
            init_from=init_from,
            # A training from scratch is too short here to overfit.
            drop_path_rate=0.0 if scratch and drop_path_rate is None else drop_path_rate,
        ),
        training=dataclasses.replace(
            training, learning_rate=training.learning_rate or learning_rate
        ),
        run=dataclasses.replace(
            config.run, model_dir=config.run.model_dir or default_model_dir(data.dataset)
        ),
    )


def load_splits(config: TrainConfig, spec: DatasetSpec) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Loads the training and the eval split; both are checked before training starts."""
    train_examples = pipeline.load_examples(
        spec, config.data, config.train_data.train_split, config.train_data.max_train_examples
    )
    eval_examples = pipeline.load_examples(
        spec, config.data, config.data.eval_split, config.data.max_eval_examples
    )
    eval_examples, _ = pipeline.cache_examples(eval_examples, config.train_data.cache)
    _logger.info(
        "%s: %d training examples (%s), %d eval examples (%s), %d classes",
        pipeline.versioned_name(config.data, spec),
        pipeline.count_examples(train_examples),
        config.train_data.train_split,
        pipeline.count_examples(eval_examples),
        config.data.eval_split,
        spec.labels.num_classes,
    )
    return train_examples, eval_examples


def build_model(config: TrainConfig, spec: DatasetSpec) -> Segformer:
    """Builds the model with its first weights."""
    model = segformer.build_model(
        spec.labels,
        config.data.image_size,
        backbone=config.model.backbone,
        init_from=config.model.init_from,
        revision=config.model.revision,
        freeze_encoder=config.model.freeze_encoder,
        drop_path_rate=config.model.drop_path_rate,
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


def fit(
    model: Segformer,
    train_examples: tf.data.Dataset,
    eval_examples: tf.data.Dataset,
    config: TrainConfig,
    spec: DatasetSpec,
    model_dir: epath.Path,
) -> bool:
    """Trains from where the run stands to its end; returns whether there was anything to do."""
    steps_per_epoch, total_steps = count_steps(train_examples, config)
    total_epochs = math.ceil(total_steps / steps_per_epoch)
    model.upsample_logits = False  # the loss resizes them
    model.compile(
        build_optimizer(config, total_steps), SegmentationCrossEntropy(spec.labels.ignore_index)
    )
    state = callbacks.TrainingState()
    manager = run_directory.restore_state(model, state, config, model_dir)
    first_epoch = int(state.epoch)
    if first_epoch >= total_epochs:
        _logger.info("training is done already: %d epochs", first_epoch)
        return False
    batches = pipeline.build_training(
        train_examples,
        config.train_data,
        model.preprocessing,
        spec.labels,
        batch_size=config.training.train_batch_size,
        seed=config.training.seed,
        first_epoch=first_epoch,
    )
    model.fit(
        batches,
        initial_epoch=first_epoch,
        epochs=total_epochs,
        steps_per_epoch=steps_per_epoch,
        callbacks=build_callbacks(
            model, eval_examples, config, spec, model_dir, state, manager, total_steps, total_epochs
        ),
    )
    return True


def count_steps(train_examples: tf.data.Dataset, config: TrainConfig) -> tuple[int, int]:
    """Returns steps an epoch and steps in all."""
    batch_size = config.training.train_batch_size
    count = pipeline.count_examples(train_examples)
    if batch_size > count:
        raise UserError(
            f"--train_batch_size={batch_size} is larger than the {count} training examples"
        )
    steps_per_epoch = count // batch_size
    return steps_per_epoch, config.training.train_steps or config.training.epochs * steps_per_epoch


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


def build_callbacks(
    model: Segformer,
    eval_examples: tf.data.Dataset,
    config: TrainConfig,
    spec: DatasetSpec,
    model_dir: epath.Path,
    state: callbacks.TrainingState,
    manager: tf.train.CheckpointManager,
    total_steps: int,
    total_epochs: int,
) -> list[tf.keras.callbacks.Callback]:
    """Returns the callbacks in the order in which they must run at the end of an epoch."""
    evaluator = evaluation.Evaluator(model, spec.labels)
    batches = build_eval_batches(model, eval_examples, config, spec)

    def score() -> dict[str, float]:
        scores = evaluator.evaluate(batches)
        figures = scores.figures(spec.labels.names)
        return {name: figures[name] for name in ("loss", "mean_iou", "mean_accuracy")}

    def save_best() -> None:
        segformer.save_model(model, str(model_dir / "best"))

    return [
        callbacks.StopOnNaN(),
        callbacks.StopAtStep(total_steps),
        callbacks.Evaluate(score, config.run.eval_every, total_epochs),
        callbacks.SaveBest(save_best, config.training.monitor, state),
        callbacks.WriteHistory(model_dir / "history.csv", int(state.epoch)),
        tf.keras.callbacks.TensorBoard(str(model_dir / "tensorboard"), write_graph=False),
        callbacks.SaveState(manager, state, config.run.checkpoint_every, total_epochs),
    ]


def build_eval_batches(
    model: Segformer, eval_examples: tf.data.Dataset, config: TrainConfig, spec: DatasetSpec
) -> tf.data.Dataset:
    """Builds the batches of the eval split."""
    return pipeline.build_evaluation(
        eval_examples,
        model.preprocessing,
        spec.labels,
        batch_size=config.training.eval_batch_size,
    )


def evaluate(
    model: Segformer, eval_examples: tf.data.Dataset, config: TrainConfig, spec: DatasetSpec
) -> evaluation.Scores:
    """Scores a model on the eval split."""
    batches = build_eval_batches(model, eval_examples, config, spec)
    return evaluation.Evaluator(model, spec.labels).evaluate(batches)


def write_results(
    model: Segformer,
    scores: evaluation.Scores,
    eval_examples: tf.data.Dataset,
    config: TrainConfig,
    spec: DatasetSpec,
    model_dir: epath.Path,
) -> dict[str, float]:
    """Writes `metrics.json`, `best/README.md` and `report/`; prints the table of classes."""
    figures = scores.figures(spec.labels.names)
    dataset = pipeline.versioned_name(config.data, spec)
    facts = {
        "dataset": dataset,
        "split": config.data.eval_split,
        "num_examples": scores.num_examples,
    }
    files.write_atomically(
        model_dir / "metrics.json", evaluation.figures_to_json({**facts, **figures})
    )
    card = hub.model_card(model.labels, figures, dataset=dataset, init_from=config.model.init_from)
    files.write_atomically(model_dir / "best" / "README.md", card)
    report.write_report(
        model_dir / "report",
        history_csv_rows=report.read_history(model_dir / "history.csv"),
        gallery=build_gallery(model, eval_examples),
        confusion=scores.confusion,
        labels=spec.labels,
        metrics=figures,
        title=f"{dataset}, {config.data.eval_split}",
    )
    _logger.info("%s", format_class_table(scores.confusion, spec.labels.names))
    return figures


def build_gallery(
    model: Segformer, examples: tf.data.Dataset
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns (image, truth, prediction) of a few examples spread over the split."""
    served = module.ServingModule(model)
    stride = max(1, pipeline.count_examples(examples) // _GALLERY_SIZE)
    gallery = []
    for example in examples.shard(stride, 0).take(_GALLERY_SIZE).as_numpy_iterator():
        class_map = served.predict_images(example["image"][None])["class_map"]
        gallery.append((example["image"], example["mask"], class_map[0].numpy()))
    return gallery
