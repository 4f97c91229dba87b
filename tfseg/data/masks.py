"""Mask files: how their bytes become raw values, and raw values become class ids."""

from __future__ import annotations

import io

import numpy as np
import tensorflow as tf
from etils import epath
from PIL import Image, UnidentifiedImageError

from tfseg.data import images
from tfseg.data.labels import LabelSpec

MASK_SUFFIXES = (".png",)  # lossless; JPEG would change the values


class MaskError(ValueError):
    """Bytes that cannot be read as a mask; the message is the reason, without a name."""


def list_masks(folder: epath.Path) -> list[epath.Path]:
    """Returns the mask files of a folder, sorted by name; it does not search subfolders."""
    return images.list_files(folder, MASK_SUFFIXES)


def decode_mask(data: bytes) -> np.ndarray:
    """Decodes a mask file to raw values.

    PIL does this, because `tf.io.decode_png` turns the indices of a palette PNG into the gray of
    their colours.

    Args:
        data: The content of the file: a picture of one channel with 1, 8 or 16 bits.

    Returns:
        int32 `[height, width]`.

    Raises:
        MaskError: The file holds colours, is no picture, or is damaged.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            values = np.asarray(picture)
    except UnidentifiedImageError as error:
        raise MaskError("it is no picture, or its beginning is damaged") from error
    # PIL has no common base class for what it raises on damaged files.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MaskError(f"it is damaged: {error}") from error
    if values.ndim != 2:
        raise MaskError(
            f"it has {values.shape[2]} channels; a mask has one, whose values are class numbers"
        )
    return values.astype(np.int32)


def decode_mask_tensor(data: tf.Tensor) -> tf.Tensor:
    """Does what `decode_mask` does inside `Dataset.map`: string scalar to int32 `[height, width]`.

    Raises:
        tf.errors.InvalidArgumentError: Where `decode_mask` raises MaskError.
    """
    values = tf.numpy_function(decode_mask, [data], tf.int32, stateful=False)
    values.set_shape((None, None))
    return values


def map_mask_values(mask: tf.Tensor, labels: LabelSpec) -> tf.Tensor:
    """Maps raw mask values to class ids; values without a class become the ignore index.

    Args:
        mask: uint8, uint16 or int32 of any shape, raw values.
        labels: The data set's classes.

    Returns:
        int32 of the same shape, class ids and `labels.ignore_index`.
    """
    table = labels.lookup_table()
    raw = tf.cast(mask, tf.int32)
    index = tf.where(raw < 0, len(table) - 1, tf.minimum(raw, len(table) - 1))
    return tf.gather(table, index)


def resize_mask(mask: tf.Tensor, size) -> tf.Tensor:
    """Resizes an integer `[height, width]` mask to its nearest pixels, so no new value appears.

    Args:
        mask: Class ids or raw values.
        size: int32 (height, width) in pixels.

    Returns:
        The same dtype, `size`.
    """
    return tf.image.resize(mask[..., None], size, method="nearest")[..., 0]
