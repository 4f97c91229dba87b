"""Writes files so that a kill leaves the old file or the new one, locally and on `gs://`."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterator

from etils import epath

from tfseg.errors import UserError

# The suffix is tfseg's own, so that clearing up never takes a user's file for a leftover.
_TEMPORARY_NAME = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tfseg-tmp", re.DOTALL)


@contextlib.contextmanager
def replacing(path: epath.PathLike) -> Iterator[epath.Path]:
    """Yields a temporary path beside `path`; at the end it is renamed to `path`.

    Write a file or a folder to the temporary path. On a local disk its content is flushed to the
    disk before the rename, and the rename itself after it, so that a power cut leaves the old
    content or the new one, too. If an exception is raised inside the block, the temporary path is
    removed and `path` stays as it was. An existing folder is never replaced.

    Args:
        path: File or folder to write; missing parent folders are created.

    Raises:
        FileExistsError: `path` is an existing folder.
    """
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        yield temporary
        if path.is_dir():
            raise FileExistsError(f"{path} exists and is not overwritten")
        if is_local(path):
            _flush_to_disk(temporary)
        temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise
    if is_local(path):
        _flush_one(path.parent)


def temporary_beside(path: epath.PathLike) -> epath.Path:
    """Returns a new name beside `path`, by which `remove_leftovers` knows it again."""
    path = epath.Path(path)
    return path.parent / f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tfseg-tmp"


def is_temporary(path: epath.PathLike) -> bool:
    """Whether a path has a name of `temporary_beside`."""
    return _TEMPORARY_NAME.fullmatch(epath.Path(path).name) is not None


def write_atomically(path: epath.PathLike, content: bytes | str) -> None:
    """Writes `content` to a temporary file beside `path` and renames it, see `replacing`."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def remove_leftovers(folder: epath.PathLike) -> None:
    """Removes the temporary files and folders of `replacing` that a killed process left behind.

    Args:
        folder: Only its direct entries are looked at; the folder may be missing.
    """
    folder = epath.Path(folder)
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_temporary(path):
            _remove(path)


def _remove(path: epath.Path) -> None:
    if path.is_dir():
        path.rmtree()
    else:
        path.unlink(missing_ok=True)


def make_folder(path: str, flag: str) -> epath.Path:
    """Returns a folder, which is created if it is missing.

    Args:
        path: The folder; `~` is the user's home.
        flag: Name of the flag that says it, for the error.

    Raises:
        UserError: It cannot be created.
    """
    folder = epath.Path(path).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--{flag}={path} cannot be created: {error.strerror}") from error
    return folder


def is_local(path: epath.PathLike) -> bool:
    """Whether a path is on a local disk, and not in a bucket such as `gs://`."""
    return "://" not in os.fspath(path)


def _flush_to_disk(path: epath.Path) -> None:
    """Flushes a local file, or a folder with everything in it."""
    for folder, _, names in os.walk(path):
        for name in names:
            _flush_one(os.path.join(folder, name))
        _flush_one(folder)
    if not path.is_dir():
        _flush_one(path)


def _flush_one(path: epath.PathLike) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some network file systems cannot flush folders; a file must reach the disk.
        if not os.path.isdir(path):
            raise
    finally:
        os.close(descriptor)


def printable(path: epath.PathLike) -> str:
    r"""Returns a path for a message of one line.

    Line breaks and other characters that cannot be printed become escapes, such as `\n`.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in os.fspath(path)
    )
