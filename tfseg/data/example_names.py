"""Names of the examples of a split, which say which image is which outside of the data set."""

from __future__ import annotations

import collections
import os
from typing import Any

from etils import epath

from tfseg.config.sections import DataConfig
from tfseg.data.catalog import DatasetSpec
from tfseg.data.folder_layouts import IMAGE_SUFFIXES, FolderLayout
from tfseg.data.split import Split
from tfseg.errors import UserError


def name_examples(split: Split, spec: DatasetSpec, config: DataConfig) -> list[str]:
    """Returns a name for each example, in the order of the split; nothing is decoded.

    In a `folder:` data set it is the path of the image below the folder of its images, without the
    suffix, so it does not depend on where the data set lies. Other sources have names of their own,
    such as a file name, or the split and the number of the row.

    Args:
        split: See `pipeline.load_split`.
        spec: The data set.
        config: Its suffixes.

    Raises:
        UserError: Two examples have the same name.
    """
    names = [_name_record(record, split) for record in split.records.as_numpy_iterator()]
    suffixes = IMAGE_SUFFIXES
    if spec.source == "folder":
        layout = FolderLayout(epath.Path(spec.path), config.image_suffix, config.mask_suffix)
        images = layout.find_folders(split.name).images
        names = [os.path.relpath(name, os.fspath(images)) for name in names]
        suffixes = (config.image_suffix,) if config.image_suffix else suffixes
    names = [_strip(name, suffixes) for name in names]
    (repeated, count), *_ = collections.Counter(names).most_common(1)
    if count > 1:
        raise UserError(
            f"two examples of split {split.name} are called {repeated}, so their masks and counts "
            "could not be told apart; rename one, or choose it by --image_suffix"
        )
    return names


def _name_record(record: Any, split: Split) -> str:
    if isinstance(record, dict):
        return record.get("name", record["image"]).decode(errors="surrogateescape")
    return f"{split.name}_{record}"


def _strip(name: str, suffixes: tuple[str, ...]) -> str:
    ends = (end for end in suffixes if name.lower().endswith(end.lower()))
    return name[: -len(next(ends, "")) or None]
