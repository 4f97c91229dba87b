"""Test-time augmentation: the mean of what a model says about several views of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfseg.models import padded_upsampling, upsampled_logits
from tfseg.models.segformer import Segformer
from tfseg.models.upsampled_logits import BAND_ROWS

_SMALLEST = 1e-37  # whose logarithm a float32 holds


def quarter_logits(
    model: Segformer, images: tf.Tensor | Sequence[tf.Tensor], *, flips: bool
) -> list[tf.Tensor]:
    """Runs the network on every view.

    Args:
        model: The SegFormer.
        images: float32 `[batch, height, width, 3]` normalised; or one such tensor per scale.
        flips: Whether each image is also seen from left to right.

    Returns:
        float32 `[batch, h, w, num_classes]` of each view, all of them the right way round.
    """
    views = []
    for view in images if isinstance(images, tuple | list) else [images]:
        views.append(model.quarter_logits(view, training=False))
        if flips:
            flipped = model.quarter_logits(tf.reverse(view, [2]), training=False)
            views.append(tf.reverse(flipped, [2]))
    return [tf.cast(logits, tf.float32) for logits in views]


def resize_rows(views: Sequence[tf.Tensor], sizes: tf.Tensor, **rows) -> tf.Tensor:
    """Resizes a band of rows of the logits of every view, and takes the mean of the probabilities.

    MMSegmentation's `SegTTAModel` does the same: it resizes the logits of each view to the image's
    own size and averages their softmax. The mean of the logits would be another, sharper vote.
    https://github.com/open-mmlab/mmsegmentation/blob/main/mmseg/models/segmentors/seg_tta.py

    Args:
        views: From `quarter_logits`.
        sizes: int32 `[batch, 2]`, (height, width) of each image in pixels.
        **rows: Which rows, see `padded_upsampling.resize_rows`.

    Returns:
        float32 `[batch, num_rows, width, num_classes]`: the logits of a single view, else the
        logarithm of the mean probabilities, which are logits of these probabilities.
    """
    bands = (padded_upsampling.resize_rows(logits, sizes, **rows) for logits in views)
    if len(views) == 1:
        return next(bands)
    total = tf.add_n([tf.nn.softmax(band) for band in bands])
    return tf.math.log(tf.maximum(total / len(views), _SMALLEST))


def map_bands(
    function: Callable[[tf.Tensor, tf.Tensor], Any],
    views: Sequence[tf.Tensor],
    size: tf.Tensor,
    *,
    output_signature: Any,
) -> Any:
    """Calls a function on each band of rows of one image, as `upsampled_logits.map_bands` does.

    Args:
        function: Takes a band, float32 `[1, BAND_ROWS, width, num_classes]`, see `resize_rows`, and
            its first row. Rows past the last one repeat it.
        views: From `quarter_logits`, with a batch of 1.
        size: int32 `[2]`, (height, width) of the image in pixels.
        output_signature: What `function` returns, see `tf.map_fn`.

    Returns:
        What the function returned, stacked along a new first axis.
    """
    if len(views) == 1:
        return upsampled_logits.map_bands(
            lambda band, first_row, _: function(band, first_row),
            views[0],
            size,
            output_signature=output_signature,
        )

    def do_band(first_row: tf.Tensor) -> Any:
        rows = {"first_row": first_row, "num_rows": BAND_ROWS, "width": size[1]}
        return function(resize_rows(views, size[None], **rows), first_row)

    return tf.map_fn(
        do_band,
        tf.range(0, size[0], BAND_ROWS),
        fn_output_signature=output_signature,
        parallel_iterations=2,
    )
