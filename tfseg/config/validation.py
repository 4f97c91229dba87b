"""Fields that state their own checks: what a configuration value may be, and what to say if not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfseg.errors import UserError, nearest_name

SIZE_MULTIPLE = 32  # SegFormer's coarsest feature map is 1/32 of the image.


def option(default: Any, help: str, **checks: Any) -> Any:
    """A dataclass field that is a flag: `help` states meaning and unit.

    Checks: `choices`, `minimum`, `above` (exclusive minimum), `maximum`, `below` (exclusive
    maximum). `resumable=True` marks a field that may change between a run and its resumption.
    """
    return dataclasses.field(default=default, metadata={"help": help, **checks})


def check_fields(config: Any) -> None:
    """Checks each field of a config dataclass against its own metadata.

    Raises:
        UserError: A value that is not allowed, with the flag's name and what is allowed.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is None:
            continue
        for part in value if isinstance(value, tuple) else (value,):
            _check_value(field.name, part, field.metadata)


def _check_value(name: str, value: Any, checks: Mapping[str, Any]) -> None:
    choices = checks.get("choices")
    if choices and value not in choices:
        hint = nearest_name(str(value), choices)
        raise UserError(f"--{name}={value} is unknown{hint} (allowed: {', '.join(choices)})")
    if "minimum" in checks and value < checks["minimum"]:
        raise UserError(f"--{name} must be at least {checks['minimum']}, received {value}")
    if "above" in checks and not value > checks["above"]:
        raise UserError(f"--{name} must be above {checks['above']}, received {value}")
    if "maximum" in checks and value > checks["maximum"]:
        raise UserError(f"--{name} must be at most {checks['maximum']}, received {value}")
    if "below" in checks and not value < checks["below"]:
        raise UserError(f"--{name} must be below {checks['below']}, received {value}")


def check_size(name: str, size: tuple[int, int] | None) -> None:
    """Raises `UserError` unless `size` is two positive multiples of 32, or None."""
    if size is None:
        return
    if len(size) != 2:
        raise UserError(f"--{name} takes height,width or one number, received {join(size)}")
    if any(length < 1 or length % SIZE_MULTIPLE for length in size):
        nearest = (max(1, round(length / SIZE_MULTIPLE)) * SIZE_MULTIPLE for length in size)
        raise UserError(
            f"--{name} must be multiples of {SIZE_MULTIPLE}, received {join(size)}; "
            f"the nearest is --{name}={join(nearest)}"
        )


def check_piecewise(training: Any) -> None:
    """Raises `UserError` unless a `TrainingConfig`'s fields describe one piecewise schedule."""
    if training.learning_rate is not None or training.warmup_steps is not None:
        raise UserError(
            "--learning_rate and --warmup_steps have no effect with --lr_schedule=piecewise; "
            "--lr_values holds its rates"
        )
    boundaries, values = training.lr_boundaries, training.lr_values
    if not boundaries or len(values) != len(boundaries) + 1:
        raise UserError(
            "--lr_schedule=piecewise needs one more --lr_values than --lr_boundaries, "
            f"received {len(values)} values and {len(boundaries)} boundaries"
        )
    if list(boundaries) != sorted(set(boundaries)):
        raise UserError(f"--lr_boundaries must rise, received {join(boundaries)}")


def require(config: Any) -> None:
    """Raises `UserError` if a field marked as required has no value."""
    for field in dataclasses.fields(config):
        if field.metadata.get("required") and getattr(config, field.name) is None:
            raise UserError(f"--{field.name} is required: {field.metadata['help']}")


def join(values: Any) -> str:
    """Returns the values separated by commas, as flags take them."""
    return ",".join(str(value) for value in values)
