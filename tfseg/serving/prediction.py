"""Segments image files: `run_prediction` is the table of contents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tfseg import files
from tfseg.config.commands import PredictConfig
from tfseg.data.images import ImageError, decode_image
from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.models import segformer
from tfseg.serving import inputs as inputs_lib
from tfseg.serving import outputs, segmentation
from tfseg.serving.inputs import ImageInput
from tfseg.serving.module import ServingModule

_MAX_PRINTED_CLASSES = 4


def run_prediction(config: PredictConfig, inputs: Sequence[str]) -> list[dict[str, Any]]:
    """Segments images as the served model does, and prints one line per image.

    For an image `X.jpg`, it writes to `output_dir` what `config.outputs` names: by default
    `X_classes.png`, `X_overlay.png` and `X.json`. A terminal shows a progress bar.

    Args:
        config: The model, the output folder, what is written, and whether to skip unreadable
            images.
        inputs: Image files, folders and globs, and `-` for standard input; see
            `inputs.find_inputs`.

    Returns:
        For each image the content of `X.json` without its `segments`: `image`, `height`, `width`,
        `model`, `mean_confidence`, and `classes` (`id`, `name`, `pixels`, `share`), largest share
        first.

    Raises:
        UserError: An input does not exist or holds no image, two inputs would write the same file,
            an image is unreadable and `on_bad_example` is `error`, every image is unreadable, or
            the results of an image cannot be written.
    """
    images = inputs_lib.find_inputs(
        inputs, recursive=config.recursive, output_dir=config.output_dir
    )
    folder = files.make_folder(config.output_dir, "output_dir")
    inputs_lib.check_targets(images, folder, [outputs.SUFFIXES[each] for each in config.outputs])
    model = segformer.load_model(config.model, image_size=config.image_size)
    served = ServingModule(model)
    shown = outputs.SUFFIXES["overlay" if "overlay" in config.outputs else config.outputs[0]]
    results = []
    with _progress_bar(len(images)) as bar:
        for each in images:
            image = _read_image(each, config.on_bad_example, model.preprocessing.apply_exif)
            if image is not None:
                result = _predict(config, served, model.labels, each, image, folder / each.stem)
                bar.write(_summarize(result, f"{folder / each.stem}{shown}"))
                results.append(result)
            bar.update()
    _report_skipped(len(images) - len(results), len(images))
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
    pixels = segmentation.count_pixels(class_map, labels.num_classes)
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


def _progress_bar(num_images: int):
    """Returns a progress bar with the time that is left, on a terminal only."""
    from tqdm import tqdm

    return tqdm(total=num_images, desc="segmenting", unit="image", disable=None)


def _read_image(image: ImageInput, on_bad_example: str, apply_exif: bool) -> np.ndarray | None:
    """Returns uint8 `[height, width, 3]`, or None if the image is unreadable and skipped."""
    from tqdm import tqdm

    try:
        return decode_image(image.read(), apply_exif=apply_exif).numpy()
    except (OSError, ImageError) as error:
        name, reason = files.printable(str(image)), getattr(error, "strerror", None) or error
        if on_bad_example == "skip":
            tqdm.write(f"{name}  skipped: {reason}")
            return None
        raise UserError(
            f"{name} cannot be read: {reason}; pass --on_bad_example=skip to skip such images"
        ) from error


def _predict(
    config: PredictConfig,
    served: ServingModule,
    labels: LabelSpec,
    name: ImageInput,
    image: np.ndarray,
    prefix: epath.Path,
) -> dict[str, Any]:
    """Segments an image, writes its results and returns them."""
    class_map, mean_confidence = _segment(served, image)
    height, width = class_map.shape
    result = {
        "image": str(name),
        "height": height,
        "width": width,
        "model": config.model,
        "mean_confidence": mean_confidence,
        "classes": count_classes(class_map, labels),
    }
    try:
        outputs.write_outputs(
            prefix, config.outputs, image, class_map, result, labels, config.overlay_opacity
        )
    except OSError as error:
        raise UserError(
            f"cannot write the results of {files.printable(str(name))} to "
            f"{files.printable(prefix.parent)} ({error.strerror or error}): free some disk space, "
            "or choose another --output_dir; the images before it are complete"
        ) from error
    return result


def _segment(served: ServingModule, image: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the class map `[height, width]` of an image, and the mean confidence."""
    prediction = served.predict_images(image[None])
    return prediction["class_map"][0].numpy(), float(tf.reduce_mean(prediction["confidence"]))


def _summarize(result: dict[str, Any], written: str) -> str:
    classes = result["classes"]
    shares = [f"{entry['name']} {entry['share']:.1%}" for entry in classes[:_MAX_PRINTED_CLASSES]]
    more = len(classes) - len(shares)
    return (
        f"{files.printable(result['image'])}  {result['width']}x{result['height']}  "
        f"{', '.join(shares)}{f', {more} more' if more else ''}  -> {files.printable(written)}"
    )


def _report_skipped(num_skipped: int, num_images: int) -> None:
    if num_skipped == num_images:
        raise UserError(f"none of the {num_images} images can be read, so no output was written")
    if num_skipped:
        print(f"skipped {num_skipped} of {num_images} images")
