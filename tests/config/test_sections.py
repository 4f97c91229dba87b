"""Every field of the configuration: its help, its default and the values that it refuses."""

import dataclasses
import math
import re

import pytest

from tfseg.config import (
    DataConfig,
    DemoConfig,
    DoctorRunConfig,
    EvalRunConfig,
    ExportConfig,
    HubConfig,
    ModelConfig,
    PredictConfig,
    PushConfig,
    RunConfig,
    TrainConfig,
    TrainDataConfig,
    TrainingConfig,
)
from tfseg.data.catalog import get_dataset_spec
from tfseg.errors import UserError
from tfseg.training.resolution import resolve_config

SECTIONS = (DataConfig, TrainDataConfig, ModelConfig, TrainingConfig, RunConfig, HubConfig)


@pytest.mark.parametrize(
    "section",
    [
        *SECTIONS,
        DoctorRunConfig,
        EvalRunConfig,
        PredictConfig,
        ExportConfig,
        DemoConfig,
        PushConfig,
    ],
)
def test_every_field_states_its_help_and_its_default(section):
    """A default of None or () means nothing to a reader, so these fields say what happens."""
    for field in dataclasses.fields(section):
        assert len(field.metadata["help"]) > 10, field.name
        is_silent = field.default in (None, ()) and not field.metadata.get("required")
        assert bool(field.metadata["default_text"]) == is_silent, field.name


def test_the_help_of_dataset_names_the_whole_catalog():
    with pytest.raises(UserError) as caught:
        get_dataset_spec("no data set has this name")
    names = re.search(r"allowed: (.*)\)", str(caught.value)).group(1).split(", ")
    (field,) = (field for field in dataclasses.fields(DataConfig) if field.name == "dataset")
    for name in names:
        assert name.replace(":...", ":") in field.metadata["help"]
    assert len(names) >= 5


def test_the_stated_learning_rates_are_the_applied_ones():
    (field,) = (f for f in dataclasses.fields(TrainingConfig) if f.name == "learning_rate")
    spec = get_dataset_spec("shapes")
    for init_from, words in (("scratch", "from scratch"), ("folder", "for pretrained weights")):
        config = TrainConfig(model=ModelConfig(init_from=init_from))
        applied = resolve_config(config, spec).training.learning_rate
        assert f"{applied:g} {words}" in field.metadata["default_text"]


def test_profile_steps_accept_a_range_of_one_step_or_more():
    assert RunConfig(profile_steps=(3, 3)).profile_steps == (3, 3)
    assert RunConfig(profile_steps=(1, 20)).profile_steps == (1, 20)


