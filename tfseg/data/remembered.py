"""What was found out about a data set before, so that not every start reads all of it again.

Each answer is a small JSON file in `$XDG_CACHE_HOME/tfseg/<kind>`, by default `~/.cache/tfseg`. Its
name is a SHA-256 of the facts on which the answer depends, so it is not found after one of them has
changed. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any

from etils import epath

from tfseg import files

_logger = logging.getLogger(__name__)


def remember(kind: str, facts: Sequence[str], content: dict[str, Any]) -> None:
    """Keeps an answer; a folder that cannot be written is no error, because it is only a cache.

    Args:
        kind: Name of the folder.
        facts: Everything on which the answer depends.
        content: The answer, of values that JSON has.
    """
    try:
        files.write_atomically(_path(kind, facts), json.dumps(content) + "\n")
    except OSError as error:
        _logger.warning("what was found out about the data is not kept: %s", error)


def recall(kind: str, facts: Sequence[str]) -> dict[str, Any] | None:
    """Returns what `remember` kept for the same facts, or None."""
    try:
        content = json.loads(_path(kind, facts).read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def state_of_files(paths: Iterable[epath.Path]) -> str | None:
    """Returns a SHA-256 of the names, sizes and times of change of files.

    Returns:
        The digest; None if a file is missing, or lies in a bucket, where asking for the state of
        each file takes about as long as reading it.
    """
    digest = hashlib.sha256()
    for path in paths:
        name = os.fspath(path)
        if not files.is_local(path):
            return None
        try:
            state = os.stat(name)
        except OSError:
            return None
        digest.update(
            f"{os.path.abspath(name)}\0{state.st_size}\0{state.st_mtime_ns}\n".encode(
                errors="surrogateescape"
            )
        )
    return digest.hexdigest()


def _path(kind: str, facts: Sequence[str]) -> epath.Path:
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return epath.Path(base) / "tfseg" / kind / f"{key[:32]}.json"
