"""Writing files so that a kill leaves the old file or the new one, locally and on `gs://`."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator

from etils import epath


@contextlib.contextmanager
def replacing(path: epath.PathLike) -> Iterator[epath.Path]:
    """Yields a temporary name beside `path`; a file or folder written there is renamed at the end.

    An exception removes what was written and leaves `path` as it was. A folder that exists at
    `path` is not replaced.

    Raises:
        FileExistsError: `path` is a folder that exists.
    """
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"
    try:
        yield temporary
        if path.is_dir():
            raise FileExistsError(f"{path} exists and is not overwritten")
        temporary.replace(path)
    except BaseException:
        if temporary.is_dir():
            temporary.rmtree()
        else:
            temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: epath.PathLike, content: bytes | str) -> None:
    """Writes `content` to `path` under a temporary name, then renames."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def remove_leftovers(folder: epath.PathLike) -> None:
    """Removes temporary files of `replacing` that a killed process left in a folder."""
    folder = epath.Path(folder)
    for path in folder.glob(".*.tmp") if folder.is_dir() else ():
        if path.is_dir():
            path.rmtree()
        else:
            path.unlink(missing_ok=True)
