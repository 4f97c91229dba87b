"""What remains of every image after it is scored: three counts per class."""

from __future__ import annotations

import tensorflow as tf

# The rows of an image's counts.
INTERSECTION, TRUE, PREDICTED = range(3)


def from_confusions(counts: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Reduces the confusion matrix of each image to three counts per class.

    IoU, accuracy and Dice of any set of images follow from the sums of these counts, so they are
    enough for a bootstrap over images. They take 24 bytes per image and class as int64, whatever
    the size of the image: 7 MB for 2000 images and 150 classes, where the matrices would take
    360 MB.

    Args:
        counts: Of `ConfusionMatrix.count(..., per_image=True)`.
        num_classes: Number of classes.

    Returns:
        int32 `[batch, 3, num_classes]`: per class the pixels that are rightly predicted, those that
        are true, and those that are predicted where the mask is not void.
    """
    matrices = tf.reshape(counts[:, : num_classes**2], (-1, num_classes, num_classes))
    parts = (
        tf.linalg.diag_part(matrices),
        tf.reduce_sum(matrices, axis=2),
        tf.reduce_sum(matrices, axis=1),
    )
    return tf.stack(parts, axis=1)


def map_dtype(num_classes: int) -> tf.DType:
    """Returns the smallest type of class ids that a PNG file can hold."""
    return tf.uint8 if num_classes <= 256 else tf.uint16


def all_void(num_examples: int) -> str:
    """Returns what to tell a user whose masks hold no class at all."""
    return (
        f"every pixel of the {num_examples} eval examples is void: the masks hold no value that "
        "--id2label or the data set assigns to a class; a split without labels, such as the test "
        "split of many data sets, cannot be scored (--eval_split)"
    )
