"""Flags from the configuration dataclasses, and configurations from parsed flags."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from absl import flags

from tfseg.cli import parsers
from tfseg.config import (
    commands,
    hub_section,
    sections,
    train_data_section,
    training_sections,
    validation,
)

# absl groups flags by the name of the module that defines them; here the section takes its place.
HEADINGS = {
    sections.DataConfig: "data",
    train_data_section.TrainDataConfig: "training data",
    sections.ModelConfig: "model",
    training_sections.TrainingConfig: "training",
    training_sections.RunConfig: "run",
    hub_section.HubConfig: "hub",
    commands.DoctorRunConfig: "run",
    commands.EvalRunConfig: "run",
    commands.PredictConfig: "prediction",
    commands.ExportConfig: "export",
    commands.DemoConfig: "demo",
    commands.PushConfig: "push",
}


def define_train_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each field of the sections of `TrainConfig`."""
    _define(commands.TrainConfig, flag_values)


def define_doctor_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each field of the sections of `DoctorConfig`."""
    _define(commands.DoctorConfig, flag_values)


def define_eval_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each field of the sections of `EvalConfig`."""
    _define(commands.EvalConfig, flag_values)


def define_predict_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each field of `PredictConfig`."""
    _define(commands.PredictConfig, flag_values)


def define_export_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each field of `ExportConfig`."""
    _define(commands.ExportConfig, flag_values)


def define_demo_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each field of `DemoConfig`."""
    _define(commands.DemoConfig, flag_values)


def define_push_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each field of `PushConfig`."""
    _define(commands.PushConfig, flag_values)


def config_from_flags(config_class: type, flag_values: flags.FlagValues = flags.FLAGS) -> Any:
    """Builds a `config_class` from parsed flags.

    Raises:
        UserError: A value is not allowed, or a required flag is missing.
    """
    if config_class not in HEADINGS:
        return config_class(
            **{
                field.name: config_from_flags(type(field.default), flag_values)
                for field in dataclasses.fields(config_class)
            }
        )
    names = [field.name for field in dataclasses.fields(config_class)]
    config = config_class(**{name: parsers.value_of(flag_values[name]) for name in names})
    validation.require(config)
    return config


def _define(config_class: type, flag_values: flags.FlagValues) -> None:
    if config_class not in HEADINGS:
        for section in dataclasses.fields(config_class):
            _define(type(section.default), flag_values)
        return
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        keywords = {"flag_values": flag_values, "module_name": HEADINGS[config_class]}
        _define_one(field, hints[field.name], _help_text(field.metadata), keywords)


def _define_one(
    field: dataclasses.Field, hint: Any, help_text: str, keywords: dict[str, Any]
) -> None:
    types_allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if types_allowed[0] is bool:
        flags.DEFINE_boolean(field.name, field.default, help_text, **keywords)
        return
    # By default None means that the flag was omitted; only another default needs a word for None.
    accepts_none = type(None) in types_allowed and field.default is not None
    parser, serializer = parsers.parser_for(types_allowed[0], accepts_none=accepts_none)
    flags.DEFINE(parser, field.name, field.default, help_text, serializer=serializer, **keywords)


def _help_text(metadata: Mapping[str, Any]) -> str:
    """Returns what a flag does, what it allows, and its default if None or () stands for it."""
    parts = [metadata["help"], validation.describe_checks(metadata)]
    if metadata["default_text"]:
        parts.append(f"default: {metadata['default_text']}")
    if metadata.get("required"):
        parts.append("required")
    return "; ".join(part for part in parts if part)
