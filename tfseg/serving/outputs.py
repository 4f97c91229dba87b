"""What `tfseg.predict` writes for an image: pictures, masks and a JSON file."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath

from tfseg import files
from tfseg.data.labels import LabelSpec
from tfseg.report import legend, visualization
from tfseg.serving import segmentation

# Results of image X by the word of --outputs: X_classes.png and so on; X_masks is a folder.
SUFFIXES = {
    "json": ".json",
    "classes": "_classes.png",
    "ids": "_ids.png",
    "overlay": "_overlay.png",
    "masks": "_masks",
}
_LETTERS_OF_A_NAME = 50  # A file's name may have 255 bytes, of which a letter takes up to 4.


def write_outputs(
    prefix: epath.Path,
    outputs: Sequence[str],
    image: np.ndarray,
    class_map: np.ndarray,
    result: dict[str, Any],
    labels: LabelSpec,
    opacity: float,
) -> None:
    """Writes the results of an image: all of them, or none if one cannot be written.

    Args:
        prefix: Where they go, without their suffixes.
        outputs: What is written, see `SUFFIXES`.
        image: uint8 `[height, width, 3]`, RGB, 0..255.
        class_map: Class ids, integer `[height, width]`.
        result: What X.json holds besides `segments`; `classes` gives the order of the legend.
        labels: Names and colours of the classes.
        opacity: Weight of the colours in the overlay, in [0, 1].

    Raises:
        OSError: The disk is full, for example.
    """
    masks_folder = epath.Path(f"{prefix}{SUFFIXES['masks']}")
    contents = _encode(outputs, image, class_map, result, labels, opacity)
    with _removed_if_empty(masks_folder), contextlib.ExitStack() as stack:
        # Files get their names in the reverse order: X.json last, so that it stands for all.
        for suffix, content in contents:
            path = epath.Path(f"{prefix}{suffix}")
            stack.enter_context(files.replacing(path)).write_bytes(content)
    if "masks" in outputs:
        _remove_absent(masks_folder, result, labels)


def _encode(
    outputs: Sequence[str],
    image: np.ndarray,
    class_map: np.ndarray,
    result: dict[str, Any],
    labels: LabelSpec,
    opacity: float,
) -> Iterator[tuple[str, bytes]]:
    """Yields suffix and content of each file."""
    if "json" in outputs:
        content = {**result, "segments": _segments(class_map, labels)}
        yield SUFFIXES["json"], (json.dumps(content, indent=2) + "\n").encode()
    if "classes" in outputs:
        content = visualization.encode_class_png(class_map, labels.palette)
        yield SUFFIXES["classes"], content
    if "ids" in outputs:
        yield SUFFIXES["ids"], visualization.encode_id_png(class_map, labels.num_classes)
    if "overlay" in outputs:
        entries = [(found["name"], labels.palette[found["id"]]) for found in result["classes"]]
        overlay = visualization.overlay(image, class_map, labels.palette, opacity)
        yield SUFFIXES["overlay"], visualization.encode_png(legend.add_legend(overlay, entries))
    for found in result["classes"] if "masks" in outputs else ():
        mask = segmentation.to_mask(class_map, found["id"])
        name = _mask_name(found["id"], labels)
        yield f"{SUFFIXES['masks']}/{name}", visualization.encode_picture(mask)


def _segments(class_map: np.ndarray, labels: LabelSpec) -> list[dict[str, Any]]:
    """Returns what `segment` does, with each mask as the base64 text of a black and white PNG.

    The Hub's inference API has the same form:
    https://huggingface.co/docs/inference-providers/tasks/image-segmentation
    """
    segments = segmentation.split_classes(class_map, labels.names)
    for found in segments:
        png = visualization.encode_picture(found["mask"].convert("1"))
        found["mask"] = base64.b64encode(png).decode()
    return segments


def _mask_name(class_id: int, labels: LabelSpec) -> str:
    """Returns the file name of a class's mask, with `_` for letters that a file must not have."""
    name = re.sub(r"[^\w .,()+-]", "_", labels.names[class_id])[:_LETTERS_OF_A_NAME]
    return f"{class_id}_{name}.png"


def _remove_absent(folder: epath.Path, result: dict[str, Any], labels: LabelSpec) -> None:
    """Removes masks of classes that an earlier model found in the image and this one did not."""
    absent = set(range(labels.num_classes)) - {found["id"] for found in result["classes"]}
    names = {_mask_name(class_id, labels) for class_id in absent}
    for path in folder.iterdir():
        if path.name in names:
            path.unlink()


@contextlib.contextmanager
def _removed_if_empty(folder: epath.Path) -> Iterator[None]:
    """Removes a folder that an exception leaves empty."""
    try:
        yield
    except BaseException:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise
