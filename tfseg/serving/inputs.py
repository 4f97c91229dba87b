"""Which images `tfseg.predict` segments: files, folders, globs and standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf
from etils import epath

from tfseg import files
from tfseg.data.images import IMAGE_SUFFIXES, list_images
from tfseg.errors import UserError

STDIN = "-"


class ImageInput(NamedTuple):
    """An image to segment.

    Attributes:
        path: The file; None for standard input.
        stem: Path of its results within the output folder, without their suffixes.
    """

    path: epath.Path | None
    stem: str

    def __str__(self) -> str:
        return STDIN if self.path is None else str(self.path)

    def read(self) -> bytes:
        """Returns the content of the file, or everything that standard input holds."""
        return sys.stdin.buffer.read() if self.path is None else self.path.read_bytes()


def find_inputs(
    words: Iterable[str], *, recursive: bool, output_dir: epath.PathLike
) -> list[ImageInput]:
    """Finds the images that the words of a command line stand for.

    Args:
        words: Files; folders, of which the images (`images.IMAGE_SUFFIXES`) are taken; globs such
            as `photos/**/*.jpg`, which mean what a shell would make of them; and `-`.
        recursive: Whether the folders inside the folders are searched too. Hidden ones are not,
            nor is `output_dir`, nor are folders behind symbolic links. The results of their images
            get the same folders inside the output folder.
        output_dir: The output folder.

    Returns:
        The images, without duplicates.

    Raises:
        UserError: A file or folder does not exist, a folder holds no image, or a glob matches
            nothing.
    """
    found = []
    for word in words:
        if word == STDIN:
            found.append(ImageInput(None, "stdin"))
            continue
        for path in _expand(word):
            if path.is_dir():
                found += _list_folder(path, recursive, output_dir)
            else:
                found.append(ImageInput(path, path.stem))
    return list({str(each): each for each in found}.values())


def check_targets(
    inputs: Sequence[ImageInput], folder: epath.Path, suffixes: Sequence[str]
) -> None:
    """Checks that each result has a place of its own, and that none overwrites an input.

    Args:
        inputs: The images.
        folder: The output folder.
        suffixes: Ends of the paths of an image's results.

    Raises:
        UserError: Two images would write the same file, or one would overwrite an input.
    """
    owners = {
        each.path.resolve(): f"the input {files.printable(each.path)} itself"
        for each in inputs
        if each.path is not None
    }
    for each in inputs:
        own = f"the output of {files.printable(str(each))}"
        for suffix in suffixes:
            target = epath.Path(f"{folder / each.stem}{suffix}")
            owner = owners.setdefault(target.resolve(), own)
            if owner != own:
                raise UserError(
                    f"{own} would go to {files.printable(target)}, which is {owner}: rename one "
                    "of them, or segment them with different values of --output_dir"
                )


def refuse_url(name: str) -> None:
    """Raises `UserError` if an image is named by a URL of the web."""
    if name.lower().startswith(("http://", "https://")):
        raise UserError(
            f"{files.printable(name)}: images are not fetched; download it and give the file, or "
            "pass its bytes: curl URL | python -m tfseg.predict --model=DIR -"
        )


def _expand(word: str) -> list[epath.Path]:
    refuse_url(word)
    path = epath.Path(word)
    if path.exists():
        return [path]
    if not glob.has_magic(word):
        raise UserError(f"{files.printable(word)}: no such file or folder")
    pattern = os.path.expanduser(word)
    is_local = files.is_local(pattern)
    matches = glob.glob(pattern, recursive=True) if is_local else tf.io.gfile.glob(pattern)
    if not matches:
        raise UserError(f"{files.printable(word)} matches no file or folder")
    return [epath.Path(match) for match in sorted(matches)]


def _list_folder(
    folder: epath.Path, recursive: bool, output_dir: epath.PathLike
) -> list[ImageInput]:
    places = _walk(folder, output_dir) if recursive else [(folder, "")]
    found = [
        ImageInput(path, os.path.join(inner, path.stem))
        for place, inner in places
        for path in list_images(place)
    ]
    if not found:
        hint = "" if recursive else "; --recursive searches the folders inside it too"
        raise UserError(
            f"{files.printable(folder)} holds no image (looked for {', '.join(IMAGE_SUFFIXES)}"
            f"{hint})"
        )
    return found


def _walk(folder: epath.Path, output_dir: epath.PathLike) -> Iterator[tuple[epath.Path, str]]:
    """Yields the folder and the folders inside it, each with its path from `folder`."""
    avoided = epath.Path(output_dir).expanduser().resolve()
    walk = os.walk if files.is_local(folder) else tf.io.gfile.walk
    for place, names, _ in walk(os.fspath(folder), onerror=_raise):
        kept = [name for name in names if not name.startswith(".")]
        names[:] = sorted(name for name in kept if (epath.Path(place) / name).resolve() != avoided)
        yield epath.Path(place), place[len(os.fspath(folder)) :].strip("/")


def _raise(error: Exception) -> None:
    raise error
