"""Folders of small pictures for the tests of the data room."""

import pytest

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import numpy as np
from PIL import Image


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class FolderWriter:
    """Writes a data set in ADE20K's layout; pixels of image i are i times 10, its mask i % 3."""

    def __init__(self, root):
        self.root = root

    def image_path(self, split, name):
        return self._path("images", split, name)

    def mask_path(self, split, name):
        return self._path("annotations", split, name)

    def pair(self, split, stem, image=None, mask=None, *, suffix=".png", mask_suffix=".png"):
        image = np.zeros((8, 10, 3), np.uint8) if image is None else image
        mask = np.zeros(image.shape[:2], np.uint8) if mask is None else mask
        Image.fromarray(image).save(self.image_path(split, stem + suffix), quality=95)
        Image.fromarray(mask).save(self.mask_path(split, stem + mask_suffix))

    def pairs(self, split, count):
        for index in range(count):
            size = (8 + index, 10 + 2 * index)
            image = np.full((*size, 3), 10 * index, np.uint8)
            self.pair(split, f"{index:03d}", image, np.full(size, index % 3, np.uint8))

    def _path(self, part, split, name):
        path = self.root / part / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@pytest.fixture
def folder(tmp_path):
    return FolderWriter(tmp_path / "pictures")
