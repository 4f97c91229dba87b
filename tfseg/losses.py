"""The segmentation loss."""

from __future__ import annotations

import tensorflow as tf

from tfseg import banded_cross_entropy


class SegmentationCrossEntropy(tf.keras.losses.Loss):
    """Mean cross-entropy over the pixels that are not void.

    `loss = sum_valid(-log softmax(logits)[mask]) / max(number of valid pixels, 1)`, with logits
    resized to the mask first: PyTorch's `CrossEntropyLoss(ignore_index=...)` as Hugging Face's
    SegFormer applies it, except that a batch without a valid pixel gives 0 and not NaN.

    Args:
        ignore_index: Mask value of void pixels. It is replaced before the cross-entropy, which
            fails on the CPU and gives NaN on a GPU for labels out of range.
    """

    def __init__(self, ignore_index: int, name: str = "segmentation_cross_entropy"):
        super().__init__(reduction=tf.keras.losses.Reduction.NONE, name=name)
        self.ignore_index = ignore_index

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss, a float32 scalar.

        Args:
            y_true: int32 masks `[batch, height, width]`, class ids and the ignore index.
            y_pred: Logits `[batch, h, w, num_classes]` of any size; a quarter of the masks' is
                the fast way.
        """
        y_true, logits = tf.convert_to_tensor(y_true), tf.cast(y_pred, tf.float32)
        if banded_cross_entropy.applies_to(y_true, logits):
            total = banded_cross_entropy.upsampled_cross_entropy_sum(
                y_true, logits, self.ignore_index
            )
        else:
            if logits.shape[1:3] != y_true.shape[1:3] or None in logits.shape[1:3]:
                logits = tf.image.resize(logits, tf.shape(y_true)[1:3])
            total, _ = cross_entropy_sum(y_true, logits, self.ignore_index)
        num_valid = tf.math.count_nonzero(y_true != self.ignore_index, dtype=tf.float32)
        return total / tf.maximum(num_valid, 1.0)


def cross_entropy_sum(
    masks: tf.Tensor, logits: tf.Tensor, ignore_index: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the summed cross-entropy and the number of valid pixels, float32 scalars.

    Args:
        masks: Integer `[..., height, width]`, class ids and `ignore_index`.
        logits: float32 `[..., height, width, num_classes]` at the masks' size.
        ignore_index: Value of void pixels.
    """
    valid = masks != ignore_index
    labels = tf.where(valid, masks, 0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    weights = tf.cast(valid, losses.dtype)
    return tf.reduce_sum(losses * weights), tf.reduce_sum(weights)
