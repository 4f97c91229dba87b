"""The weights of `--class_weights`: from `road=1,pole=5` to a number for each class."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from tfseg.errors import UserError, nearest_name

# A name may hold commas and equal signs, as ADE20K's "screen door, screen" does; a weight may not.
_PAIR = re.compile(r"(?P<name>.+?)=(?P<weight>[^,=]*)(?:,|$)")


def parse(text: str) -> dict[str, float]:
    """Returns class name -> weight.

    >>> parse("road=1,pole=2.5")
    {'road': 1.0, 'pole': 2.5}

    Raises:
        UserError: The text is not `class=weight` pairs, a class comes twice, or a weight is no
            finite number of at least 0.
    """
    pairs = _PAIR.findall(text)
    if not pairs or _PAIR.sub("", text):
        raise UserError(
            f"--class_weights={text} must be class=weight pairs with commas between them, "
            "e.g. road=1,pole=5"
        )
    weights = {}
    for name, weight in ((name.strip(), weight.strip()) for name, weight in pairs):
        if name in weights:
            raise UserError(f"--class_weights={text} holds {name!r} twice; each class once")
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


def by_class(text: str | None, names: Sequence[str]) -> tuple[float, ...] | None:
    """Returns the weight of each class in the order of `names`, 1 where `text` does not name it.

    Args:
        text: As `parse` takes it, or None.
        names: The data set's classes.

    Returns:
        `len(names)` weights, or None for None.

    Raises:
        UserError: `parse` raises it, `text` names a class that `names` does not hold, or every
            weight is 0.
    """
    if text is None:
        return None
    given = parse(text)
    for name in given:
        if name not in names:
            hint = nearest_name(name, names)
            raise UserError(
                f"--class_weights names the class {name!r}, which the data set does not have"
                f"{hint} (allowed: {', '.join(names)})"
            )
    weights = tuple(given.get(name, 1.0) for name in names)
    if not any(weights):
        raise UserError(
            f"--class_weights={text} gives every class the weight 0; at least one must be above 0"
        )
    return weights
