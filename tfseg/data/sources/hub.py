"""Examples from a Hugging Face data set: a Hub id, or a local folder of parquet files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tfseg.data.sources.folder import decode_mask
from tfseg.errors import UserError

_IMAGE_KEYS = ("image", "pixel_values", "img")
_MASK_KEYS = ("mask", "label", "labels", "annotation", "segmentation_mask")


def load(
    path: str,
    split: str,
    *,
    image_key: str | None = None,
    mask_key: str | None = None,
    max_examples: int | None = None,
) -> tf.data.Dataset:
    """Loads a split whose image and mask columns are `datasets.Image`.

    Args:
        path: Hub id or local folder, as `datasets.load_dataset` takes it.
        split: Split, with slices such as `train[:80%]`.
        image_key: Image column; the first usual name where not given.
        mask_key: Mask column; the first usual name where not given.
        max_examples: Use the first so many.

    Returns:
        Examples `image` uint8 `[height, width, 3]`, `mask` int32 `[height, width]` of raw values
        and `name` string scalar.

    Raises:
        UserError: The data set, split or column is unknown, or cannot be fetched.
    """
    from datasets import Image

    table = _load_table(path, split)
    image_key = _column(table, image_key, _IMAGE_KEYS, "image_key", path)
    mask_key = _column(table, mask_key, _MASK_KEYS, "mask_key", path)
    table = table.select_columns([image_key, mask_key])
    for key in (image_key, mask_key):
        table = table.cast_column(key, Image(decode=False))
    count = min(len(table), max_examples or len(table))

    def read_bytes() -> Iterator[tuple[bytes, bytes, str]]:
        for index in range(count):
            row = table[index]
            yield _bytes(row[image_key]), _bytes(row[mask_key]), f"{split}_{index}"

    scalar = tf.TensorSpec((), tf.string)
    encoded = tf.data.Dataset.from_generator(read_bytes, output_signature=(scalar,) * 3)
    encoded = encoded.apply(tf.data.experimental.assert_cardinality(count))
    return encoded.map(_decode, num_parallel_calls=tf.data.AUTOTUNE)


def _load_table(path: str, split: str):
    import datasets

    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(path, split=split)
    except ValueError as error:
        raise UserError(f"--dataset=hf:{path}, split {split!r}: {error}") from error
    except Exception as error:
        raise UserError(
            f"--dataset=hf:{path} is no local folder that `datasets` can read, and the Hub did not "
            f"answer ({type(error).__name__}); on a machine with a network: hf download --repo-type"
            f" dataset {path} --local-dir DIR, then --dataset=hf:DIR; --dataset=shapes needs none"
        ) from error


def _column(table, key: str | None, usual: tuple[str, ...], flag: str, path: str) -> str:
    columns = table.column_names
    key = key or next((name for name in usual if name in columns), None)
    if key not in columns:
        raise UserError(f"--{flag}={key} is no column of hf:{path} (allowed: {', '.join(columns)})")
    return key


def _bytes(cell: dict[str, Any]) -> bytes:
    if cell["bytes"] is not None:
        return cell["bytes"]
    with open(os.fspath(cell["path"]), "rb") as file:
        return file.read()


def _decode(image: tf.Tensor, mask: tf.Tensor, name: tf.Tensor) -> dict[str, tf.Tensor]:
    pixels = tf.io.decode_image(image, channels=3, expand_animations=False)
    values = tf.numpy_function(decode_mask, [mask], tf.int32, stateful=False)
    pixels.set_shape((None, None, 3))
    values.set_shape((None, None))
    return {"image": pixels, "mask": values, "name": name}
