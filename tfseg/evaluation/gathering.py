"""Takes the images of an evaluation as they are scored: counts, mask files, progress."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfseg import files
from tfseg.evaluation.evaluator import ScoredImages


class Gathering:
    """Keeps the counts of each image, writes its mask, and moves a progress bar.

    The bar tells how many images are left and for how long; it is drawn on a terminal only. Of each
    image the counts alone stay in memory.

    Args:
        names: Names of the images, in the order in which they are scored.
        folder: Folder for the masks, PNG files `<name>.png` of class ids; None to write none.

    Raises:
        UserError: The folder cannot be created.
    """

    def __init__(self, names: Sequence[str], folder: str | None):
        self._names = names
        self._folder = None if folder is None else files.make_folder(folder, "save_predictions")
        self._counts: list[np.ndarray] = []
        self._num_done = 0

    def __enter__(self) -> Gathering:
        from tqdm import tqdm

        # disable=None draws no bar where the output is no terminal.
        self._bar = tqdm(desc="scoring", total=len(self._names), unit="image", disable=None)
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()

    def add(self, images: ScoredImages) -> None:
        """Takes the next images, see `Evaluator.evaluate`."""
        self._counts.append(images.counts)
        if self._folder is not None:
            for offset, class_map in enumerate(images.class_maps):
                path = self._folder / f"{self._names[self._num_done + offset]}.png"
                png = tf.io.encode_png(class_map[..., None])
                files.write_atomically(path, png.numpy())
        self._num_done += len(images.counts)
        self._bar.update(len(images.counts))

    def counts(self) -> np.ndarray:
        """Returns the counts of all images, int64 `[num_images, 3, num_classes]`."""
        return np.concatenate(self._counts)
