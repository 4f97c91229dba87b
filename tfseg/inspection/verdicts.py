"""Verdicts that are remembered, so that a training can say what is known about its data.

They depend on the digests of both splits, on the classes, and on how a training reads examples.
"""

from __future__ import annotations

from typing import NamedTuple

from tfseg.data import remembered
from tfseg.data.labels import LabelSpec

_KIND = "doctor"


class Examples(NamedTuple):
    """What a verdict is about.

    Attributes:
        train: Digest of the training split.
        evaluation: Digest of the eval split.
        labels: The data set's classes.
        on_bad_example: What a training does with bad examples, `error` or `skip`.
        apply_exif: Whether images are turned upright.
    """

    train: str
    evaluation: str
    labels: LabelSpec
    on_bad_example: str
    apply_exif: bool


def remember(verdict: str, examples: Examples) -> None:
    """Keeps a verdict, one line."""
    remembered.remember(_KIND, _facts(examples), {"verdict": verdict})


def recall(examples: Examples) -> str | None:
    """Returns the verdict that was kept for the same examples, or None."""
    known = remembered.recall(_KIND, _facts(examples))
    return None if known is None else str(known.get("verdict"))


def _facts(examples: Examples) -> tuple[str, ...]:
    return tuple(map(str, examples._replace(labels=examples.labels.to_json())))
