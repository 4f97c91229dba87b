"""Defaults, validation and text forms of the configuration."""

import dataclasses
import json
import math

import pytest

from tfseg.config import serialization
from tfseg.config.sections import (
    DataConfig,
    EvalConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    TrainDataConfig,
    TrainingConfig,
)
from tfseg.config.validation import check_size, require
from tfseg.errors import UserError, nearest_name
from tfseg.training.resolution import default_model_dir

SECTIONS = (DataConfig, TrainDataConfig, ModelConfig, TrainingConfig, RunConfig)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_states_its_help(section):
    for field in dataclasses.fields(section):
        assert len(field.metadata["help"]) > 10, field.name


def test_sections_share_no_field_name():
    names = [field.name for section in SECTIONS for field in dataclasses.fields(section)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        (DataConfig, {"image_size": (200, 224)}, ("200,224", "--image_size=192,224")),
        (DataConfig, {"image_size": (64,)}, ("--image_size", "64")),
        (DataConfig, {"on_bad_example": "ski"}, ("--on_bad_example=ski", "'skip'", "error")),
        (TrainDataConfig, {"augmentation": "standrad"}, ("'standard'", "none")),
        (TrainDataConfig, {"random_scale": (2.0, 0.5)}, ("--random_scale=2.0,0.5", "0.5,2.0")),
        (TrainDataConfig, {"random_scale": (0.5,)}, ("--random_scale=0.5 ", "0.5,2.0")),
        (TrainDataConfig, {"augmentation": "flip", "hue": 0.1}, ("--hue", "augmentation=flip")),
        (TrainingConfig, {"seed": 2**32}, ("--seed", "at most 4294967295")),
        (
            TrainingConfig,
            {
                "lr_schedule": "piecewise",
                "lr_boundaries": (5,),
                "lr_values": (1.0, 0.1),
                "learning_rate": 0.1,
            },
            ("--learning_rate", "--lr_values"),
        ),
        (TrainDataConfig, {"random_scale": (0.0, 0.5)}, ("--random_scale", "above 0")),
        (TrainDataConfig, {"brightness": 1.5}, ("--brightness", "at most 1.0", "1.5")),
        (TrainDataConfig, {"max_train_examples": 0}, ("--max_train_examples", "at least 1", "0")),
        (ModelConfig, {"backbone": "mit-b9"}, ("--backbone=mit-b9", "mit-b5")),
        (TrainingConfig, {"learning_rate": -1.0}, ("--learning_rate", "above 0.0", "-1.0")),
        (TrainingConfig, {"monitor": "loss"}, ("--monitor=loss", "'val_loss'", "val_mean_iou")),
        (
            TrainingConfig,
            {"lr_schedule": "piecewise", "lr_boundaries": (5,), "lr_values": (1.0,)},
            ("one more --lr_values", "1 values and 1 boundaries"),
        ),
        (
            TrainingConfig,
            {"lr_schedule": "piecewise", "lr_boundaries": (5, 2), "lr_values": (1.0, 0.1, 0.01)},
            ("--lr_boundaries must rise", "5,2"),
        ),
        (TrainingConfig, {"label_smoothing": 1.0}, ("--label_smoothing", "below 1.0")),
        (TrainingConfig, {"label_smoothing": -0.1}, ("--label_smoothing", "at least 0.0", "-0.1")),
        (TrainingConfig, {"label_smoothing": math.nan}, ("--label_smoothing", "nan")),
        (TrainingConfig, {"class_weights": "road"}, ("--class_weights=road", "road=1,pole=5")),
        (TrainingConfig, {"class_weights": "road=-1"}, ("--class_weights", "at least 0", "-1")),
        (TrainingConfig, {"lr_boundaries": (5,)}, ("--lr_schedule=piecewise", "polynomial")),
        (RunConfig, {"eval_every": 0}, ("--eval_every", "at least 1", "0")),
    ],
)  # fmt: skip
def test_bad_values_name_the_flag_the_value_and_what_is_allowed(section, values, words):
    with pytest.raises(UserError) as caught:
        section(**values)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_check_size_accepts_multiples_and_none():
    check_size("image_size", (32, 480))
    check_size("image_size", None)


def test_require_names_the_missing_flag():
    with pytest.raises(UserError, match="--model is required"):
        require(EvalConfig().run)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("oxford_iiit_pet", "runs/oxford_iiit_pet"),
        ("folder:../data/camvid/", "runs/camvid"),
        ("hf:segments/sidewalk semantic", "runs/segments_sidewalk_semantic"),
        ("folder:/", "runs/dataset"),
        ("folder:/data/mine/..", "runs/data"),
        ("oxford_iiit_pet:4.0.0", "runs/oxford_iiit_pet_4.0.0"),
    ],
)
def test_default_model_dir(dataset, expected):
    assert default_model_dir(dataset) == expected


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


def test_json_is_plain():
    assert json.loads(serialization.to_json(TrainConfig()))["data"]["dataset"] == "shapes"


def test_changed_fields_names_what_a_resumed_run_must_not_change():
    old = TrainConfig()
    new = TrainConfig(
        training=TrainingConfig(learning_rate=0.01, eval_batch_size=3),
        run=RunConfig(keep_checkpoints=7, model_dir="elsewhere"),
    )
    assert serialization.changed_fields(old, new) == ["--learning_rate=none, now 0.01"]


def test_nearest_name():
    assert nearest_name("oxford_pet", ["shapes", "oxford_iiit_pet"]) == (
        ", did you mean 'oxford_iiit_pet'?"
    )
    assert nearest_name("zzz", ["shapes"]) == ""


def test_a_compiled_step_cannot_be_deterministic():
    with pytest.raises(UserError, match="--deterministic needs --nojit_compile"):
        TrainingConfig(jit_compile=True, deterministic=True)
