"""Configuration fields that state their own checks, and the error messages of these checks."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping
from typing import Any

from tfseg.config.defaults import SIZE_MULTIPLE
from tfseg.errors import UserError, nearest_name

# For each kind of bound: the words of messages, and the comparison that a value must pass.
_BOUNDS = {
    "minimum": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "maximum": ("at most", operator.le),
    "below": ("below", operator.lt),
}


def option(default: Any, help: str, *, default_text: str | None = None, **checks: Any) -> Any:
    """Returns a dataclass field that is also a flag.

    Args:
        default: Value of the field if the flag is omitted.
        help: What the flag does, then its unit.
        default_text: What happens by default, for a default of None or (), which says nothing.
        **checks: `choices`, `minimum`, `above` (exclusive minimum), `maximum`, `below` (exclusive
            maximum) and `required=True`, which `unless` a field named there has a value.
            `resumable=True` marks a field that may differ between a
            run and its continuation.
    """
    metadata = {"help": help, "default_text": default_text, **checks}
    return dataclasses.field(default=default, metadata=metadata)


def describe_checks(checks: Mapping[str, Any]) -> str:
    """Returns which values a field allows, from its metadata; "" if it allows every value.

    >>> describe_checks({"minimum": 0.0, "maximum": 1.0})
    'at least 0.0 and at most 1.0'
    """
    if "choices" in checks:
        return f"one of {', '.join(checks['choices'])}"
    bounds = ((words, checks[key]) for key, (words, _) in _BOUNDS.items() if key in checks)
    return " and ".join(f"{words} {bound}" for words, bound in bounds)


def check_fields(config: Any) -> None:
    """Checks each field of a configuration against the field's own metadata.

    Raises:
        UserError: A value is not allowed; the message names the flag and the allowed values.
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
    for key, (words, is_allowed) in _BOUNDS.items():
        if key in checks and not is_allowed(value, checks[key]):
            raise UserError(f"--{name} must be {words} {checks[key]}, received {value}")


def check_size(name: str, size: tuple[int, int] | None) -> None:
    """Raises `UserError` unless `size` is None or two positive multiples of `SIZE_MULTIPLE`."""
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


def check_range(
    name: str, values: tuple[float, ...], example: str, *, names: str = "smallest,largest"
) -> None:
    """Raises `UserError` unless `values` are two numbers in ascending order."""
    if len(values) != 2 or values[0] > values[1]:
        raise UserError(f"--{name}={join(values)} must be {names}, e.g. {example}")


def check_piecewise(training: Any) -> None:
    """Raises `UserError` unless the fields of a `TrainingConfig` describe a piecewise schedule."""
    if training.learning_rate is not None or training.warmup_steps is not None:
        raise UserError(
            "--learning_rate and --warmup_steps have no effect with --lr_schedule=piecewise; "
            "--lr_values holds its learning rates"
        )
    boundaries, values = training.lr_boundaries, training.lr_values
    if not boundaries or len(values) != len(boundaries) + 1:
        raise UserError(
            "--lr_schedule=piecewise needs one more --lr_values than --lr_boundaries, "
            f"received {len(values)} values and {len(boundaries)} boundaries"
        )
    if list(boundaries) != sorted(set(boundaries)):
        raise UserError(f"--lr_boundaries must be in ascending order, received {join(boundaries)}")


def require(config: Any) -> None:
    """Raises `UserError` if a required field has no value."""
    for field in dataclasses.fields(config):
        instead = field.metadata.get("unless")
        if instead and getattr(config, instead) is not None:
            continue
        if field.metadata.get("required") and getattr(config, field.name) is None:
            hint = f" (or --{instead})" if instead else ""
            raise UserError(f"--{field.name} is required{hint}: {field.metadata['help']}")


def join(values: Any) -> str:
    """Returns the values separated by commas, as a flag accepts them."""
    return ",".join(str(value) for value in values)
