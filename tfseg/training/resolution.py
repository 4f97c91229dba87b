"""Fills in what a configuration leaves open: from the data set's facts, then the exact versions."""

from __future__ import annotations

import dataclasses
import os
import re

from tfseg.config.commands import TrainConfig
from tfseg.config.defaults import (
    PRETRAINED_LEARNING_RATE,
    SCRATCH_DROP_PATH_RATE,
    SCRATCH_LEARNING_RATE,
)
from tfseg.config.sections import ModelConfig
from tfseg.data import pipeline
from tfseg.data.catalog import DatasetSpec
from tfseg.data.split import choose_eval_split
from tfseg.models import checkpoint


def resolve_config(config: TrainConfig, spec: DatasetSpec) -> TrainConfig:
    """Fills in the fields that were left open, from the facts about the data set.

    Raises:
        UserError: A part of the training split is held out, and another eval split was named.
    """
    data, train_data, run = config.data, config.train_data, config.run
    train_split = train_data.train_split or spec.train_split
    init_from = config.model.init_from or spec.init_from or f"nvidia/{config.model.backbone}"
    return TrainConfig(
        data=dataclasses.replace(
            data,
            eval_split=choose_eval_split(
                spec.eval_split,
                train_split=train_split,
                eval_split=data.eval_split,
                eval_fraction=data.eval_fraction,
            ),
            image_size=data.image_size or spec.image_size,
        ),
        train_data=dataclasses.replace(
            train_data,
            train_split=train_split,
            augmentation=train_data.augmentation or spec.augmentation,
        ),
        model=_resolve_model(config.model, init_from),
        training=dataclasses.replace(
            config.training, learning_rate=_resolve_learning_rate(config, init_from)
        ),
        run=dataclasses.replace(run, model_dir=run.model_dir or default_model_dir(data.dataset)),
        hub=config.hub,
    )


def _resolve_model(model: ModelConfig, init_from: str) -> ModelConfig:
    drop_path_rate = model.drop_path_rate
    if init_from == "scratch" and drop_path_rate is None:
        drop_path_rate = SCRATCH_DROP_PATH_RATE
    return dataclasses.replace(model, init_from=init_from, drop_path_rate=drop_path_rate)


def _resolve_learning_rate(config: TrainConfig, init_from: str) -> float | None:
    training = config.training
    if training.learning_rate is not None or training.lr_schedule == "piecewise":
        return training.learning_rate
    return SCRATCH_LEARNING_RATE if init_from == "scratch" else PRETRAINED_LEARNING_RATE


def resolve_versions(config: TrainConfig, spec: DatasetSpec) -> TrainConfig:
    """Replaces open versions by the ones that are used, so that `train.flags` repeats the run.

    These are the version of a TFDS data set, and the commit of first weights from the Hub.

    Raises:
        UserError: The first weights cannot be found.
    """
    model = config.model
    if model.init_from != "scratch":
        folder = checkpoint.find_folder(model.init_from, model.revision, flag="init_from")
        revision = checkpoint.resolved_revision(folder) or model.revision
        model = dataclasses.replace(model, revision=revision)
    dataset = pipeline.versioned_name(config.data, spec)
    data = dataclasses.replace(config.data, dataset=dataset)
    return dataclasses.replace(config, data=data, model=model)


def default_model_dir(dataset: str) -> str:
    """Returns `runs/<dataset>`, with characters replaced that do not belong in a file name.

    >>> default_model_dir("folder:../data/camvid")
    'runs/camvid'
    >>> default_model_dir("oxford_iiit_pet:4.0.0")
    'runs/oxford_iiit_pet_4.0.0'
    """
    prefix, _, path = dataset.partition(":")
    name = dataset if prefix not in ("tfds", "hf", "folder") else path
    if prefix == "folder":
        name = os.path.basename(os.path.abspath(path))
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", name.rstrip("/")).strip("._")
    return f"runs/{name or 'dataset'}"
