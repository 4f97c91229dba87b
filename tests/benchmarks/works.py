"""The works of the benchmarks: the same weights, batches and photographs for all contestants."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

LEARNING_RATE, WEIGHT_DECAY = 6e-5, 0.01
PHOTO_SIZE = (375, 500)
_BATCH_FILE = "batch.npz"

# Without dropout nothing is random, so that the losses of the contestants can be compared.
_WITHOUT_DROPOUT = {
    "drop_path_rate": 0.0,
    "classifier_dropout_prob": 0.0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
_TINY_SIZES = {
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 1, 2, 2],
    "decoder_hidden_size": 16,
}


@dataclasses.dataclass(frozen=True)
class Work:
    """A work that the contestants do and that is measured.

    Attributes:
        name: Its name in the table and the JSON file.
        batch_size: Images per batch.
        image_size: Height and width of the images in pixels.
        num_classes: Number of classes of the model.
        steps: Number of calls, batches or epochs that one round times.
        cache: `TrainDataConfig.cache`, for works that measure the input pipeline.
        precision: tfseg's precision. In a mixed precision its peer is tfseg in float32.
        backbone: The encoder, for works that compare sizes of the model.
    """

    name: str
    batch_size: int
    image_size: int
    num_classes: int
    steps: int
    cache: str = "none"
    precision: str = "float32"
    backbone: str = "mit-b0"

    @property
    def is_tiny(self) -> bool:
        """Whether the model is a toy, and peers that take minutes to start are skipped."""
        return self.name == "tiny"


def prepare(work: Work, folder: Path) -> None:
    """Writes a SegFormer-B0 with seeded weights in PyTorch's layout, and a batch for it.

    The tiny work gets a toy model instead.
    """
    from transformers import SegformerConfig

    from tfseg.data.labels import LabelSpec
    from tfseg.data.transforms import Preprocessing
    from tfseg.models import checkpoint, initializers, segformer

    labels = LabelSpec(tuple(f"class {index}" for index in range(work.num_classes)))
    config = SegformerConfig(**_WITHOUT_DROPOUT, **(_TINY_SIZES if work.is_tiny else {}))
    checkpoint.set_labels(config, labels)
    preprocessing = Preprocessing((work.image_size, work.image_size))
    model = segformer.Segformer(config, labels, preprocessing)
    initializers.initialize(model.network, seed=0)
    segformer.save_model(model, str(folder))

    rng = np.random.default_rng(0)
    size = preprocessing.image_size
    examples = [draw_example(rng, size, work.num_classes) for _ in range(work.batch_size)]
    images, masks = (np.stack(arrays) for arrays in zip(*examples, strict=True))
    inputs = preprocessing(images).numpy()
    mean, std = np.float32(preprocessing.mean), np.float32(preprocessing.std)
    np.savez(folder / _BATCH_FILE, images=images, masks=masks, inputs=inputs, mean=mean, std=std)


def load_batch(folder: Path) -> Mapping[str, np.ndarray]:
    """Loads the batch that `prepare` wrote.

    Returns:
        `images`: uint8 `[batch, height, width, 3]`. `inputs`: the normalised images, float32 of the
        same shape. `masks`: int32 `[batch, height, width]`. `mean` and `std`: float32 `[3]`, for
        images in [0, 1].
    """
    with np.load(folder / _BATCH_FILE) as batch:
        return dict(batch)


def draw_example(rng, size: tuple[int, int], num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws an image of coloured clouds with sensor noise, and a mask of random patches.

    No pixel is void, because the loss of transformers' TensorFlow model fails on a CPU if one is.

    Returns:
        The image, uint8 `[height, width, 3]`, and the mask, int32 `[height, width]`.
    """
    height, width = size
    clouds = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8))
    clouds = np.asarray(clouds.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    image = np.clip(clouds + rng.normal(0, 8, clouds.shape), 0, 255).astype(np.uint8)
    patches = Image.fromarray(rng.integers(0, num_classes, (16, 16), np.uint8))
    mask = np.asarray(patches.resize((width, height), Image.Resampling.NEAREST), np.int32)
    return image, mask


def write_photographs(folder: Path, num_classes: int, counts: Mapping[str, int]) -> None:
    """Writes JPEG photographs and PNG masks in ADE20K's layout.

    Args:
        folder: Folder to which `images/<split>`, `annotations/<split>` and `id2label.json` are
            written.
        num_classes: Number of classes; mask values run from 0 to `num_classes - 1`.
        counts: Split -> number of photographs.
    """
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        images, masks = folder / "images" / split, folder / "annotations" / split
        for part in (images, masks):
            part.mkdir(parents=True)
        for index in range(count):
            image, mask = draw_example(rng, PHOTO_SIZE, num_classes)
            Image.fromarray(image).save(images / f"{index:04}.jpg", quality=90)
            Image.fromarray(mask.astype(np.uint8)).save(masks / f"{index:04}.png")
    names = {index: f"class {index}" for index in range(num_classes)}
    (folder / "id2label.json").write_text(json.dumps(names))
