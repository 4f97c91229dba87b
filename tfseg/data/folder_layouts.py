"""Where the images and the masks of each split lie in the folder of a data set.

Known are a folder per kind, a folder per split, and lists of names as Pascal VOC has them:

    images/<split>/X.jpg    annotations/<split>/X.png
    <split>/images/X.jpg    <split>/masks/X.png
    images/X.jpg            masks/X.png            names in <split>.txt, or all in split `train`

Instead of `images` and `masks` the folders may have the other names of `IMAGES` and `MASKS`.
Folders inside them belong to the names: `<city>/X`. Where --mask_suffix tells masks from images,
both may also lie side by side:

    <split>/X.jpg           <split>/X_mask.png
    X.jpg                   X_mask.png             names in <split>.txt, or all in split `train`
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from etils import epath

IMAGES = ("images", "JPEGImages", "leftImg8bit", "img")
MASKS = ("annotations", "masks", "SegmentationClass", "gtFine", "labels")
_LIST_FOLDERS = ("", "ImageSets/Segmentation")
WHOLE = "train"  # the name of all examples, if nothing divides them
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
MASK_SUFFIXES = (".png",)  # lossless; JPEG would change the values


class SplitFolders(NamedTuple):
    """Where a split lies, whether or not it exists.

    Attributes:
        images: Folder of the images.
        masks: Folder of the masks.
        list_file: File that lists the names of the split; None if all in the folders belong to it.
    """

    images: epath.Path
    masks: epath.Path
    list_file: epath.Path | None = None


@dataclasses.dataclass(frozen=True)
class FolderLayout:
    """The folder of a data set, and the ends of the names of its files.

    Attributes:
        root: The folder.
        image_suffix: End of the names of the images, e.g. `_leftImg8bit.png`; by default any of
            `IMAGE_SUFFIXES`.
        mask_suffix: End of the names of the masks, e.g. `_mask.png`; by default `.png`.
    """

    root: epath.Path
    image_suffix: str | None = None
    mask_suffix: str | None = None

    def find_splits(self) -> list[str]:
        """Returns the names of the splits, in alphabetical order."""
        parents = (self.root, *(self.root / name for name in IMAGES))
        names = {path.name for parent in parents for path in _list_folders(parent)}
        for folder in _LIST_FOLDERS:
            names |= {path.stem for path in _list_folder(self.root / folder) if _is_list(path)}
        names -= {*IMAGES, *MASKS}
        return [name for name in sorted({*names, WHOLE}) if self._has(name)]

    def _has(self, split: str) -> bool:
        folders = self.find_folders(split)
        return folders.images.is_dir() and folders.masks.is_dir()

    def find_folders(self, split: str) -> SplitFolders:
        """Returns where a split lies, or would lie in ADE20K's layout."""
        images, masks = (_existing(self.root, names) for names in (IMAGES, MASKS))
        own = SplitFolders(*(_existing(self.root / split, names) for names in (IMAGES, MASKS)))
        divided = SplitFolders(images / split, masks / split)
        beside = SplitFolders(self.root / split, self.root / split)
        for folders in (own, divided, *([beside] if self.mask_suffix else [])):
            if folders.images.is_dir():
                return folders
        lists = [self.root / folder / f"{split}.txt" for folder in _LIST_FOLDERS]
        list_file = next((path for path in lists if path.exists()), None)
        for folders in ((images, masks), *([(self.root, self.root)] if self.mask_suffix else [])):
            is_whole = split == WHOLE and _holds_files(folders[0])
            if folders[0].is_dir() and (list_file or is_whole):
                return SplitFolders(*folders, list_file)
        return divided

    def list_images(self, folders: SplitFolders) -> dict[str, epath.Path]:
        """Returns all images of the folder by name, in the order of their paths.

        A name is the path below the folder without the suffix.
        """
        suffixes = (self.image_suffix,) if self.image_suffix else IMAGE_SUFFIXES
        found = _list_names(folders.images, suffixes)
        if folders.images == folders.masks and self.mask_suffix:
            masks = set(self.list_masks(folders).values())
            found = {name: path for name, path in found.items() if path not in masks}
        return found

    def list_masks(self, folders: SplitFolders) -> dict[str, epath.Path]:
        """Returns the masks by name, as `list_images` does."""
        suffixes = (self.mask_suffix,) if self.mask_suffix else MASK_SUFFIXES
        return _list_names(folders.masks, suffixes)

    def expected_mask(self, folders: SplitFolders, name: str) -> epath.Path:
        """Returns where the mask of an image would lie."""
        return folders.masks / f"{name}{self.mask_suffix or MASK_SUFFIXES[0]}"


def read_list(list_file: epath.Path, known: dict[str, epath.Path]) -> tuple[list[str], list[str]]:
    """Returns the names of a split that its list gives, and the lines that name no known image.

    A line holds a name or a file name, with or without its folder, and may go on behind a space, as
    the lists of Oxford-IIIT Pet do.
    """
    by_line = {line: name for name, path in known.items() for line in _spellings(name, path)}
    lines = [line.strip() for line in list_file.read_text().splitlines()]
    found, unknown = set(), []
    for line in filter(None, lines):
        name = by_line.get(line) or by_line.get(line.split()[0])
        found.add(name) if name else unknown.append(line)
    return sorted(found), unknown


def _spellings(name: str, path: epath.Path) -> tuple[str, ...]:
    return path.name, name.rsplit("/", 1)[-1], f"{name}{path.suffix}", name


def _list_names(folder: epath.Path, suffixes: tuple[str, ...]) -> dict[str, epath.Path]:
    found = {}
    for path, below in _walk(folder, ""):
        suffix = next((end for end in suffixes if path.name.lower().endswith(end.lower())), None)
        if suffix is not None:
            found[below + path.name[: -len(suffix)]] = path
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _walk(folder: epath.Path, below: str):
    """Yields the files of a folder and of those inside it; hidden ones, as `._X.jpg`, do not count.

    A folder whose name ends like an image is yielded as a file, which then cannot be read.
    """
    for path in _list_folder(folder):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in IMAGE_SUFFIXES and path.is_dir():
            yield from _walk(path, f"{below}{path.name}/")
        else:
            yield path, below


def _is_list(path: epath.Path) -> bool:
    return path.suffix == ".txt"


def _list_folder(folder: epath.Path) -> list[epath.Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _list_folders(folder: epath.Path) -> list[epath.Path]:
    return [path for path in _list_folder(folder) if path.is_dir()]


def _holds_files(folder: epath.Path) -> bool:
    names = (path.name.lower() for path in _list_folder(folder))
    return any(name.endswith(IMAGE_SUFFIXES) and not name.startswith(".") for name in names)


def _existing(parent: epath.Path, names: tuple[str, ...]) -> epath.Path:
    return parent / next((name for name in names if (parent / name).is_dir()), names[0])
