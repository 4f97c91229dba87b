"""The training itself: the model, its optimizer and loss, and Keras's `fit` with its callbacks."""

from __future__ import annotations

import logging
import math
import sys

import tensorflow as tf

from tfseg.config.training_sections import TrainingConfig
from tfseg.data import pipeline
from tfseg.data.bad_examples import naming_bad_examples
from tfseg.evaluation import evaluator
from tfseg.losses.cross_entropy import SegmentationCrossEntropy
from tfseg.models import segformer
from tfseg.models.segformer import Segformer
from tfseg.training import learning_rate, optimizers
from tfseg.training.callbacks import checkpoints, history, scoring, stopping
from tfseg.training.preparation import Run
from tfseg.training.state import TrainingState, restore_newest

_logger = logging.getLogger(__name__)

_HISTORY_METRICS = ("loss", "mean_iou", "mean_accuracy")


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
    """Trains from the newest checkpoint to the end; returns whether any epoch was left to do."""
    config = run.config
    steps_per_epoch, total_steps = count_steps(run)
    total_epochs = math.ceil(total_steps / steps_per_epoch)
    compile_model(model, run, total_steps)
    state = TrainingState()
    manager = restore_newest(
        model, state, run.model_dir / "checkpoints", keep_checkpoints=config.run.keep_checkpoints
    )
    first_epoch = int(state.epoch)
    if first_epoch >= total_epochs:
        _logger.info("training is done already: %d epochs", first_epoch)
        return False
    with naming_bad_examples():
        model.fit(
            build_train_batches(model, run, first_epoch),
            initial_epoch=first_epoch,
            epochs=total_epochs,
            steps_per_epoch=steps_per_epoch,
            # A progress bar in a log file would be pages of backspaces.
            verbose="auto" if sys.stdout.isatty() else 2,
            callbacks=[
                stopping.StopOnNaN(),
                stopping.StopAtStep(total_steps),
                *build_epoch_callbacks(model, run, state, manager, total_epochs),
            ],
        )
    return True


def count_steps(run: Run) -> tuple[int, int]:
    """Returns the steps per epoch and the steps of the whole training.

    Raises:
        UserError: A batch takes more examples than there are.
    """
    training = run.config.training
    steps_per_epoch = pipeline.count_batches(run.train.num_examples, training.train_batch_size)
    return steps_per_epoch, training.train_steps or training.epochs * steps_per_epoch


def compile_model(model: Segformer, run: Run, total_steps: int) -> None:
    """Gives the model its optimizer and its loss."""
    training = run.config.training
    loss = SegmentationCrossEntropy(
        run.spec.labels.ignore_index,
        class_weights=run.class_weights,
        label_smoothing=training.label_smoothing,
    )
    optimizer = build_optimizer(training, total_steps)
    model.compile(optimizer, loss, jit_compile=training.jit_compile)


def build_optimizer(training: TrainingConfig, total_steps: int) -> tf.keras.optimizers.Optimizer:
    """Builds the optimizer with the configured learning-rate schedule."""
    schedule = learning_rate.build_schedule(
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


def build_train_batches(model: Segformer, run: Run, first_epoch: int) -> tf.data.Dataset:
    """Builds the endless training batches, starting with an epoch."""
    return pipeline.build_training(
        run.train.examples,
        run.config.train_data,
        model.preprocessing,
        run.spec.labels,
        batch_size=run.config.training.train_batch_size,
        seed=run.config.training.seed,
        first_epoch=first_epoch,
    )


def build_eval_batches(model: Segformer, run: Run) -> tf.data.Dataset:
    """Builds the batches of the eval split."""
    return pipeline.build_evaluation(
        run.eval.examples,
        model.preprocessing,
        run.spec.labels,
        batch_size=run.config.training.eval_batch_size,
    )


def build_epoch_callbacks(
    model: Segformer,
    run: Run,
    state: TrainingState,
    manager: tf.train.CheckpointManager,
    total_epochs: int,
) -> list[tf.keras.callbacks.Callback]:
    """Returns what runs at the end of each epoch, in the order in which it must run."""
    config, model_dir, labels = run.config, run.model_dir, run.spec.labels
    scorer = evaluator.Evaluator(model, labels)
    batches = build_eval_batches(model, run)

    def evaluate() -> dict[str, float]:
        metrics = scorer.evaluate(batches).metrics(labels.names)
        return {name: metrics[name] for name in _HISTORY_METRICS}

    return [
        scoring.Evaluate(evaluate, config.run.eval_every, total_epochs),
        checkpoints.SaveBest(model_dir / "best", config.training.monitor, state),
        history.WriteHistory(model_dir / "history.csv", int(state.epoch)),
        tf.keras.callbacks.TensorBoard(
            str(model_dir / "tensorboard"),
            write_graph=False,
            profile_batch=config.run.profile_steps or 0,
        ),
        checkpoints.SaveState(manager, state, config.run.checkpoint_every, total_epochs),
    ]
