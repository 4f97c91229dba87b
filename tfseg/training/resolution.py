"""Fills what a configuration leaves open from the data set's facts."""

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
from tfseg.data.catalog import DatasetSpec


def resolve_config(config: TrainConfig, spec: DatasetSpec) -> TrainConfig:
    """Fills the fields that were left open from the data set's facts."""
    data, model, training = config.data, config.model, config.training
    init_from = model.init_from or spec.init_from or f"nvidia/{model.backbone}"
    scratch = init_from == "scratch"
    drop_path_rate = model.drop_path_rate
    learning_rate = training.learning_rate
    if learning_rate is None and training.lr_schedule != "piecewise":
        learning_rate = SCRATCH_LEARNING_RATE if scratch else PRETRAINED_LEARNING_RATE
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
            drop_path_rate=SCRATCH_DROP_PATH_RATE
            if scratch and drop_path_rate is None
            else drop_path_rate,
        ),
        training=dataclasses.replace(training, learning_rate=learning_rate),
        run=dataclasses.replace(
            config.run, model_dir=config.run.model_dir or default_model_dir(data.dataset)
        ),
    )


def default_model_dir(dataset: str) -> str:
    """Returns `runs/<dataset>`, with what does not belong in a file name replaced.

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
