"""Flags have the names and defaults of the fields, and parse into configurations."""

import dataclasses

import pytest
from absl import flags

from tfseg import cli
from tfseg.config import (
    DemoConfig,
    DoctorConfig,
    EvalConfig,
    ExportConfig,
    HubConfig,
    PredictConfig,
    PushConfig,
    TrainConfig,
    TrainingConfig,
    serialization,
)
from tfseg.errors import UserError

DEFINERS = {
    TrainConfig: cli.define_train_flags,
    DoctorConfig: cli.define_doctor_flags,
    EvalConfig: cli.define_eval_flags,
    PredictConfig: cli.define_predict_flags,
    ExportConfig: cli.define_export_flags,
    DemoConfig: cli.define_demo_flags,
    PushConfig: cli.define_push_flags,
}
REQUIRED = {
    EvalConfig: ["--model=m"],
    PredictConfig: ["--model=m"],
    ExportConfig: ["--model=m", "--export_dir=e"],
    DemoConfig: ["--model=m"],
}


def parse(config_class, *arguments):
    values = flags.FlagValues()
    DEFINERS[config_class](values)
    values(["program", *arguments])
    return cli.config_from_flags(config_class, values)


def field_names(config_class):
    for field in dataclasses.fields(config_class):
        if dataclasses.is_dataclass(field.default):
            yield from field_names(type(field.default))
        else:
            yield field.name


@pytest.mark.parametrize("config_class", DEFINERS)
def test_flag_names_equal_field_names(config_class):
    values = flags.FlagValues()
    DEFINERS[config_class](values)
    assert sorted(values) == sorted(field_names(config_class))


@pytest.mark.parametrize("config_class", [TrainConfig, DoctorConfig])
def test_a_bare_parse_equals_the_default_config(config_class):
    assert parse(config_class) == config_class()


@pytest.mark.parametrize("config_class", [EvalConfig, PredictConfig, ExportConfig, DemoConfig])
def test_a_parse_of_the_required_flags_changes_nothing_else(config_class):
    parsed = parse(config_class, *REQUIRED[config_class])
    section = getattr(parsed, "run", parsed)
    assert section.model == "m"
    reset = dataclasses.replace(section, model=None)
    if config_class is ExportConfig:
        reset = dataclasses.replace(reset, export_dir=None)
    assert reset == type(section)()


@pytest.mark.parametrize("config_class", [EvalConfig, PredictConfig, ExportConfig, DemoConfig])
def test_a_missing_required_flag_is_named(config_class):
    with pytest.raises(UserError, match="--model is required"):
        parse(config_class)


def test_a_push_needs_a_run_and_nothing_else():
    with pytest.raises(UserError, match="--model_dir is required"):
        parse(PushConfig)
    assert parse(PushConfig, "--model_dir=runs/x") == PushConfig(model_dir="runs/x")


def test_masks_on_disk_need_no_model():
    assert parse(EvalConfig, "--predictions=masks").run.predictions == "masks"


def test_values_of_every_kind():
    config = parse(
        TrainConfig,
        "--image_size=288,384",
        "--crop_size=192",
        "--random_scale=0.6,1.2",
        "--gradient_clip_norm=none",
        "--noexport",
        "--lr_schedule=piecewise",
        "--lr_boundaries=100,200",
        "--lr_values=1e-3,1e-4,1e-5",
        "--train_steps=300",
    )
    assert config.data.image_size == (288, 384)
    assert config.train_data.crop_size == (192, 192)
    assert config.train_data.random_scale == (0.6, 1.2)
    assert config.training.gradient_clip_norm is None
    assert config.run.export is False
    assert config.training.lr_boundaries == (100, 200)
    assert config.training.lr_values == (1e-3, 1e-4, 1e-5)
    assert config.training.train_steps == 300
    assert parse(PredictConfig, "--model=m", "--outputs=ids, masks").outputs == ("ids", "masks")


def test_one_number_is_a_square_size_but_no_range():
    assert parse(TrainConfig, "--image_size=64").data.image_size == (64, 64)
    assert parse(TrainConfig, "--profile_steps=3,7").run.profile_steps == (3, 7)
    with pytest.raises(UserError, match="--profile_steps=3 must be first,last"):
        parse(TrainConfig, "--profile_steps=3")


@pytest.mark.parametrize("argument", ["--epochs=many", "--image_size=a,b", "--epoch=3"])
def test_absl_refuses_values_of_another_type_and_unknown_flags(argument):
    with pytest.raises(flags.Error):
        parse(TrainConfig, argument)


def test_flagfile_repeats_the_run(tmp_path):
    config = TrainConfig(
        training=TrainingConfig(
            gradient_clip_norm=None,
            learning_rate=1e-3,
            deterministic=True,
            class_weights="traffic light=2.5,road=0",
            label_smoothing=0.1,
        )
    )
    file = tmp_path / "train.flags"
    file.write_text(serialization.flagfile_text(config, "python -m tfseg.train --flagfile=..."))
    assert parse(TrainConfig, f"--flagfile={file}") == config
    assert "--model_dir" not in file.read_text().split("\n", 1)[1]


def test_a_repetition_does_not_replace_what_the_run_has_uploaded(tmp_path):
    config = TrainConfig(hub=HubConfig(push_to_hub=True, hub_model_id="anna/x", hub_private=True))
    file = tmp_path / "train.flags"
    file.write_text(serialization.flagfile_text(config, "python -m tfseg.train --flagfile=..."))
    assert parse(TrainConfig, f"--flagfile={file}") == TrainConfig()


def test_a_later_flag_wins_over_the_flagfile(tmp_path):
    file = tmp_path / "train.flags"
    file.write_text("# three\n--epochs=3\n")
    assert parse(TrainConfig, f"--flagfile={file}", "--epochs=4").training.epochs == 4
