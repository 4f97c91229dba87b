"""Reads the text of `--class_weights`, such as `road=1,pole=5`."""

from __future__ import annotations

import math
import re

from tfseg.errors import UserError

# A class name may contain commas and equal signs, as "screen door, screen" does; a weight may not.
_PAIR = re.compile(r"(?P<name>.+?)=(?P<weight>[^,=]*)(?:,|$)")


def parse(text: str) -> dict[str, float]:
    """Returns the weight of each class that the text names.

    >>> parse("road=1,pole=2.5")
    {'road': 1.0, 'pole': 2.5}

    Raises:
        UserError: The text is not a list of `class=weight` pairs, it names a class twice, or a
            weight is not a finite number of at least 0.
    """
    pairs = _PAIR.findall(text)
    if not pairs or _PAIR.sub("", text):
        raise UserError(
            f"--class_weights={text} must be class=weight pairs, separated by commas, "
            "e.g. road=1,pole=5"
        )
    weights = {}
    for name, weight in ((name.strip(), weight.strip()) for name, weight in pairs):
        if name in weights:
            raise UserError(f"--class_weights={text} names {name!r} twice; name each class once")
        weights[name] = _parse_weight(name, weight)
    return weights


def _parse_weight(name: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise UserError(
            f"--class_weights: the weight of {name!r} must be a number of at least 0, "
            f"received {text or 'nothing'}"
        )
    return weight
