"""Configurations as JSON and flagfiles, and the differences between two of them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tfseg.config.commands import TrainConfig
from tfseg.config.validation import join
from tfseg.errors import UserError

# Runs of earlier versions lack this section; they resume with its defaults.
_LATER_SECTIONS = {"hub": {}}


def to_json(config: Any) -> str:
    """Returns the configuration as indented JSON with one object per section."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def train_config_from_json(text: str) -> TrainConfig:
    """Rebuilds a `TrainConfig` from the text that `to_json` returned.

    Raises:
        UserError: The text is not such JSON, or it has an unknown field.
    """
    try:
        values = {**_LATER_SECTIONS, **json.loads(text)}
        sections = {
            section.name: type(section.default)(
                **{key: _as_tuple(value) for key, value in values[section.name].items()}
            )
            for section in dataclasses.fields(TrainConfig)
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"not a configuration that this version of tfseg wrote: {error}; "
            "choose another --model_dir"
        ) from error
    return TrainConfig(**sections)


def changed_fields(old: TrainConfig, new: TrainConfig) -> list[str]:
    """Returns `"--name=old, now new"` for each change that a resumed run must not make."""
    changes = []
    for section in dataclasses.fields(TrainConfig):
        old_section, new_section = getattr(old, section.name), getattr(new, section.name)
        for field in dataclasses.fields(old_section):
            before, after = getattr(old_section, field.name), getattr(new_section, field.name)
            if before != after and not field.metadata.get("resumable"):
                changes.append(f"--{field.name}={format_value(before)}, now {format_value(after)}")
    return changes


def flagfile_text(config: TrainConfig, command: str) -> str:
    """Returns a flagfile that repeats a run in another folder.

    Args:
        config: The resolved configuration. The flagfile omits the fields that name the folder,
            and those on the Hub: a repetition must not replace what the run has uploaded.
        command: The command that the first line of the flagfile states.
    """
    lines = [f"# Repeats this run: {command}"]
    for section in dataclasses.fields(config):
        values = getattr(config, section.name)
        for field in dataclasses.fields(values):
            if section.name == "hub" or field.name in ("model_dir", "resume"):
                continue
            value = getattr(values, field.name)
            if value is not None and value != ():
                lines.append(f"--{field.name}={format_value(value)}")
            elif field.default is not None and value is None:
                lines.append(f"--{field.name}=none")
    return "\n".join(lines) + "\n"


def format_value(value: Any) -> str:
    """Returns a value as its flag accepts it: lists with commas, booleans in lower case."""
    if isinstance(value, tuple):
        return join(value)
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
