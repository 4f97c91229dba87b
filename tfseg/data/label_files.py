"""Files that name classes: --id2label and --label_map, and classes without such files."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from tfseg import network
from tfseg.data import remembered
from tfseg.data.labels import DEFAULT_IGNORE_INDEX, LabelSpec, color_value
from tfseg.data.palettes import choose_palette
from tfseg.errors import UserError, nearest_name

_VALUES, _VALUES_VERSION = "mask_values", "1"
_ID2LABEL = 'of names by mask value, e.g. {"0": "sky", "1": "road"}'
# huggingface/label-files:ade20k-id2label.json
_HUB_FILE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+):(?P<file>[^:]+\.json)")
_HEX_COLOR = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")
_RGB_COLOR = re.compile(r"\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*")


def read_id2label(
    path: str,
    *,
    reduce_labels: bool,
    ignore_index: int = DEFAULT_IGNORE_INDEX,
    instance_divisor: int = 1,
) -> LabelSpec:
    """Reads a JSON object of class names by raw mask value, e.g. `{"0": "sky", "1": "road"}`.

    A key may also be a colour, `"128,64,128"` or `"#804080"`; then all of them are, and they are
    the palette too.

    With `reduce_labels`, raw value 0 is void. A file that names 0 then follows ADE20K's lists, in
    which name 0 belongs to raw value 1. A file that starts at 1 names the raw values themselves.

    Args:
        path: A file, or `REPO:FILE` for a file of a data set repository on the Hugging Face Hub,
            e.g. `huggingface/label-files:ade20k-id2label.json`.
        reduce_labels: Whether raw value 0 is void.
        ignore_index: Value of void pixels after mapping.
        instance_divisor: By what a pixel is divided to give the raw value, see `LabelSpec`.

    Raises:
        UserError: The file is missing or is not such an object.
    """
    content = _read_object(
        path, "id2label", 'of names by mask value, e.g. {"0": "sky", "1": "road"}'
    )
    try:
        values = {_parse_value(key): str(name) for key, name in content.items()}
        is_color = {bool(_parse_color(key)) for key in content}
        if len(values) < len(content):
            raise ValueError("two keys stand for the same mask value")
        if is_color == {True, False}:
            raise ValueError("the keys are numbers or colours, not both")
        if reduce_labels and True in is_color:
            raise ValueError("colours have no value 0 for --reduce_labels; leave it out")
        offset = 1 if reduce_labels and 0 in values else 0
        ordered = sorted(values) if is_color == {False} else list(values)
        return LabelSpec(
            tuple(values[raw] for raw in ordered),
            tuple(raw + offset for raw in ordered),
            palette=tuple(_parse_color(key) for key in content) if True in is_color else (),
            ignore_index=ignore_index,
            has_color_masks=True in is_color,
            instance_divisor=instance_divisor,
        )
    except ValueError as error:
        raise UserError(f"--id2label={path}: {error}") from error


def _read_object(path: str, flag: str, expected: str) -> dict[str, Any]:
    file = _fetch(path, flag)
    try:
        content = json.loads(file.read_text())
        if not isinstance(content, dict):
            raise ValueError(f"received a {type(content).__name__}")
    except (ValueError, OSError) as error:
        raise UserError(f"--{flag}={path} must be a JSON object {expected}: {error}") from error
    return content


def _fetch(path: str, flag: str) -> epath.Path:
    file = epath.Path(path).expanduser()
    on_hub = _HUB_FILE.fullmatch(path)
    if file.exists():
        return file
    if on_hub is None:
        raise UserError(f"--{flag}={path}: no such file")
    import huggingface_hub
    from huggingface_hub import errors

    # Asked first, because without a network a look-up retries for 23 seconds, line by line.
    is_online = network.hub_answers()
    try:
        fetched = huggingface_hub.hf_hub_download(
            on_hub["repo"], on_hub["file"], repo_type="dataset", local_files_only=not is_online
        )
        return epath.Path(fetched)
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        reason = "it has no such file" if is_online else "it does not answer"
        raise UserError(
            f"--{flag}={path} is no file here, and cannot be fetched from the Hugging Face Hub: "
            f"{reason}"
        ) from error


def _parse_value(key: str) -> int:
    color = _parse_color(key)
    if not color and not re.fullmatch(r"\s*-?\d+\s*", key):
        raise ValueError(f"it must be a JSON object {_ID2LABEL}, received {key!r}")
    return color_value(*color) if color else int(key)


def _parse_color(key: str) -> tuple[int, int, int] | None:
    """Returns the RGB colour that a key gives, or None.

    Raises:
        ValueError: A part of the colour is above 255.
    """
    if match := _HEX_COLOR.fullmatch(key):
        red, green, blue = (int(part, 16) for part in match.groups())
    elif match := _RGB_COLOR.fullmatch(key):
        red, green, blue = (int(part) for part in match.groups())
    else:
        return None
    if max(red, green, blue) > 255:
        raise ValueError(f"a colour has parts of 0 to 255, received {key}")
    return red, green, blue


def apply_label_map(labels: LabelSpec, path: str) -> LabelSpec:
    """Merges, renames and drops classes.

    The file is a JSON object. A key is a class name, or a raw mask value as in --id2label; its
    value is the name of the class to which it goes, or null for void. The class may be a new one.
    What the file does not name stays as it is; a class to which nothing goes is left out.

    Raises:
        UserError: The file is missing, or names no class or value of the data set.
    """
    content = _read_object(
        path,
        "label_map",
        'of class names by class name or mask value, e.g. {"bus": "car", "7": null}',
    )
    class_of = {raw: labels.names[index] for raw, index in labels.class_of_value.items()}
    for key, name in content.items():
        if name is not None and not isinstance(name, str):
            raise UserError(
                f"--label_map={path}: {key!r} must go to a class name or null, received {name!r}"
            )
        for raw in _values_of(key, labels, path):
            class_of[raw] = name
    void_values = {raw for raw, name in class_of.items() if name is None}
    return _merge(labels, {raw: name for raw, name in class_of.items() if name}, void_values, path)


def _values_of(key: str, labels: LabelSpec, path: str) -> list[int]:
    if key in labels.names:
        class_id = labels.names.index(key)
        return [raw for raw, own in labels.class_of_value.items() if own == class_id]
    try:
        return [_parse_value(key)]
    except ValueError:
        raise UserError(
            f"--label_map={path}: {key!r} is no class{nearest_name(key, labels.names)} and no mask "
            f"value (classes: {', '.join(labels.names)})"
        ) from None


def _merge(
    labels: LabelSpec, class_of: dict[int, str], void_values: set[int], path: str
) -> LabelSpec:
    used = [name for name in labels.names if name in class_of.values()]
    names = tuple(dict.fromkeys([*used, *class_of.values()]))
    colors = dict(zip(labels.names, labels.palette, strict=True))
    first = {name: raw for raw, name in reversed(class_of.items())}
    try:
        return dataclasses.replace(
            labels,
            names=names,
            raw_values=tuple(first[name] for name in names),
            palette=choose_palette(names, colors),
            void_values=tuple(sorted({*labels.void_values, *void_values})),
            merged_values=tuple(
                (raw, names.index(name)) for raw, name in class_of.items() if raw != first[name]
            ),
        )
    except ValueError as error:
        raise UserError(f"--label_map={path}: {error}") from error


def labels_from_masks(
    folder: epath.Path,
    paths: Sequence[epath.Path],
    *,
    reduce_labels: bool,
    ignore_index: int,
    instance_divisor: int,
) -> LabelSpec:
    """Makes a class of each value in the training masks, except `ignore_index` and a reduced 0.

    Args:
        folder: Folder of the masks, for messages.
        paths: The masks.
        reduce_labels: Whether raw value 0 is void.
        ignore_index: Raw value that is void.
        instance_divisor: By what a pixel is divided to give the raw value.

    Raises:
        UserError: The masks have fewer than two values.
    """
    state = remembered.state_of_files(paths)
    facts = (_VALUES_VERSION, state or "", str(instance_divisor))
    known = remembered.recall(_VALUES, facts) if state else None
    values, fault = (set(known["values"]), None) if known else _read_values(paths, instance_divisor)
    if state and not known and not fault:
        remembered.remember(_VALUES, facts, {"values": sorted(values)})
    values -= {ignore_index, *([0] if reduce_labels else [])}
    if len(values) == 1:
        fault = f"besides void (--ignore_index={ignore_index}), {min(values)} is their only value"
    if len(values) < 2:
        raise UserError(
            f"--dataset=folder: no classes can be taken from the masks of {folder}: {fault}; "
            "name them with --id2label=FILE.json"
        )
    ordered = sorted(values)
    names = tuple(f"class_{value}" for value in ordered)
    return LabelSpec(names, tuple(ordered), ignore_index=ignore_index)


def _read_values(paths: Sequence[epath.Path], instance_divisor: int) -> tuple[set[int], str | None]:
    """Returns the raw values of masks, and why there are no more: the fault of one of them."""
    from tfseg.data import masks  # Imported here because it loads TensorFlow, which takes seconds.

    pixels = LabelSpec(("unknown",), instance_divisor=instance_divisor)

    def read(path: epath.Path) -> list[int] | str:
        try:
            return np.unique(masks.decode_mask(path.read_bytes(), pixels)).tolist()
        except (OSError, masks.MaskError) as error:
            # Reading the split decides whether a bad mask stops the run or is skipped.
            return f"{path} cannot be read as a mask ({error})"

    with concurrent.futures.ThreadPoolExecutor() as threads:
        found = list(threads.map(read, paths))
    faults = [each for each in found if isinstance(each, str)]
    values = {value for each in found if not isinstance(each, str) for value in each}
    return values, faults[-1] if faults else None if paths else "it holds no masks"
