"""Names of the examples of a split, which say which image is which outside of the data set."""

from __future__ import annotations

import os
from typing import Any

from etils import epath

from tfseg.config.sections import DataConfig
from tfseg.data.catalog import DatasetSpec
from tfseg.data.folder_layouts import IMAGE_SUFFIXES, FolderLayout
from tfseg.data.split import Split


def name_examples(split: Split, spec: DatasetSpec, config: DataConfig) -> list[str]:
    """Returns a name for each example, in the order of the split; nothing is decoded.

    In a `folder:` data set it is the path of the image below the folder of its images, without the
    suffix, so it does not depend on where the data set lies. Other sources have names of their own,
    such as a file name, or the split and the number of the row. Where two examples of a split have
    the same name, all of them are called by the split and their position.

    Args:
        split: See `pipeline.load_split`.
        spec: The data set.
        config: Its suffixes.
    """
    names = [_name_record(record, split) for record in split.records.as_numpy_iterator()]
    suffixes = IMAGE_SUFFIXES
    if spec.source == "folder":
        layout = FolderLayout(epath.Path(spec.path), config.image_suffix, config.mask_suffix)
        images = layout.find_folders(split.name).images
        names = [os.path.relpath(name, os.fspath(images)) for name in names]
        suffixes = (config.image_suffix,) if config.image_suffix else suffixes
    names = [_stay_below(_strip(name, suffixes)) for name in names]
    if len(set(names)) < len(names):  # Some TFDS data sets have the same file name in two folders.
        return [f"{split.name}_{position}" for position in range(len(names))]
    return names


def _name_record(record: Any, split: Split) -> str:
    if isinstance(record, dict):
        return record["name" if "name" in record else "image"].decode(errors="surrogateescape")
    return f"{split.name}_{record}"


def _stay_below(name: str) -> str:
    """Returns a name that, as a path, stays below any folder."""
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def _strip(name: str, suffixes: tuple[str, ...]) -> str:
    ends = (end for end in suffixes if name.lower().endswith(end.lower()))
    return name[: -len(next(ends, "")) or None]
