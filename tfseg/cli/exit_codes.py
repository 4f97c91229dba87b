"""Turns mistakes of a user, a full disk and Ctrl-C into one line and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tfseg.errors import UserError

# No space left, quota used up, file too large for the file system or for the process's limit.
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_INTERRUPTED = 130  # the shells' code for a program that Ctrl-C ended


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Prints expected errors as one line and exits; any other error keeps its traceback.

    Exit code 1 stands for a `UserError`, missing permission or a full disk, 130 for Ctrl-C.
    """
    try:
        yield
    except UserError as error:
        _fail(str(error))
    except PermissionError as error:
        _fail(f"{error.filename or error}: permission denied")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if not _is_full_disk(error):
            raise
        _fail(f"cannot write any more: {error}; all files that were saved before are complete")


def _is_full_disk(error: Exception) -> bool:
    """Returns whether the disk is full; TensorFlow's own errors tell it by their text only."""
    reasons = [os.strerror(code) for code in _FULL_DISK]
    is_numbered = isinstance(error, OSError) and error.errno in _FULL_DISK
    return is_numbered or any(reason in str(error) for reason in reasons)


def _fail(message: str) -> None:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(1)
