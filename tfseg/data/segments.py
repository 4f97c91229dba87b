"""Masks whose pixels are ids of segments, with a list of the class of each segment.

COCO's panoptic masks and Segments.ai store instances so: a pixel is the id of its segment, often as
a colour (see `labels.color_value`), and a list of `{"id": 1, "category_id": 2}` lies beside the
mask. The category is the raw value of the pixel. Pixels whose id the list does not have are void.
https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from etils import epath

from tfseg.data.labels import NO_VALUE
from tfseg.errors import UserError

_EXPECTED = (
    'a JSON object as COCO has it for panoptic masks, {"annotations": [{"file_name": "X.png", '
    '"segments_info": [{"id": 1, "category_id": 2}]}]}, or a release file of Segments.ai'
)


class Segments(NamedTuple):
    """The segments of a mask.

    Attributes:
        ids: int32 `[segments]`, in ascending order.
        values: int32 `[segments]`, the raw value of each.
    """

    ids: np.ndarray
    values: np.ndarray


def make_segments(entries: Iterable[Mapping[str, Any]]) -> Segments:
    """Returns the segments of a list of `{"id": ..., "category_id": ...}`.

    Raises:
        ValueError: An entry has no such numbers, or two entries have the same id.
    """
    try:
        pairs = sorted((int(entry["id"]), int(entry["category_id"])) for entry in entries)
    except (KeyError, TypeError) as error:
        raise ValueError('a segment needs the numbers "id" and "category_id"') from error
    ids, values = np.array(pairs, np.int32).reshape(-1, 2).T
    if len(set(ids.tolist())) < len(ids):
        raise ValueError("two segments have the same id")
    return Segments(ids, values)


def map_segments(mask: tf.Tensor, ids: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Replaces the id of each segment by the raw value of its class.

    Args:
        mask: int32 `[height, width]`, ids of segments.
        ids: int32 `[segments]`, in ascending order.
        values: int32 `[segments]`, the raw value of each segment.

    Returns:
        int32 `[height, width]`, raw values; `NO_VALUE` where the id is not in the list.
    """
    # The id of no pixel ends the list, so that there is always a place to look at.
    ids, values = (tf.concat([part, [end]], 0) for part, end in ((ids, -1), (values, NO_VALUE)))
    flat = tf.reshape(mask, [-1])
    places = tf.searchsorted(ids[:-1], flat)
    found = tf.where(tf.gather(ids, places) == flat, tf.gather(values, places), NO_VALUE)
    return tf.reshape(found, tf.shape(mask))


def read_segments(path: str) -> dict[str, Segments]:
    """Reads a list for every mask of a data set.

    Args:
        path: COCO's JSON file of a panoptic split, or a release file of Segments.ai.

    Returns:
        The segments by the name of the mask's or the image's file, without folder and suffix.

    Raises:
        UserError: The file is missing, or is neither of these.
    """
    try:
        content = json.loads(epath.Path(path).expanduser().read_text())
        pairs = _segments_ai(content) if "dataset" in content else _coco(content)
        return {PurePosixPath(name).stem: make_segments(entries) for name, entries in pairs}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"--segments_info={path} must be {_EXPECTED}: {error}") from error


def _coco(content: dict[str, Any]) -> list[tuple[str, list]]:
    return [(each["file_name"], each["segments_info"]) for each in content["annotations"]]


def _segments_ai(content: dict[str, Any]) -> list[tuple[str, list]]:
    """Returns the first label set of every sample that has one."""
    samples = content["dataset"]["samples"]
    pairs = []
    for sample in samples:
        label = next((each for each in sample["labels"].values() if each), None)
        if label is not None:
            pairs.append((sample["name"], label.get("attributes", label)["annotations"]))
    return pairs
