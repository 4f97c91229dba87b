"""Verdicts that are remembered, so that a training can say what is known about its data.

Each is a small file in `$XDG_CACHE_HOME/tfseg/doctor`, by default `~/.cache/tfseg/doctor`. Its name
is a SHA-256 of the digests of both splits, of the classes and of --on_bad_example, so a verdict is
not found again after one of them has changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os

from etils import epath

from tfseg.data.labels import LabelSpec
from tfseg.files import write_atomically

_logger = logging.getLogger(__name__)


def remember(
    verdict: str, train: str, evaluation: str, labels: LabelSpec, on_bad_example: str
) -> None:
    """Keeps a verdict; a folder that cannot be written is no error, because it is only a cache.

    Args:
        verdict: One line.
        train: Digest of the training split.
        evaluation: Digest of the eval split.
        labels: The data set's classes.
        on_bad_example: What a training does with bad examples, `error` or `skip`.
    """
    path = _path(train, evaluation, labels, on_bad_example)
    try:
        write_atomically(path, json.dumps({"verdict": verdict}) + "\n")
    except OSError as error:
        _logger.warning("the verdict is not remembered: %s", error)


def recall(train: str, evaluation: str, labels: LabelSpec, on_bad_example: str) -> str | None:
    """Returns what `remember` kept for the same arguments, or None."""
    try:
        path = _path(train, evaluation, labels, on_bad_example)
        return str(json.loads(path.read_text())["verdict"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _path(train: str, evaluation: str, labels: LabelSpec, on_bad_example: str) -> epath.Path:
    facts = (train, evaluation, labels.to_json(), on_bad_example)
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return epath.Path(base) / "tfseg" / "doctor" / f"{key[:32]}.json"
