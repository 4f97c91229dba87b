"""The `shapes` data set: drawn scenes with exact masks, prepared once as a TFDS data set.

It needs no download and is learned from scratch in minutes, so it serves first runs and tests.
This module imports TFDS, which takes seconds; names of classes and the drawing itself are in
`shapes_drawing`.
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
from tfseg.errors import UserError, nearest_name

_logger = logging.getLogger(__name__)

SPLITS = ("train", "test")


@dataclasses.dataclass
class ShapesConfig(tfds.core.BuilderConfig):
    """Size of a variant of the data set.

    Attributes:
        num_examples: Scenes in each of `SPLITS`.
        seed: With split and position it decides a scene.
    """

    num_examples: tuple[int, int] = (2000, 200)
    seed: int = 0


class Shapes(tfds.core.GeneratorBasedBuilder):
    """TFDS builder of the drawn scenes."""

    # A prepared copy is reused for ever: whoever changes a drawing raises the version.
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (
        ShapesConfig(name="full", description="2000 scenes to train on, 200 to test on."),
        ShapesConfig(name="tiny", description="A few scenes for tests.", num_examples=(16, 8)),
    )

    def _info(self) -> tfds.core.DatasetInfo:
        image_shape = (shapes_drawing.IMAGE_SIZE, shapes_drawing.IMAGE_SIZE)
        # JPEG (TensorFlow's default quality, 95): 9 KB a scene where PNG takes 33 KB and, on one
        # core, 2 ms more. Masks must stay exact.
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


def load(split: str, *, data_dir: str | None = None, config: str = "full") -> tf.data.Dataset:
    """Reads a split of the data set; the first call draws all scenes, about 10 seconds.

    Args:
        split: "train", "test" or a slice in TFDS's notation, such as "train[:10%]".
        data_dir: Folder of prepared data sets, local or gs://. None: TFDS's own,
            `~/tensorflow_datasets`; if that cannot be written, a folder for temporary files.
        config: "full" (2000 and 200 scenes) or "tiny" (16 and 8).

    Returns:
        Examples {"image": uint8 `[128, 128, 3]`, "mask": uint8 `[128, 128]`, "name": string},
        in the same order each time. Mask values are positions in `shapes_drawing.CLASS_NAMES`,
        and 255 for void.

    Raises:
        UserError: An unknown split or config, or a `data_dir` that cannot be written.
    """
    if config not in Shapes.builder_configs:
        allowed = ", ".join(Shapes.builder_configs)
        raise UserError(f"shapes has no config {config!r}: use one of {allowed}")
    builder = _prepare(config, data_dir)
    try:
        examples = builder.as_dataset(split=split)
    except ValueError as error:
        raise UserError(
            f"shapes has no split {split!r}{nearest_name(split, SPLITS)}: set --train_split and "
            f"--eval_split to one of {', '.join(SPLITS)}, or to a slice such as train[:10%]"
        ) from error
    return examples.map(_to_raw_example, num_parallel_calls=tf.data.AUTOTUNE)


def _to_raw_example(example):
    mask = tf.squeeze(example["segmentation_mask"], axis=-1)
    return {"image": example["image"], "mask": mask, "name": example["name"]}


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
        # TFDS renames a finished temporary folder, which fails if another process was first.
        if not builder.data_path.exists():
            raise
        return Shapes(config=builder.builder_config.name, data_dir=builder.data_dir_root)
    return builder


@contextlib.contextmanager
def _without_progress() -> Iterator[None]:
    tfds.disable_progress_bar()
    try:
        # TFDS prints a line about a download, which there is none of.
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
