"""The training itself: the model, its optimizer and loss, and Keras's `fit` with its callbacks."""

from __future__ import annotations

import logging
import sys
from typing import NamedTuple

import tensorflow as tf

from tfseg.config.training_sections import TrainingConfig
from tfseg.data import data_service, evaluation_batches, pipeline
from tfseg.evaluation import evaluator
from tfseg.losses.cross_entropy import SegmentationCrossEntropy
from tfseg.models import segformer
from tfseg.models.segformer import Segformer
from tfseg.training import learning_rate, optimizers, sharing, strategies
from tfseg.training.callbacks import checkpoints, history, scoring, stopping
from tfseg.training.preparation import Run
from tfseg.training.state import TrainingState, restore_newest

_logger = logging.getLogger(__name__)

_HISTORY_METRICS = ("loss", "mean_iou", "mean_accuracy")


def build_model(run: Run) -> Segformer:
    """Builds the model with its first weights, on all devices."""
    config = run.config
    with run.strategy.scope():
        model = segformer.build_model(
            run.spec.labels,
            config.data.image_size,
            backbone=config.model.backbone,
            init_from=config.model.init_from,
            revision=config.model.revision,
            freeze_encoder=config.model.freeze_encoder,
            drop_path_rate=config.model.drop_path_rate,
            apply_exif=config.train_data.apply_exif,
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


def fit(model: Segformer, run: Run) -> int:
    """Trains from the newest checkpoint to the end; returns how many steps were left to do."""
    config = run.config
    spans = plan_epochs(*count_steps(run))
    total_epochs = spans[-1].end
    with run.strategy.scope():
        compile_model(model, run)
        state = TrainingState()
        manager = restore_newest(
            model,
            state,
            run.model_dir / "checkpoints",
            keep_checkpoints=config.run.keep_checkpoints,
        )
        first_epoch = int(state.epoch.numpy())
        if first_epoch >= total_epochs:
            _logger.info("training is done already: %d epochs", first_epoch)
            return 0
        callbacks = build_callbacks(model, run, state, manager, total_epochs)
    with data_service.watching(config.train_data.data_service):
        for span in spans:
            fit_span(model, run, span, max(first_epoch, span.start), callbacks)
    return sum(max(0, span.end - max(first_epoch, span.start)) * span.steps for span in spans)


class Span(NamedTuple):
    """Epochs of equal length.

    Attributes:
        start: The first epoch, from 0.
        end: The epoch behind the last one.
        steps: Training steps per epoch.
    """

    start: int
    end: int
    steps: int


def plan_epochs(steps_per_epoch: int, total_steps: int) -> list[Span]:
    """Returns the whole epochs of a training, and the shorter epoch with which it may end.

    >>> plan_epochs(steps_per_epoch=4, total_steps=10)
    [Span(start=0, end=2, steps=4), Span(start=2, end=3, steps=2)]
    """
    whole_epochs, remaining = divmod(total_steps, steps_per_epoch)
    spans = [
        Span(0, whole_epochs, steps_per_epoch),
        Span(whole_epochs, whole_epochs + 1, remaining),
    ]
    return [span for span in spans if span.steps and span.end > span.start]


def fit_span(
    model: Segformer,
    run: Run,
    span: Span,
    first_epoch: int,
    callbacks: list[tf.keras.callbacks.Callback],
) -> None:
    """Trains the epochs of a span from `first_epoch` on, if any is left."""
    if first_epoch >= span.end:
        return
    # A progress bar in a log file would be pages of backspaces. On a terminal it reads the loss of
    # every step, for which several replicas should not wait.
    has_bar = sys.stdout.isatty() and run.strategy.num_replicas_in_sync == 1
    quiet = not strategies.is_chief(run.strategy)
    model.fit(
        build_train_batches(model, run, first_epoch),
        initial_epoch=first_epoch,
        epochs=span.end,
        steps_per_epoch=span.steps,
        verbose=0 if quiet else "auto" if has_bar else 2,
        callbacks=callbacks,
    )


def count_steps(run: Run) -> tuple[int, int]:
    """Returns the steps per epoch and the steps of the whole training.

    Raises:
        UserError: A batch takes more examples than there are.
    """
    training = run.config.training
    steps_per_epoch = pipeline.count_batches(run.train.num_examples, training.train_batch_size)
    return steps_per_epoch, training.train_steps or training.epochs * steps_per_epoch


def compile_model(model: Segformer, run: Run) -> None:
    """Gives the model its optimizer and its loss; call it in the scope of the strategy."""
    training = run.config.training
    _, total_steps = count_steps(run)
    loss = SegmentationCrossEntropy(
        run.spec.labels.ignore_index,
        class_weights=run.class_weights,
        label_smoothing=training.label_smoothing,
    )
    optimizer = build_optimizer(training, total_steps)
    model.compile(
        optimizer,
        loss,
        jit_compile=strategies.compiles_step(training, run.strategy),
        steps_per_execution=run.config.run.steps_per_execution,
    )


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
    """Builds the endless training batches, starting with an epoch, for all replicas."""
    return run.strategy.distribute_datasets_from_function(
        lambda share: pipeline.build_training(
            run.train,
            run.config.train_data,
            model.preprocessing,
            run.spec.labels,
            batch_size=run.config.training.train_batch_size,
            seed=run.config.training.seed,
            first_epoch=first_epoch,
            share=share,
        )
    )


def build_eval_batches(model: Segformer, run: Run) -> tf.data.Dataset:
    """Builds the batches of the eval split for all replicas."""
    return run.strategy.distribute_datasets_from_function(
        lambda share: evaluation_batches.build_evaluation(
            run.eval,
            model.preprocessing,
            run.spec.labels,
            batch_size=run.config.training.eval_batch_size,
            cache=run.config.train_data.cache,
            mask_size=run.mask_size,
            share=share,
        )
    )


def build_callbacks(
    model: Segformer,
    run: Run,
    state: TrainingState,
    manager: tf.train.CheckpointManager,
    total_epochs: int,
) -> list[tf.keras.callbacks.Callback]:
    """Returns what runs during the training, in the order in which it must run.

    Every worker checks the loss and evaluates. The chief alone has the callbacks that write.
    """
    config, model_dir, labels = run.config, run.model_dir, run.spec.labels
    scorer = evaluator.Evaluator(model, labels)
    batches = build_eval_batches(model, run)

    def evaluate() -> dict[str, float]:
        metrics = scorer.evaluate(batches).metrics(labels.names)
        return {name: metrics[name] for name in _HISTORY_METRICS}

    common = [stopping.StopOnNaN(), scoring.Evaluate(evaluate, config.run.eval_every, total_epochs)]
    if not strategies.is_chief(run.strategy):
        return common
    return [
        *common,
        checkpoints.SaveBest(model_dir / "best", config.training.monitor, state),
        history.WriteHistory(model_dir / "history.csv", int(state.epoch.numpy())),
        tf.keras.callbacks.TensorBoard(
            str(model_dir / "tensorboard"),
            write_graph=False,
            profile_batch=config.run.profile_steps or 0,
        ),
        checkpoints.SaveState(manager, state, config.run.checkpoint_every, total_epochs),
        *sharing.build_callbacks(config, labels.names, run.uploads, state),
    ]
