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
_SCRIPT_ERROR = "Dataset scripts are no longer supported"  # `datasets` raises it as RuntimeError


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
    """Opens a split whose image and mask columns are `datasets.Image`.

    Every example is decoded once before training starts; see `checks`.

    Args:
        path: Hub id or local folder, as `datasets.load_dataset` takes it.
        split: Split in the syntax of `datasets`, e.g. `train[:80%]`.
        labels: Classes, for the strict check of mask values.
        image_key: Image column; by default the first that has a usual name.
        mask_key: Mask column; by default the first that has a usual name.
        max_examples: Use only the first so many examples.
        on_bad_example: `error`, `skip` to log bad examples and leave them out, or `keep` to open
            all of them unchecked.

    Returns:
        Examples with raw mask values, named `<split>_<index>`.

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

    def read_usable() -> Iterator[dict[str, bytes | str]]:
        for index in usable.indices:
            image, mask, _, _ = read(index)
            yield {"image": image, "mask": mask, "name": f"{split}_{index}"}

    signature = dict.fromkeys(("image", "mask", "name"), tf.TensorSpec((), tf.string))
    encoded = tf.data.Dataset.from_generator(read_usable, output_signature=signature)
    encoded = encoded.apply(tf.data.experimental.assert_cardinality(len(usable.indices)))
    return Split(split, encoded, len(usable.indices), usable.digest, _decode)


def _load_table(path: str, split: str):
    import datasets

    path = os.path.expanduser(path)
    is_local = os.path.isdir(path) or path.endswith(".py")
    asks_hub = not is_local and not datasets.config.HF_HUB_OFFLINE
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    if asks_hub and not network.hub_answers():
        raise _unreachable_hub(path)
    try:
        return datasets.load_dataset(path, split=split)
    except Exception as error:  # `datasets` raises many types, and those of the formats it reads
        if asks_hub and not network.hub_answers():
            raise _unreachable_hub(path) from error
        if isinstance(error, RuntimeError) and _SCRIPT_ERROR in str(error):
            raise _loading_script(path) from error
        raise UserError(f"--dataset=hf:{path}, split {split!r}: {_reason(error)}") from error


def _unreachable_hub(path: str) -> UserError:
    return UserError(
        f"--dataset=hf:{path} is no local folder, and the Hugging Face Hub did not answer; set "
        "HF_HUB_OFFLINE=1 to use a copy that is already in the cache, or download one on a machine "
        f"with a network: hf download --repo-type dataset {path} --local-dir DIR, then "
        "--dataset=hf:DIR; --dataset=shapes needs no network"
    )


def _loading_script(path: str) -> UserError:
    name = "NAME" if os.path.exists(path) else path
    return UserError(
        f"--dataset=hf:{path} is a loading script, and `datasets` 4 and later run none; download "
        f"the Hub's parquet copy: hf download --repo-type dataset {name} --revision "
        "refs/convert/parquet --local-dir DIR, then --dataset=hf:DIR/CONFIGURATION (DIR holds one "
        "folder per configuration)"
    )


def _reason(error: Exception) -> str:
    """Returns an exception in one line; `datasets` wraps an error while it converts files."""
    from datasets.exceptions import DatasetGenerationError

    if isinstance(error, DatasetGenerationError) and error.__cause__:
        error = error.__cause__
    return f"{' '.join(str(error).split())} ({type(error).__name__})"


def _column(table, key: str | None, usual: tuple[str, ...], flag: str, path: str) -> str:
    """Returns the name of an image column: the given one, or the first that has a usual name."""
    from datasets import Image

    columns = [name for name, feature in table.features.items() if isinstance(feature, Image)]
    key = key or next((name for name in usual if name in columns), None)
    if key not in columns:
        received = f"--{flag}={key} is" if key else f"--{flag} is needed: {', '.join(usual)} are"
        allowed = ", ".join(columns) or "it has none"
        raise UserError(f"{received} no image column of hf:{path} (allowed: {allowed})")
    return key


def _bytes(cell: dict[str, Any] | None) -> bytes:
    """Returns the encoded picture of an undecoded cell; no bytes if the cell is empty."""
    if cell is None:
        return b""
    if cell["bytes"] is not None:
        return cell["bytes"]
    with open(os.fspath(cell["path"]), "rb") as file:
        return file.read()


def _decode(encoded: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    image, mask = decode_image(encoded["image"]), decode_mask_tensor(encoded["mask"])
    return {"image": image, "mask": mask, "name": encoded["name"]}
