"""The `shapes` data set: drawn scenes with exact masks, prepared once as a TFDS data set.

It needs no download, and a model learns it from scratch in minutes, so first runs and tests use it.
This module imports TFDS, which takes seconds; `shapes_drawing` holds the class names and the
drawing itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import tempfile
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tfseg.data.sources import shapes_drawing
from tfseg.data.sources.tfds import read_split
from tfseg.data.split import Split
from tfseg.errors import UserError

_logger = logging.getLogger(__name__)

SPLITS = ("train", "test")


@dataclasses.dataclass
class ShapesConfig(tfds.core.BuilderConfig):
    """Size of a variant of the data set.

    Attributes:
        num_examples: Number of scenes in each of `SPLITS`.
        seed: Seed of the drawings. Seed, split and position together decide a scene.
    """

    num_examples: tuple[int, int] = (2000, 200)
    seed: int = 0


class Shapes(tfds.core.GeneratorBasedBuilder):
    """TFDS builder of the drawn scenes."""

    # A prepared copy is reused for ever: raise the version whenever a drawing changes.
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (
        ShapesConfig(name="full", description="2000 scenes to train on, 200 to test on."),
        ShapesConfig(name="tiny", description="A few scenes for tests.", num_examples=(16, 8)),
    )

    def _info(self) -> tfds.core.DatasetInfo:
        image_shape = (shapes_drawing.IMAGE_SIZE, shapes_drawing.IMAGE_SIZE)
        # JPEG at TensorFlow's default quality of 95 takes 9 KB per scene; PNG takes 33 KB and 2 ms
        # longer on one core. Masks must stay exact, so they are PNG.
        features = {
            "image": tfds.features.Image(shape=(*image_shape, 3), encoding_format="jpeg"),
            "segmentation_mask": tfds.features.Image(
                shape=(*image_shape, 1), encoding_format="png"
            ),
            "name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Textured shapes in uneven light, with exact masks; 255 is void.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "segmentation_mask"),
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split):
        split_index = SPLITS.index(split)
        for index in range(self.builder_config.num_examples[split_index]):
            rng = np.random.default_rng((self.builder_config.seed, split_index, index))
            image, mask = shapes_drawing.draw_scene(rng)
            name = f"shapes_{split}_{index:05d}"
            yield name, {"image": image, "segmentation_mask": mask[..., None], "name": name}


def load(
    split: str,
    *,
    data_dir: str | None = None,
    config: str = "full",
    max_examples: int | None = None,
) -> Split:
    """Opens a split of the data set; the first call draws all scenes, which takes 10 seconds.

    Args:
        split: "train", "test" or a slice in TFDS's syntax, such as "train[:10%]".
        data_dir: Folder of prepared data sets, local or gs://. By default TFDS's own folder,
            `~/tensorflow_datasets`; if that cannot be written, a folder for temporary files.
        config: "full" (2000 and 200 scenes) or "tiny" (16 and 8).
        max_examples: Use only the first so many examples.

    Returns:
        Examples of 128x128 pixels, in the same order each time. Mask values are positions in
        `shapes_drawing.CLASS_NAMES`, and 255 for void.

    Raises:
        UserError: The split or config is unknown, or `data_dir` cannot be written.
    """
    if config not in Shapes.builder_configs:
        allowed = ", ".join(Shapes.builder_configs)
        raise UserError(f"shapes has no config {config!r}: use one of {allowed}")
    return read_split(
        _prepare(config, data_dir),
        "shapes",
        split,
        image_key="image",
        mask_key="segmentation_mask",
        max_examples=max_examples,
    )


def _prepare(config: str, data_dir: str | None) -> Shapes:
    try:
        return _draw_once(Shapes(config=config, data_dir=data_dir))
    except (OSError, tf.errors.OpError) as error:
        if data_dir is not None:
            raise UserError(
                f"cannot prepare shapes under {data_dir}: {error}; "
                "set --data_dir to a folder that can be written"
            ) from error
        fallback = os.path.join(tempfile.gettempdir(), "tensorflow_datasets")
        _logger.warning(
            "cannot prepare shapes in TFDS's folder (%s): using %s; --data_dir sets another one",
            error,
            fallback,
        )
        return _prepare(config, fallback)


def _draw_once(builder: Shapes) -> Shapes:
    if builder.data_path.exists():
        return builder
    _logger.info("drawing %s into %s, once", builder.info.full_name, builder.data_path)
    try:
        with _without_progress():
            builder.download_and_prepare()
    except OSError:
        # TFDS renames a finished temporary folder. This fails if another process was faster.
        if not builder.data_path.exists():
            raise
        return Shapes(config=builder.builder_config.name, data_dir=builder.data_dir_root)
    return builder


@contextlib.contextmanager
def _without_progress() -> Iterator[None]:
    tfds.disable_progress_bar()
    try:
        # TFDS prints a line about a download, but nothing is downloaded here.
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
