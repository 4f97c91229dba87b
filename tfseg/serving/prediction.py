"""Segments image files: `run_prediction` is the table of contents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tfseg import files
from tfseg.config.commands import PredictConfig
from tfseg.data.images import IMAGE_SUFFIXES, ImageError, decode_image, list_images
from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.models import segformer
from tfseg.report import visualization
from tfseg.serving.module import ServingModule

_CLASSES_SUFFIX, _OVERLAY_SUFFIX, _RESULT_SUFFIX = "_classes.png", "_overlay.png", ".json"
_MAX_PRINTED_CLASSES = 4


def run_prediction(config: PredictConfig, inputs: Sequence[str]) -> list[dict[str, Any]]:
    """Segments image files as the served model does, and prints one line per image.

    For an image `X.jpg`, it writes `X_classes.png` (a palette PNG of class ids), `X_overlay.png`
    and `X.json` to `output_dir`.

    Args:
        config: The model, the output folder, and whether to skip unreadable images.
        inputs: Image files, and folders whose image files (`images.IMAGE_SUFFIXES`) are segmented.

    Returns:
        For each image the content of `X.json`: `image`, `height`, `width`, `model`,
        `mean_confidence`, and `classes` (`id`, `name`, `pixels`, `share`), largest share first.

    Raises:
        UserError: An input does not exist or holds no image, two inputs would write the same file,
            an image is unreadable and `on_bad_example` is `error`, or every image is unreadable.
    """
    prefixes = _plan_outputs(_find_images(inputs), _make_folder(config.output_dir))
    model = segformer.load_model(config.model, image_size=config.image_size)
    served = ServingModule(model)
    results = []
    for path, prefix in prefixes.items():
        image = _read_image(path, config.on_bad_example, model.preprocessing.apply_exif)
        if image is not None:
            class_map, mean_confidence = _segment(served, image)
            result = _describe(path, config.model, class_map, mean_confidence, model.labels)
            _write_outputs(prefix, image, class_map, result, model.labels, config.overlay_opacity)
            print(_summarize(result, f"{prefix}{_OVERLAY_SUFFIX}"))
            results.append(result)
    _report_skipped(len(prefixes) - len(results), len(prefixes))
    return results


def count_classes(class_map: np.ndarray, labels: LabelSpec) -> list[dict[str, Any]]:
    """Counts the pixels of each class in a class map.

    Args:
        class_map: Class ids, integer `[height, width]`.
        labels: Names of the classes.

    Returns:
        For each class that occurs its `id`, `name`, `pixels` and `share` of the image in (0, 1],
        largest share first.
    """
    pixels = np.bincount(class_map.ravel(), minlength=labels.num_classes)
    order = np.argsort(-pixels, kind="stable")
    return [
        {
            "id": int(class_id),
            "name": labels.names[class_id],
            "pixels": int(pixels[class_id]),
            "share": float(pixels[class_id] / class_map.size),
        }
        for class_id in order
        if pixels[class_id]
    ]


def _find_images(inputs: Iterable[str]) -> list[epath.Path]:
    """Returns the given files and the images in the given folders, without duplicates."""
    paths = []
    for name in inputs:
        path = epath.Path(name)
        if not path.exists():
            raise UserError(f"{name}: no such file or folder")
        paths.extend(_list_folder(path) if path.is_dir() else [path])
    return list(dict.fromkeys(paths))


def _list_folder(folder: epath.Path) -> list[epath.Path]:
    images = list_images(folder)
    if not images:
        raise UserError(
            f"{folder} holds no image (looked for {', '.join(IMAGE_SUFFIXES)}; folders inside it "
            "are not searched)"
        )
    return images


def _make_folder(output_dir: str) -> epath.Path:
    folder = epath.Path(output_dir).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output_dir={output_dir} cannot be created: {error.strerror}") from error
    return folder


def _plan_outputs(paths: list[epath.Path], folder: epath.Path) -> dict[epath.Path, epath.Path]:
    """Returns the path prefix of each image's output files.

    Raises:
        UserError: Two images would write the same file, or one would overwrite an input.
    """
    prefixes = {path: folder / path.stem for path in paths}
    owners = {path.resolve(): f"the input {path} itself" for path in paths}
    for path, prefix in prefixes.items():
        for suffix in (_CLASSES_SUFFIX, _OVERLAY_SUFFIX, _RESULT_SUFFIX):
            target = epath.Path(f"{prefix}{suffix}")
            owner = owners.setdefault(target.resolve(), f"the output of {path}")
            if owner != f"the output of {path}":
                raise UserError(
                    f"the output of {path} would go to {target}, which is {owner}: rename one of "
                    "them, or segment them with different values of --output_dir"
                )
    return prefixes


def _read_image(path: epath.Path, on_bad_example: str, apply_exif: bool) -> np.ndarray | None:
    """Returns uint8 `[height, width, 3]`, or None if the image is unreadable and skipped."""
    try:
        return decode_image(path.read_bytes(), apply_exif=apply_exif).numpy()
    except (OSError, ImageError) as error:
        reason = getattr(error, "strerror", None) or error
        if on_bad_example == "skip":
            print(f"{files.printable(path)}  skipped: {reason}")
            return None
        raise UserError(
            f"{files.printable(path)} cannot be read: {reason}; pass --on_bad_example=skip "
            "to skip such images"
        ) from error


def _segment(served: ServingModule, image: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the class map `[height, width]` of an image, and the mean confidence."""
    prediction = served.predict_images(image[None])
    return prediction["class_map"][0].numpy(), float(tf.reduce_mean(prediction["confidence"]))


def _describe(
    path: epath.Path, model: str, class_map: np.ndarray, mean_confidence: float, labels: LabelSpec
) -> dict[str, Any]:
    """Returns the content of an image's JSON file."""
    height, width = class_map.shape
    return {
        "image": str(path),
        "height": height,
        "width": width,
        "model": model,
        "mean_confidence": mean_confidence,
        "classes": count_classes(class_map, labels),
    }


def _write_outputs(
    prefix: epath.Path,
    image: np.ndarray,
    class_map: np.ndarray,
    result: dict[str, Any],
    labels: LabelSpec,
    opacity: float,
) -> None:
    overlay = visualization.overlay(image, class_map, labels.palette, opacity)
    contents = {
        _CLASSES_SUFFIX: visualization.encode_class_png(class_map, labels.palette),
        _OVERLAY_SUFFIX: visualization.encode_png(overlay),
        _RESULT_SUFFIX: json.dumps(result, indent=2) + "\n",
    }
    for suffix, content in contents.items():
        files.write_atomically(f"{prefix}{suffix}", content)


def _summarize(result: dict[str, Any], overlay_path: str) -> str:
    classes = result["classes"]
    shares = [f"{entry['name']} {entry['share']:.1%}" for entry in classes[:_MAX_PRINTED_CLASSES]]
    more = len(classes) - len(shares)
    return (
        f"{files.printable(result['image'])}  {result['width']}x{result['height']}  "
        f"{', '.join(shares)}{f', {more} more' if more else ''}  -> {files.printable(overlay_path)}"
    )


def _report_skipped(num_skipped: int, num_images: int) -> None:
    if num_skipped == num_images:
        raise UserError(f"none of the {num_images} images can be read, so no output was written")
    if num_skipped:
        print(f"skipped {num_skipped} of {num_images} images")
