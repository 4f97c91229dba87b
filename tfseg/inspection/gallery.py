"""Pictures of examples: as they are in the data set, and as the model sees them in training."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tfseg.config.train_data_section import TrainDataConfig
from tfseg.data import bad_examples, pipeline
from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split
from tfseg.data.transforms import Preprocessing
from tfseg.inspection.example import Thumbnail, shrink_pair
from tfseg.report import visualization

_JPEG_QUALITY = 80


def data_uris(thumbnail: Thumbnail, labels: LabelSpec) -> tuple[str, str, str]:
    """Returns image, class colours and overlay of a thumbnail as data URIs."""
    palette = labels.palette
    overlay = visualization.overlay(thumbnail.image, thumbnail.class_map, palette)
    colors = visualization.encode_png(visualization.colorize(thumbnail.class_map, palette))
    return _jpeg_uri(thumbnail.image), _uri(colors, "png"), _jpeg_uri(overlay)


def _jpeg_uri(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return _uri(buffer.getvalue(), "jpeg")


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def draw_batch(
    split: Split,
    positions: Sequence[int],
    labels: LabelSpec,
    config: TrainDataConfig,
    image_size: tuple[int, int],
) -> list[Thumbnail]:
    """Returns one training batch of the examples at these positions, cropped and augmented.

    Args:
        split: The training split, unchecked, with raw mask values.
        positions: Positions of usable examples.
        labels: The data set's classes.
        config: Crops and augmentation.
        image_size: (height, width) in pixels of what the model sees.
    """
    chosen = bad_examples.map_to_classes(split.select(positions), labels)
    preprocessing = Preprocessing(image_size)
    batches = pipeline.build_training(
        chosen, config, preprocessing, labels, batch_size=len(positions), seed=0
    )
    images, class_maps = (part.numpy() for part in next(iter(batches)))
    pixels = images * np.array(preprocessing.std) + np.array(preprocessing.mean)
    pixels = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    pairs = zip(pixels, class_maps, strict=True)
    return [
        Thumbnail(f"augmented {number}", *shrink_pair(image, class_map))
        for number, (image, class_map) in enumerate(pairs, 1)
    ]