def test_sections_share_no_field_name():
    names = [field.name for section in SECTIONS for field in dataclasses.fields(section)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        (DataConfig, {"image_size": (200, 224)}, ("200,224", "--image_size=192,224")),
        (DataConfig, {"image_size": (64,)}, ("--image_size", "64")),
        (DataConfig, {"on_bad_example": "ski"}, ("--on_bad_example=ski", "'skip'", "error")),
        (PredictConfig, {"outputs": ("json", "maks")}, ("--outputs=maks", "'masks'", "overlay")),
        (PredictConfig, {"outputs": ()}, ("--outputs is empty", "--outputs=json")),
        (DemoConfig, {"server_port": 0}, ("--server_port", "at least 1")),
        (TrainDataConfig, {"augmentation": "standrad"}, ("'standard'", "none")),
        (TrainDataConfig, {"random_scale": (2.0, 0.5)}, ("--random_scale=2.0,0.5", "0.5,2.0")),
        (TrainDataConfig, {"random_scale": (0.5,)}, ("--random_scale=0.5 ", "0.5,2.0")),
        (TrainDataConfig, {"augmentation": "flip", "hue": 0.1}, ("--hue", "augmentation=flip")),
        (TrainDataConfig, {"augmentation": "basic", "random_scale": (1.0, 2.0)}, ("=basic",)),
        (TrainDataConfig, {"augmentation": "flip", "max_class_share": 0.5}, ("=flip", "standard")),
        (TrainDataConfig, {"max_class_share": 0.0}, ("--max_class_share", "above 0")),
        (TrainDataConfig, {"contrast": (2.0, 0.5)}, ("--contrast=2.0,0.5", "0.5,2.0")),
        (TrainDataConfig, {"contrast": (1.0,)}, ("--contrast=1.0", "below 1", "0.5,2.0")),
        (TrainDataConfig, {"contrast": (1.3, 1.3)}, ("--contrast=1.3,1.3", "0.5,2.0")),
        (TrainDataConfig, {"saturation": (-1.0, 1.0)}, ("--saturation", "at least 0.0", "-1.0")),
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
            ("--lr_boundaries must be in ascending order", "5,2"),
        ),
        (TrainingConfig, {"label_smoothing": 1.0}, ("--label_smoothing", "below 1.0")),
        (TrainingConfig, {"label_smoothing": -0.1}, ("--label_smoothing", "at least 0.0", "-0.1")),
        (TrainingConfig, {"label_smoothing": math.nan}, ("--label_smoothing", "nan")),
        (TrainingConfig, {"class_weights": "road"}, ("--class_weights=road", "road=1,pole=5")),
        (TrainingConfig, {"class_weights": "road=-1"}, ("--class_weights", "at least 0", "-1")),
        (TrainingConfig, {"lr_boundaries": (5,)}, ("--lr_schedule=piecewise", "polynomial")),
        (TrainingConfig, {"weight_decay": math.nan}, ("--weight_decay", "at least 0.0", "nan")),
        (RunConfig, {"eval_every": 0}, ("--eval_every", "at least 1", "0")),
        (HubConfig, {"hub_strategy": "save"}, ("--hub_strategy=save", "'every_save'", "end")),
        (HubConfig, {"hub_model_id": "x"}, ("--hub_model_id", "add --push_to_hub", "tfseg.push")),
        (HubConfig, {"hub_private": True}, ("--hub_private", "add --push_to_hub")),
        (HubConfig, {"hub_strategy": "every_save"}, ("--hub_strategy", "add --push_to_hub")),
        (RunConfig, {"profile_steps": (5,)}, ("--profile_steps=5 ", "first,last")),
        (RunConfig, {"profile_steps": (5, 4)}, ("--profile_steps=5,4 ", "first,last", "10,20")),
        (RunConfig, {"profile_steps": (1, 2, 3)}, ("--profile_steps=1,2,3 ", "first,last")),
        (RunConfig, {"profile_steps": (0, 4)}, ("--profile_steps", "at least 1", "0")),
    ],
)  # fmt: skip
def test_bad_values_name_the_flag_the_value_and_what_is_allowed(section, values, words):
    with pytest.raises(UserError) as caught:
        section(**values)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_compiled_step_cannot_be_deterministic():
    with pytest.raises(UserError, match="--deterministic needs --nojit_compile"):
        TrainingConfig(jit_compile=True, deterministic=True)


@pytest.mark.parametrize("flag", ["dataset_config", "dataset_revision"])
def test_flags_of_hugging_face_data_sets_are_refused_for_others(flag):
    assert getattr(DataConfig(dataset="hf:a/b", **{flag: "x"}), flag) == "x"
    for dataset in ("shapes", "tfds:a", "folder:hf:a"):
        message = f"--{flag}=x is for hf: data sets, not for --dataset={dataset}; leave it out"
        with pytest.raises(UserError, match=message):
            DataConfig(dataset=dataset, **{flag: "x"})


def test_eval_fraction_is_for_sources_without_slices_of_their_own():
    for dataset in ("hf:a/b", "folder:a"):
        assert DataConfig(dataset=dataset, eval_fraction=0.1).eval_fraction == 0.1
    for dataset in ("shapes", "tfds:a", "oxford_iiit_pet"):
        with pytest.raises(UserError, match=r"--eval_fraction=0\.1 .*--train_split=train\[:90%\]"):
            DataConfig(dataset=dataset, eval_fraction=0.1)
    for fraction in (0.0, 1.0):
        with pytest.raises(UserError, match="--eval_fraction must be"):
            DataConfig(dataset="folder:a", eval_fraction=fraction)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "m", "predictions": "p"}, "--predictions=p are scored without a model, but"),
        ({"predictions": "p", "tta": "flip"}, "--tta=flip cannot change what --predictions gives"),
        ({"model": "saved_model:s", "tta": "flip"}, "cannot change what --model=saved_model:s"),
        ({"predictions": "p", "save_predictions": "d"}, "--save_predictions has nothing new"),
    ],
)
def test_evaluations_refuse_flags_that_contradict_one_another(fields, message):
    with pytest.raises(UserError, match=message):
        EvalRunConfig(**fields)
