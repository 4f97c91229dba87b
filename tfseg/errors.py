"""The one exception that a user's own input raises."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Input that a user can repair: its message is one line and names the flag that repairs it.

    Entry points print the line and exit with code 1; nothing else is caught, so a bug keeps
    its traceback.
    """


def nearest_name(name: str, allowed: Iterable[str]) -> str:
    """Returns `", did you mean 'x'?"` for the nearest allowed name, or an empty string."""
    matches = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return f", did you mean {matches[0]!r}?" if matches else ""
