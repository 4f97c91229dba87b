"""A folder as it is now, held fast while it is uploaded."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from etils import epath

from tfseg import files


def take(folder: epath.PathLike) -> Path:
    """Returns a new local folder with the files that `folder` holds now.

    tfseg never changes a file but renames another one into its place, so on a local disk hard links
    keep the old content at no cost. They stand beside `folder`, under a name that the next start of
    the run clears up if this process is killed. Files elsewhere, and those beside which nothing may
    be written, are copied to the folder for temporary files.

    Args:
        folder: Local or `gs://` folder; what lies deeper in it is left out.

    Raises:
        OSError: A file cannot be read, or the disk is full.
    """
    folder = epath.Path(folder)
    target = _make_target(folder)
    try:
        for path in folder.iterdir():
            if path.is_file() and not files.is_temporary(path):
                _link_or_copy(path, target / path.name)
    except BaseException:
        discard(target)
        raise
    return target


def _make_target(folder: epath.Path) -> Path:
    if files.is_local(folder):
        target = Path(os.fspath(files.temporary_beside(folder)))
        with contextlib.suppress(OSError):  # The run of somebody else may only be read.
            target.mkdir()
            return target
    return Path(tempfile.mkdtemp(prefix="tfseg-"))


def _link_or_copy(path: epath.Path, target: Path) -> None:
    if files.is_local(path):
        with contextlib.suppress(OSError):  # Some file systems have no hard links.
            os.link(path, target)
            return
    path.copy(target)


def discard(target: Path) -> None:
    """Removes a folder of `take`."""
    shutil.rmtree(target, ignore_errors=True)
