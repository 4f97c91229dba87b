"""Examples from a Hugging Face data set: a Hub id, or a local folder of parquet files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tfseg import network
from tfseg.data.images import decode_image
from tfseg.data.labels import LabelSpec
from tfseg.data.masks import decode_mask_tensor
from tfseg.data.sources import checks
from tfseg.data.sources.checks import EncodedExample
from tfseg.data.split import Split
from tfseg.errors import UserError

_IMAGE_KEYS = ("image", "pixel_values", "img")
_MASK_KEYS = ("mask", "label", "labels", "annotation", "segmentation_mask")


def load(
    path: str,
    split: str,
    labels: LabelSpec,
    *,
    image_key: str | None = None,
    mask_key: str | None = None,
    max_examples: int | None = None,
    on_bad_example: str = "error",
) -> Split:
    """Loads a split whose image and mask columns are `datasets.Image`.

    Every example is decoded once before training starts, as those of a folder.

    Args:
        path: Hub id or local folder, as `datasets.load_dataset` takes it.
        split: Split, with slices such as `train[:80%]`.
        labels: Classes, for the strict check of mask values.
        image_key: Image column; the first usual name where not given.
        mask_key: Mask column; the first usual name where not given.
        max_examples: Use the first so many.
        on_bad_example: `error`, or `skip` to go on without the example and count.

    Returns:
        Examples `image` uint8 `[height, width, 3]`, `mask` int32 `[height, width]` of raw values
        and `name` string scalar.

    Raises:
        UserError: The data set, split or column is unknown or cannot be fetched, or an example
            is bad.
    """
    from datasets import Image

    table = _load_table(path, split)
    image_key = _column(table, image_key, _IMAGE_KEYS, "image_key", path)
    mask_key = _column(table, mask_key, _MASK_KEYS, "mask_key", path)
    table = table.select_columns([image_key, mask_key])
    for key in (image_key, mask_key):
        table = table.cast_column(key, Image(decode=False))

    def read(index: int) -> EncodedExample:
        row, name = table[index], f"{split}_{index}"
        image, mask = _bytes(row[image_key]), _bytes(row[mask_key])
        return EncodedExample(image, mask, f"{image_key} of {name}", f"{mask_key} of {name}")

    count = min(len(table), max_examples or len(table))
    usable = checks.find_usable(read, count, labels, split=split, on_bad_example=on_bad_example)

    def read_usable() -> Iterator[tuple[bytes, bytes, str]]:
        for index in usable.indices:
            image, mask, _, _ = read(index)
            yield image, mask, f"{split}_{index}"

    scalar = tf.TensorSpec((), tf.string)
    encoded = tf.data.Dataset.from_generator(read_usable, output_signature=(scalar,) * 3)
    encoded = encoded.apply(tf.data.experimental.assert_cardinality(len(usable.indices)))
    examples = encoded.map(_decode, num_parallel_calls=tf.data.AUTOTUNE)
    return Split(split, examples, len(usable.indices), usable.digest)


def _load_table(path: str, split: str):
    import datasets

    path = os.path.expanduser(path)
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    is_offline = datasets.config.HF_HUB_OFFLINE
    if not os.path.isdir(path) and not network.host_answers(datasets.config.HF_ENDPOINT):
        # A look-up without a network retries for 23 seconds, with a line each. Offline, `datasets`
        # opens its own copy at once, if it has one.
        datasets.config.HF_HUB_OFFLINE = True
    try:
        return datasets.load_dataset(path, split=split)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"--dataset=hf:{path}, split {split!r}: {reason}") from error
    except datasets.exceptions.DatasetNotFoundError as error:
        raise UserError(f"--dataset=hf:{path} is no local folder, and: {error}") from error
    except Exception as error:
        raise UserError(
            f"--dataset=hf:{path} is no local folder that `datasets` can read, and the Hub did not "
            f"answer ({type(error).__name__}); on a machine with a network: hf download --repo-type"
            f" dataset {path} --local-dir DIR, then --dataset=hf:DIR; --dataset=shapes needs none"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = is_offline


def _column(table, key: str | None, usual: tuple[str, ...], flag: str, path: str) -> str:
    """Returns the name of an image column: the one asked for, or the first usual one."""
    from datasets import Image

    columns = [name for name, feature in table.features.items() if isinstance(feature, Image)]
    key = key or next((name for name in usual if name in columns), None)
    if key not in columns:
        received = f"--{flag}={key} is" if key else f"--{flag} is needed: {', '.join(usual)} are"
        allowed = ", ".join(columns) or "it has none"
        raise UserError(f"{received} no image column of hf:{path} (allowed: {allowed})")
    return key


def _bytes(cell: dict[str, Any] | None) -> bytes:
    if cell is None:
        return b""
    if cell["bytes"] is not None:
        return cell["bytes"]
    with open(os.fspath(cell["path"]), "rb") as file:
        return file.read()


def _decode(image: tf.Tensor, mask: tf.Tensor, name: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"image": decode_image(image), "mask": decode_mask_tensor(mask), "name": name}
