"""Configurations as JSON: what is written can be read, and differences are named."""

import json

import pytest

from tfseg.config import (
    DataConfig,
    HubConfig,
    RunConfig,
    TrainConfig,
    TrainDataConfig,
    TrainingConfig,
    serialization,
)
from tfseg.errors import UserError


def test_json_round_trip():
    config = TrainConfig(
        data=DataConfig(dataset="folder:x", image_size=(64, 96)),
        train_data=TrainDataConfig(random_scale=(0.75, 1.5)),
        training=TrainingConfig(
            lr_schedule="piecewise",
            lr_boundaries=(10,),
            lr_values=(1e-3, 1e-4),
            class_weights="road=1,pole=5",
            label_smoothing=0.1,
        ),
        run=RunConfig(profile_steps=(10, 20)),
    )
    assert serialization.train_config_from_json(serialization.to_json(config)) == config


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:40],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace('"dataset"', '"datasets"'),
        lambda text: text.replace('"mit-b0"', '"mit-b9"'),
    ],
)
def test_damaged_json_is_a_user_error(damage):
    with pytest.raises(UserError):
        serialization.train_config_from_json(damage(serialization.to_json(TrainConfig())))


def test_a_run_from_before_the_hub_is_read():
    values = json.loads(serialization.to_json(TrainConfig()))
    del values["hub"]
    assert serialization.train_config_from_json(json.dumps(values)) == TrainConfig()


def test_json_is_plain():
    assert json.loads(serialization.to_json(TrainConfig()))["data"]["dataset"] == "shapes"


def test_changed_fields_names_what_a_resumed_run_must_not_change():
    old = TrainConfig()
    new = TrainConfig(
        training=TrainingConfig(learning_rate=0.01, eval_batch_size=3),
        run=RunConfig(keep_checkpoints=7, model_dir="elsewhere", profile_steps=(2, 3)),
        hub=HubConfig(push_to_hub=True, hub_model_id="x", hub_strategy="every_save"),
    )
    assert serialization.changed_fields(old, new) == ["--learning_rate=none, now 0.01"]
