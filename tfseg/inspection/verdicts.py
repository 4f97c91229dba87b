"""Verdicts that are remembered, so that a training can say what is known about its data.

They depend on the digests of both splits, on the classes and on --on_bad_example.
"""

from __future__ import annotations

from tfseg.data import remembered
from tfseg.data.labels import LabelSpec

_KIND = "doctor"


def remember(
    verdict: str, train: str, evaluation: str, labels: LabelSpec, on_bad_example: str
) -> None:
    """Keeps a verdict.

    Args:
        verdict: One line.
        train: Digest of the training split.
        evaluation: Digest of the eval split.
        labels: The data set's classes.
        on_bad_example: What a training does with bad examples, `error` or `skip`.
    """
    facts = (train, evaluation, labels.to_json(), on_bad_example)
    remembered.remember(_KIND, facts, {"verdict": verdict})


def recall(train: str, evaluation: str, labels: LabelSpec, on_bad_example: str) -> str | None:
    """Returns what `remember` kept for the same arguments, or None."""
    known = remembered.recall(_KIND, (train, evaluation, labels.to_json(), on_bad_example))
    return None if known is None else str(known.get("verdict"))
