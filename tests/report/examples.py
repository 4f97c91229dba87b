"""Random images, masks and class maps for the tests of this folder."""

import io

import numpy as np
from PIL import Image

from tfseg.data.labels import LabelSpec

LABELS = LabelSpec(("_background_", "cost in $ or $$", "a<b"))


def make_example(height, width, seed=0):
    """Returns an image, a mask of two classes, and a class map that is wrong everywhere."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    mask = rng.integers(0, 2, (height, width)).astype(np.int32)
    return image, mask, 1 - mask


def ink_at_edge(picture):
    dark = np.asarray(picture.convert("L")) < 250
    return dark[[0, -1]].any() or dark[:, [0, -1]].any()


def read_png(content):
    return Image.open(io.BytesIO(content))
