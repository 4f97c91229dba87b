"""Where the images and the masks of each split lie in the folder of a data set.

Two layouts are known, ADE20K's and one folder per split. `masks` may stand for `annotations`:

    images/<split>/X.jpg    annotations/<split>/X.png
    <split>/images/X.jpg    <split>/annotations/X.png
"""

from __future__ import annotations

from typing import NamedTuple

from etils import epath

IMAGES, MASKS = "images", ("annotations", "masks")


class SplitFolders(NamedTuple):
    """The folders of a split; they need not exist."""

    images: epath.Path
    masks: epath.Path


def find_splits(root: epath.Path) -> dict[str, SplitFolders]:
    """Returns the splits that have both folders, by name in alphabetical order."""
    children = [*_list_folders(root), *_list_folders(root / IMAGES)]
    splits = {path.name: split_folders(root, path.name) for path in children}
    return {
        name: folders
        for name, folders in sorted(splits.items())
        if folders.images.is_dir() and folders.masks.is_dir()
    }


def _list_folders(folder: epath.Path) -> list[epath.Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def split_folders(root: epath.Path, split: str) -> SplitFolders:
    """Returns where images and masks of a split lie, or would lie in ADE20K's layout."""
    if (root / split / IMAGES).is_dir():
        parent = root / split
        return SplitFolders(parent / IMAGES, parent / _mask_folder(parent))
    return SplitFolders(root / IMAGES / split, root / _mask_folder(root) / split)


def _mask_folder(parent: epath.Path) -> str:
    return next((name for name in MASKS if (parent / name).is_dir()), MASKS[0])
