"""Encoded pictures for splits that a test makes itself."""

import io

import numpy as np
from PIL import Image

from tfseg.data.sources.checks import EncodedExample


def encoded_png(shape, seed=0):
    """Returns a PNG: noise for a shape with channels, zeros for a mask."""
    high = 255 if len(shape) == 3 else 1
    pixels = np.random.default_rng(seed).integers(0, high, shape, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def read_record(record):
    """Reads a record that holds its image and mask itself."""
    name = record["name"].decode()
    return EncodedExample(record["image"], record["mask"], name, f"mask of {name}")
