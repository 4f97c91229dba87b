"""The exception for mistakes that a user can repair."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in the user's input, with a message of one line that names the flag to repair it.

    The entry points print the line and exit with code 1. They do not catch other errors of Python
    code, so a bug shows its traceback.
    """


def nearest_name(name: str, allowed: Iterable[str]) -> str:
    """Returns `", did you mean 'x'?"` for the most similar allowed name, or an empty string."""
    matches = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return f", did you mean {matches[0]!r}?" if matches else ""
