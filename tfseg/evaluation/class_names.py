"""Whether two lists of class names hold the same classes."""

from __future__ import annotations

from collections.abc import Sequence

from tfseg.errors import UserError

_MAX_NAMED = 5


def check_same(predicted: Sequence[str], held: Sequence[str], *, model: str, dataset: str) -> None:
    """Checks that a model and a data set have the same classes, in any order.

    Args:
        predicted: The class names of the model.
        held: The class names of the data set.
        model: The flag that names the model, for the message.
        dataset: The flag that names the data set.

    Raises:
        UserError: A name is in one of the lists only. The line names the first of them.
    """
    if sorted(predicted) == sorted(held):
        return
    unknown = [name for name in predicted if name not in held]
    missing = [name for name in held if name not in predicted]
    differences = [f"{_list(names)} {where}" for names, where in (
        (unknown, "only in the model"), (missing, "only in the data set")
    ) if names]  # fmt: skip
    raise UserError(
        f"{model} predicts {len(predicted)} classes and {dataset} has {len(held)}: "
        f"{', '.join(differences)}; give the mask values the model's names with --id2label, or "
        "merge classes with --label_map"
    )


def _list(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
