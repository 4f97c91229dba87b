"""Examples from a Hugging Face data set, read by index from Arrow.

The records of a split are row indices, so a shuffle holds all of them. Decoding a record fetches
the encoded bytes of its cells from Arrow's buffers, which lie in memory-mapped files, and decodes
them in tf.data, in parallel.

`Dataset.to_tf_dataset` cannot do that: it accepts numbers and text but no bytes ("Unrecognized
array dtype object"; `datasets` 5.0.1), so encoded files would have to travel as arrays of numbers,
padded to the longest of their batch, with 8 bytes for each. Measured on 2 CPU cores with 2,000 JPEG
photographs of 500x375 (57 kB) and their PNG masks, shuffled and decoded, in November 2026:

| way into tf.data                         | images/s   | peak memory beyond that at the start |
|------------------------------------------|------------|--------------------------------------|
| `to_tf_dataset`, bytes as numbers        | 353 to 397 | 170 to 210 MB                        |
| `from_generator` over rows of `datasets` | 383 to 786 | 145 MB                               |
| Arrow's buffers, one index per call      | 746 to 823 | 150 MB                               |
| Arrow's buffers, 8 indices per call      | 750 to 977 | 155 MB                               |

The generator reads one row after the other; a call per index is simpler than one per block.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from etils import epath

from tfseg.data import remembered
from tfseg.data.images import decode_with_mask
from tfseg.data.labels import LabelSpec
from tfseg.data.masks import decode_mask_tensor
from tfseg.data.sources import checks, huggingface_cells, huggingface_tables
from tfseg.data.sources.checks import EncodedExample
from tfseg.data.sources.huggingface_cells import Cells, SegmentLists
from tfseg.data.split import Part, Split
from tfseg.errors import UserError

_DIVISION_SEED = 0


def load(
    path: str,
    split: str,
    labels: LabelSpec,
    *,
    image_key: str | None = None,
    mask_key: str | None = None,
    config_name: str | None = None,
    revision: str | None = None,
    part: Part | None = None,
    max_examples: int | None = None,
    on_bad_example: str = "error",
    apply_exif: bool = True,
) -> Split:
    """Opens a split with an image column and a mask column of encoded pictures.

    A column of lists of `{id, category_id}`, as Segments.ai has it, says which class each segment
    of the mask is; see `segments`.

    Every example is decoded once before training starts; see `checks`.

    Args:
        path: Hub id, or a local data set; see `huggingface_tables`.
        split: Split in the syntax of `datasets`, e.g. `train[:80%]`.
        labels: Classes, for the strict check of mask values.
        image_key: Image column; None to find it, see `huggingface_cells.find_columns`.
        mask_key: Mask column; None to find it.
        config_name: Configuration of a data set that has several.
        revision: Branch, tag or commit of a Hub id.
        part: Use only this part of the split; None for all of it. `datasets` divides the split, by
            `train_test_split` with seed 0, and `test` is the part held out.
        max_examples: Use only the first so many examples.
        on_bad_example: `error`, `skip` to log bad examples and leave them out, or `keep` to open
            all of them unchecked.
        apply_exif: Whether JPEG files are turned upright, and masks along with them; see `exif`.

    Returns:
        Examples with raw mask values, named `<split>_<index>`; the index counts the rows of the
        split, before any of them is left out.

    Raises:
        UserError: The data set, split or column is unknown or cannot be fetched, an example is bad,
            or a cell names a file outside the data set.
    """
    table = huggingface_tables.open_table(path, split, config_name=config_name, revision=revision)
    keys = huggingface_cells.find_columns(table.features, image_key, mask_key, path)
    folders = huggingface_tables.own_folders(path)
    columns = {key: Cells(table.data.column(key), path, folders) for key in keys}
    segments = huggingface_cells.find_segments(table.data, f"hf:{path}")
    rows = _choose_rows(len(table), part, f"hf:{path}, split {split}")[:max_examples]
    cells = {"columns": columns, "segments": segments, "split": split}
    read = functools.partial(_read_row, **cells)
    usable = checks.find_usable(
        lambda position: read(rows[position]),
        len(rows),
        labels,
        split=split,
        on_bad_example=on_bad_example,
        state=_state(table, columns, rows),
        apply_exif=apply_exif,
    )
    indices = np.array([rows[position] for position in usable.indices], np.int64)
    decode = functools.partial(_decode_row, **cells, labels=labels, apply_exif=apply_exif)
    records = tf.data.Dataset.from_tensor_slices(indices)
    return Split(split, records, len(indices), usable.digest, decode, read, usable.pixels)


def _state(table, columns: dict[str, Cells], rows: Sequence[int]) -> str | None:
    """Returns what identifies the rows; None if their cells name files, which may change."""
    if not all(column.is_embedded for column in columns.values()):
        return None
    files = remembered.state_of_files(epath.Path(file["filename"]) for file in table.cache_files)
    return repr((files, table._fingerprint, tuple(columns), tuple(rows)))


def _decode_row(
    index: tf.Tensor,
    columns: dict[str, Cells],
    segments: SegmentLists | None,
    split: str,
    labels: LabelSpec,
    apply_exif: bool,
) -> dict[str, tf.Tensor]:
    def read(index: np.ndarray) -> tuple[bytes | np.ndarray, ...]:
        row = index.item()
        cells = [column.read(row) for column in columns.values()]
        return *cells, *(segments.read(row) if segments else ())

    types = [tf.string, tf.string, *([tf.int32, tf.int32] if segments else ())]
    image_bytes, mask_bytes, *own = tf.numpy_function(read, [index], types, stateful=False)
    image_bytes, mask_bytes = (tf.ensure_shape(part, ()) for part in (image_bytes, mask_bytes))
    own = [tf.ensure_shape(part, (None,)) for part in own]
    mask = decode_mask_tensor(mask_bytes, labels, own or None)
    image, mask = decode_with_mask(image_bytes, mask, apply_exif=apply_exif)
    name = tf.strings.join([split, "_", tf.strings.as_string(index)])
    return {"image": image, "mask": mask, "name": name}


def _read_row(
    index: int, columns: dict[str, Cells], segments: SegmentLists | None, split: str
) -> EncodedExample:
    names = [f"{key} of {split}_{index}" for key in columns]
    cells = (column.read(index, name) for column, name in zip(columns.values(), names, strict=True))
    return EncodedExample(*cells, *names, segments and segments.read(index))


def _choose_rows(count: int, part: Part | None, source: str) -> Sequence[int]:
    """Returns the rows of a part. Dividing the numbers of the rows divides the rows alike."""
    if part is None:
        return range(count)
    from datasets import Dataset

    numbers = Dataset.from_dict({"row": range(count)})
    try:
        parts = numbers.train_test_split(test_size=part.fraction, seed=_DIVISION_SEED)
    except ValueError as error:  # one of the parts would be empty
        raise UserError(
            f"--eval_fraction={part.fraction:g} leaves no example in one part of {source}, which "
            f"has {count} examples; choose another fraction, or set --eval_split"
        ) from error
    return parts["test" if part.is_held_out else "train"]["row"][:]
