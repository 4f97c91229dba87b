"""Reads and writes a checkpoint's `preprocessor_config.json`.

Hugging Face's SegformerImageProcessor resizes an image, multiplies it by `rescale_factor` and
normalises it with `image_mean` and `image_std`; each step can be switched off. `Preprocessing`
normalises values in [0, 1] instead: the same function with another mean and standard deviation.
https://huggingface.co/docs/transformers/model_doc/segformer
"""

from __future__ import annotations

import json
from typing import Any

from etils import epath

from tfseg import files
from tfseg.data.transforms import DEFAULT_MEAN, DEFAULT_STD, Preprocessing
from tfseg.errors import UserError
from tfseg.models.weights import damaged_file

_FILE = "preprocessor_config.json"
_BILINEAR = 2  # PIL's number
_DEFAULT_SIZE = 512


def read_preprocessing(
    folder: epath.PathLike, image_size: tuple[int, int] | None = None
) -> Preprocessing:
    """Reads how a fine-tuned model expects its images.

    Without the file, or without a setting in it, transformers' default applies: ImageNet's mean
    and deviation, and 512x512 pixels.

    Args:
        folder: Checkpoint folder.
        image_size: (height, width) in pixels; replaces the saved size.

    Raises:
        UserError: The file is damaged, or asks for something that tfseg does not do.
    """
    path, values = _read(folder)
    is_resizing = values.get("do_resize", True)
    if is_resizing and values.get("resample", _BILINEAR) != _BILINEAR:
        raise UserError(
            f"{path}: resample={values['resample']!r} is not supported; tfseg resizes bilinearly "
            f"({_BILINEAR}): if the model may be fed so, write {_BILINEAR} there"
        )
    if image_size is None and not is_resizing:
        raise UserError(f"{path}: do_resize=false leaves the size open; give --image_size")
    return Preprocessing(
        image_size or _read_size(path, values),
        *_read_normalization(path, values),
        apply_exif=_read_apply_exif(path, values),
        reduce_labels=bool(values.get("do_reduce_labels", values.get("reduce_labels"))),
    )


def read_normalization(folder: epath.PathLike) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Reads mean and deviation alone, for fine-tuning, which resizes in its own way.

    Args:
        folder: Checkpoint folder.

    Returns:
        `mean` and `std` of `Preprocessing`, one number per channel.

    Raises:
        UserError: The file is damaged, or a value in it cannot be used.
    """
    return _read_normalization(*_read(folder))


def write_preprocessing(folder: epath.PathLike, preprocessing: Preprocessing) -> None:
    """Writes the file, whole or not at all.

    `apply_exif` is tfseg's own setting, and only a false one is written: transformers warns of
    settings that it does not know.
    """
    height, width = preprocessing.image_size
    values = {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": _BILINEAR,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
        "do_reduce_labels": preprocessing.reduce_labels,
        "reduce_labels": preprocessing.reduce_labels,  # the older name
    }
    if not preprocessing.apply_exif:
        values["apply_exif"] = False
    files.write_atomically(epath.Path(folder) / _FILE, json.dumps(values, indent=2) + "\n")


def _read(folder: epath.PathLike) -> tuple[epath.Path, dict[str, Any]]:
    path = epath.Path(folder) / _FILE
    try:
        values = json.loads(path.read_text()) if path.exists() else {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise damaged_file(path, error) from error
    if not isinstance(values, dict):
        raise damaged_file(path, TypeError("it holds no JSON object"))
    return path, values


def _read_size(path: epath.Path, values: dict[str, Any]) -> tuple[int, int]:
    """Returns (height, width); the file holds a number, a list or a dictionary, by its age."""
    size = values.get("size")
    sides = _DEFAULT_SIZE if size is None else size
    if isinstance(sides, dict):
        sides = [sides.get("height"), sides.get("width")]
    if isinstance(sides, int):
        sides = [sides, sides]
    is_size = isinstance(sides, list) and len(sides) == 2
    if not (is_size and all(isinstance(side, int) and side > 0 for side in sides)):
        raise UserError(
            f"{path}: size={size!r} gives no height and width in pixels; give --image_size"
        )
    return tuple(sides)


def _read_apply_exif(path: epath.Path, values: dict[str, Any]) -> bool:
    apply_exif = values.get("apply_exif", True)
    if not isinstance(apply_exif, bool):
        raise UserError(f"{path}: apply_exif={apply_exif!r} must be true or false")
    return apply_exif


def _read_normalization(
    path: epath.Path, values: dict[str, Any]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Folds the factor `f` on 0..255 pixels into mean and deviation of [0, 1] values `u`.

    `(255 f u - mean) / std` equals `(u - mean / (255 f)) / (std / (255 f))`.
    """
    factor = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
    if not isinstance(factor, int | float) or factor <= 0:
        raise UserError(f"{path}: rescale_factor={factor!r} must be a number above 0")
    mean, std = (0.0,) * 3, (1.0,) * 3
    if values.get("do_normalize", True):
        mean = _read_channels(path, values, "image_mean", DEFAULT_MEAN)
        std = _read_channels(path, values, "image_std", DEFAULT_STD)
    if min(std) <= 0:
        raise UserError(f"{path}: image_std={values['image_std']!r} must be above 0")
    scale = 255 * factor
    return tuple(value / scale for value in mean), tuple(value / scale for value in std)


def _read_channels(
    path: epath.Path, values: dict[str, Any], name: str, default: tuple[float, ...]
) -> tuple[float, ...]:
    value = values.get(name)
    channels = default if value is None else value
    if isinstance(channels, int | float):
        channels = [channels] * 3
    is_triple = isinstance(channels, list | tuple) and len(channels) == 3
    if not (is_triple and all(isinstance(each, int | float) for each in channels)):
        raise UserError(f"{path}: {name}={value!r} must be one number, or one for each of RGB")
    return tuple(channels)
