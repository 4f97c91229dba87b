"""Where the messages of tfseg itself go: to standard output, one plain line each."""

from __future__ import annotations

import logging
import sys


def print_to_stdout() -> None:
    """Prints what the package logs from INFO on, without the prefix of absl's log."""
    logger = logging.getLogger("tfseg")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler(sys.stdout))
    logger.propagate = False
