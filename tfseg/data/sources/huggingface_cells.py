"""Columns of encoded pictures in a Hugging Face data set, and the bytes in their cells."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tfseg.data.segments import Segments, make_segments
from tfseg.errors import UserError

_IMAGE_KEYS = ("image", "pixel_values", "img")
_SEGMENT_FIELDS = ("id", "category_id")
_MASK_KEYS = ("mask", "label", "labels", "annotation", "segmentation_mask")


def find_columns(
    features: Mapping[str, Any], image_key: str | None, mask_key: str | None, path: str
) -> tuple[str, str]:
    """Returns the names of the image column and of the mask column.

    A column that is not given is the first picture column with a usual name. Of exactly two picture
    columns, one that has neither kind of usual name is the one that the other is not.

    Args:
        features: `Dataset.features`.
        image_key: The image column; None to find it.
        mask_key: The mask column; None to find it.
        path: The data set, for messages.

    Raises:
        UserError: A column is missing, holds no pictures, or is not clear from the names.
    """
    columns = [name for name, feature in features.items() if _holds_pictures(feature)]
    if len(columns) < 2 and image_key is None and mask_key is None:
        raise _no_masks(columns, features, path)
    image = image_key or _find_usual(columns, _IMAGE_KEYS, taken=mask_key)
    mask = mask_key or _find_usual(columns, _MASK_KEYS, taken=image)
    image = image or _find_other(columns, mask, _MASK_KEYS)
    mask = mask or _find_other(columns, image, _IMAGE_KEYS)
    _check_column(image, columns, "image_key", _IMAGE_KEYS, path)
    _check_column(mask, columns, "mask_key", _MASK_KEYS, path)
    if image == mask:
        raise UserError(f"--image_key and --mask_key are both {image}; they are two columns")
    return image, mask


def _holds_pictures(feature: Any) -> bool:
    """Whether a column holds encoded pictures: `Image`, or its storage without the declaration."""
    from datasets import Image, Value

    if isinstance(feature, Value):
        return feature.dtype in ("binary", "large_binary")
    return isinstance(feature, Image) or (
        isinstance(feature, dict) and set(feature) == {"bytes", "path"}
    )


def _find_usual(columns: Sequence[str], usual: Sequence[str], taken: str | None) -> str | None:
    return next((name for name in usual if name in columns and name != taken), None)


def _find_other(columns: Sequence[str], known: str | None, its_kind: Sequence[str]) -> str | None:
    """Returns the other of two columns, unless its name says that it is of the known one's kind."""
    others = [name for name in columns if name != known]
    if known is None or len(columns) != 2 or len(others) != 1 or others[0] in its_kind:
        return None
    return others[0]


def _check_column(
    key: str | None, columns: Sequence[str], flag: str, usual: Sequence[str], path: str
) -> None:
    if key not in columns:
        received = f"--{flag}={key} is" if key else f"--{flag} is needed: {', '.join(usual)} are"
        allowed = ", ".join(columns) or "it has none"
        raise UserError(f"{received} no image column of hf:{path} (allowed: {allowed})")


def _no_masks(columns: Sequence[str], features: Mapping[str, Any], path: str) -> UserError:
    found = f"the only one is {columns[0]}" if columns else "there is none"
    return UserError(
        f"--dataset=hf:{path} has no masks: it needs two image columns, one of images and one of "
        f"masks, but {found} (columns: {', '.join(features)})"
    )


class Cells:
    """The encoded pictures of a column.

    Args:
        column: Arrow column of bytes, or of structures with `bytes` and `path`.
        path: The data set, for messages.
        folders: Folders, as absolute paths, in which files that cells name must lie. A relative
            path starts at the first of them.
    """

    def __init__(self, column, path: str, folders: Sequence[str]):
        import pyarrow as pa
        import pyarrow.compute as pc

        self._path, self._folders, self._paths = path, folders, None
        self._bytes = column
        if pa.types.is_struct(column.type):
            # These share the buffers of the column.
            self._bytes, self._paths = (pc.struct_field(column, key) for key in ("bytes", "path"))

    @property
    def is_embedded(self) -> bool:
        """Whether every cell holds its picture itself, and names no file."""
        return self._bytes.null_count == 0

    def read(self, index: int, name: str = "a cell") -> bytes:
        """Returns an encoded picture; no bytes if the cell is empty.

        Args:
            index: Row of the cell.
            name: What messages call the cell.

        Raises:
            OSError: The file that the cell names cannot be read.
            UserError: The file that the cell names lies outside the data set.
        """
        data = self._bytes[index].as_py()
        if data is not None:
            return data
        file = self._paths[index].as_py() if self._paths is not None else None
        if file is None:
            return b""
        with open(self._own_file(file, name), "rb") as opened:
            return opened.read()

    def _own_file(self, file: str, name: str) -> str:
        """Returns the absolute path of a file; a data set may not read others on the machine."""
        path = os.path.normpath(os.path.join(self._folders[0], file))
        is_inside = any(os.path.commonpath([path, folder]) == folder for folder in self._folders)
        if "://" in file or "\0" in file or not is_inside:
            raise UserError(
                f"{name} names the file {file!r}, which lies outside the data set hf:{self._path}; "
                "copy it there, or store the bytes of the pictures (Dataset.to_parquet does)"
            )
        return path


class SegmentLists:
    """A column that lists the segments of each mask.

    Args:
        column: Arrow column of lists of structures with `id` and `category_id`, or of structures
            with a list of each.
        name: The column, for messages.
    """

    def __init__(self, column, name: str):
        self._column, self._name = column, name

    def read(self, index: int) -> Segments:
        """Returns the segments of a row; none if the cell is empty.

        Raises:
            OSError: The cell holds no such list.
        """
        cell = self._column[index].as_py() or []
        if isinstance(cell, dict):
            lists = [cell[key] or [] for key in _SEGMENT_FIELDS]
            cell = [
                dict(zip(_SEGMENT_FIELDS, pair, strict=True)) for pair in zip(*lists, strict=True)
            ]
        try:
            return make_segments(cell)
        except ValueError as error:
            raise OSError(f"{self._name}, row {index}: {error}") from error


def find_segments(table, source: str) -> SegmentLists | None:
    """Returns the column that lists the segments of the masks, if there is one.

    Args:
        table: Arrow table.
        source: The data set, for messages.

    Raises:
        UserError: There are several such columns.
    """
    found = [field.name for field in table.schema if _lists_segments(field.type)]
    if len(found) > 1:
        raise UserError(
            f"{source} has several columns that list segments: {', '.join(found)}; keep one of them"
        )
    return SegmentLists(table.column(found[0]), f"{found[0]} of {source}") if found else None


def _lists_segments(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    is_struct = pa.types.is_struct(kind)
    return is_struct and set(_SEGMENT_FIELDS) <= {field.name for field in kind}
