"""What transformers' pipeline for image segmentation gives, from a Keras model."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath
from PIL import Image, ImageOps

from tfseg import files
from tfseg.data.images import ImageError, decode_image
from tfseg.errors import UserError
from tfseg.models import segformer
from tfseg.models.segformer import Segformer
from tfseg.serving.inputs import refuse_url
from tfseg.serving.module import predict_class_maps

_BAND_ROWS = 256


def segment(image: Any, model: Segformer | str) -> list[Any]:
    """Segments an image as `transformers.pipeline("image-segmentation")` does.

    ```python
    model = tfseg.models.load_model("runs/shapes/best")
    for found in tfseg.serving.segment("cat.jpg", model):
        found["mask"].save(f"{found['label']}.png")
    ```

    Args:
        image: A path, the bytes of an image file, a PIL image, or a uint8 array
            `[height, width, 3]`, RGB; gray and RGBA work too, and alpha is dropped. Or a list of
            these.
        model: From `load_model`; or a folder or Hub id, which is loaded at each call.

    Returns:
        For each class that occurs, in the order of class ids, a dictionary of `score`, which is
        None as in transformers' pipeline for semantic segmentation; `label`, the name of the class;
        and `mask`, a PIL image of mode `L` and the image's size, 255 where the class is and 0
        elsewhere. For a list of images, a list of such lists.

    Raises:
        UserError: The image cannot be read, or the model cannot be loaded.
    """
    if isinstance(model, str | os.PathLike):
        model = segformer.load_model(os.fspath(model))
    if isinstance(image, list | tuple):
        return [segment(each, model) for each in image]
    class_map = predict_class_map(read_pixels(image, model.preprocessing.apply_exif), model)
    return split_classes(class_map, model.labels.names)


def predict_class_map(pixels: np.ndarray, model: Segformer) -> np.ndarray:
    """Segments an image; the first call with a model compiles it.

    Args:
        pixels: uint8 `[height, width, 3]`, RGB, 0..255.
        model: From `load_model`.

    Returns:
        Class ids, int32 `[height, width]`.
    """
    return _classifier(model)(pixels[None])[0].numpy()


def split_classes(class_map: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns `score`, `label` and `mask` of each class of a class map, see `segment`.

    Args:
        class_map: Class ids, integer `[height, width]`.
        names: Names of the classes.
    """
    return [
        {"score": None, "label": names[class_id], "mask": to_mask(class_map, class_id)}
        for class_id in np.flatnonzero(count_pixels(class_map, len(names)))
    ]


def to_mask(class_map: np.ndarray, class_id: int) -> Image.Image:
    """Returns a PIL image of mode `L`: 255 where the class is, 0 elsewhere."""
    return Image.fromarray((class_map == class_id).astype(np.uint8) * np.uint8(255))


def count_pixels(class_map: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts the pixels of each class of a class map, integer `[height, width]`.

    Returns:
        int64 `[num_classes]`.
    """
    counts = np.zeros(num_classes, np.int64)
    # NumPy makes eight bytes of each pixel that it counts, so not all rows are counted at once.
    for first in range(0, len(class_map), _BAND_ROWS):
        rows = class_map[first : first + _BAND_ROWS]
        counts += np.bincount(rows.ravel(), minlength=num_classes)
    return counts


# Each model is compiled once; the entry of a model goes when the model does.
_classifiers: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _classifier(model: Segformer) -> tf.types.experimental.PolymorphicFunction:
    """Returns a compiled function from uint8 `[batch, height, width, 3]` to class ids."""
    if model not in _classifiers:
        images = tf.TensorSpec([None, None, None, 3], tf.uint8)
        classify = functools.partial(predict_class_maps, weakref.proxy(model))
        _classifiers[model] = tf.function(classify, input_signature=[images])
    return _classifiers[model]


def read_pixels(image: Any, apply_exif: bool) -> np.ndarray:
    """Reads one image in any of the forms that `segment` takes.

    Args:
        image: See `segment`.
        apply_exif: Whether the image is turned upright by its EXIF orientation.

    Returns:
        uint8 `[height, width, 3]`, RGB, 0..255.

    Raises:
        UserError: The image cannot be read.
    """
    if isinstance(image, str | os.PathLike | bytes):
        return _decode(image, apply_exif)
    if isinstance(image, Image.Image):
        return _convert(image, apply_exif)
    pixels = np.asarray(image)
    is_image = pixels.dtype == np.uint8 and pixels.size > 0
    if not is_image or (pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] not in (3, 4))):
        raise UserError(
            f"an image of type {type(image).__name__}, {pixels.dtype} {list(pixels.shape)}, cannot "
            "be segmented: give a path, the bytes of a file, a PIL image or a uint8 array "
            "[height, width, 3]"
        )
    return np.asarray(Image.fromarray(pixels).convert("RGB"))


def _convert(image: Image.Image, apply_exif: bool) -> np.ndarray:
    try:  # PIL decodes a file only now.
        upright = ImageOps.exif_transpose(image) if apply_exif else image
        return np.asarray(upright.convert("RGB"))
    except OSError as error:
        raise UserError(f"the image cannot be read: {error}") from error


def _decode(image: str | os.PathLike | bytes, apply_exif: bool) -> np.ndarray:
    is_path = not isinstance(image, bytes)
    if is_path:
        refuse_url(os.fspath(image))
    try:
        data = epath.Path(image).expanduser().read_bytes() if is_path else image
        return decode_image(data, apply_exif=apply_exif).numpy()
    except (OSError, ImageError) as error:
        name = files.printable(image) if is_path else "the image"
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{name} cannot be read: {reason}") from error
