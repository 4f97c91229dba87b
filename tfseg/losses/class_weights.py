"""Class weights of the loss, in the order of the class ids."""

from __future__ import annotations

from collections.abc import Sequence

from tfseg.config import class_weights
from tfseg.errors import UserError, nearest_name


def by_class(text: str | None, names: Sequence[str]) -> tuple[float, ...] | None:
    """Returns the weight of each class in the order of `names`.

    Args:
        text: Weights by class name, in the format of `config.class_weights.parse`, or None.
        names: Class names of the data set; the position is the class id.

    Returns:
        `len(names)` weights. A class that `text` does not name has weight 1. None if `text` is
        None.

    Raises:
        UserError: `text` is malformed, it names a class that the data set does not have, or every
            weight is 0.
    """
    if text is None:
        return None
    given = class_weights.parse(text)
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
