"""Segments image files: `run_prediction` is the table of contents."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tfseg import files, visualization
from tfseg.config import PredictConfig
from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.models import segformer
from tfseg.serving.module import ServingModule, decode_image

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_OUTPUT_SUFFIXES = {"classes": "_classes.png", "overlay": "_overlay.png", "result": ".json"}
_MAX_PRINTED_CLASSES = 4


def run_prediction(config: PredictConfig, inputs: Sequence[str]) -> list[dict[str, Any]]:
    """Segments images as the served model would; prints a line an image.

    For an image `X.jpg`, `output_dir` gets `X_classes.png` (a palette PNG of class ids),
    `X_overlay.png` and `X.json`.

    Args:
        config: The model, where to write, and what to do with an unreadable image.
        inputs: Files, and folders whose JPEG and PNG files are taken.

    Returns:
        What `X.json` holds, for each image: `image`, `height`, `width`, `model`,
        `mean_confidence`, and `classes` (`id`, `name`, `pixels`, `share`), largest share first.

    Raises:
        UserError: An input does not exist or holds no image, two would write the same file, or
            an image is unreadable and `on_bad_example` is `error`.
    """
    outputs = _plan_outputs(_find_images(inputs), epath.Path(config.output_dir))
    model = segformer.load_model(config.model)
    if config.image_size:
        model.preprocessing = dataclasses.replace(model.preprocessing, image_size=config.image_size)
    served = ServingModule(model)
    results, skipped = [], []
    for path, targets in outputs.items():
        try:
            image = _read_image(path)
        except UserError as error:
            if config.on_bad_example == "error":
                raise
            skipped.append(path)
            print(f"skipped {error}")
            continue
        prediction = served.predict_images(image[None])
        class_map = prediction["class_map"][0].numpy()
        result = {
            "image": str(path),
            "height": image.shape[0],
            "width": image.shape[1],
            "model": config.model,
            "mean_confidence": float(tf.reduce_mean(prediction["confidence"])),
            "classes": count_classes(class_map, model.labels),
        }
        palette = model.labels.palette
        overlay = visualization.overlay(image, class_map, palette, config.overlay_opacity)
        contents = {
            "classes": visualization.encode_class_png(class_map, palette),
            "overlay": visualization.encode_png(overlay),
            "result": json.dumps(result, indent=2) + "\n",
        }
        for name, content in contents.items():
            files.write_atomically(targets[name], content)
        print(_summarize(result, targets["overlay"]))
        results.append(result)
    if skipped:
        print(f"skipped {len(skipped)} of {len(outputs)} images: unreadable")
    return results
