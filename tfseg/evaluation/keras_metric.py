"""Mean IoU as a Keras metric, for `compile(metrics=[...])`."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tfseg.data.transforms import resize_logits
from tfseg.evaluation.confusion_matrix import ConfusionMatrix


class KerasMeanIoU(tf.keras.metrics.Metric):
    """Mean IoU, mean accuracy and overall accuracy of logits or class maps.

    `result` gives all three, so that Keras's logs and `ModelCheckpoint` know them by name:
    `mean_iou`, `mean_accuracy`, `overall_accuracy`, and with `val_` before them after an epoch.
    They equal those of `evaluate`'s mean_iou: void pixels are left out, and a class that occurs
    nowhere does not enter the mean. Counts are exact, see `ConfusionMatrix`.

    Args:
        num_classes: Number of classes.
        ignore_index: Mask value of void pixels; no class id.
        name: Name of the metric, which the logs do not show.
    """

    def __init__(self, num_classes: int, ignore_index: int, name: str = "mean_iou", **kwargs):
        super().__init__(name=name, **kwargs)
        self._confusion = ConfusionMatrix(num_classes=num_classes, ignore_index=ignore_index)

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight=None) -> None:
        """Counts the pixels of a batch.

        Args:
            y_true: Masks, integer `[batch, height, width]`: class ids and the ignore index.
            y_pred: Logits, floating point `[batch, h, w, num_classes]`, which are resized to the
                size of the masks; or class ids, integer, of the shape of the masks.
            sample_weight: Must be None: a pixel counts or is void.

        Raises:
            ValueError: There are sample weights.
        """
        if sample_weight is not None:
            raise ValueError("a mean IoU has no sample weights; make pixels void in the masks")
        y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
        if y_pred.dtype.is_floating:
            logits = resize_logits(tf.cast(y_pred, tf.float32), tf.shape(y_true)[1:3])
            y_pred = tf.argmax(logits, -1, output_type=tf.int32)
        self._confusion.update(tf.cast(y_true, tf.int32), tf.cast(y_pred, tf.int32))

    def result(self) -> Mapping[str, tf.Tensor]:
        """Returns `mean_iou`, `mean_accuracy` and `overall_accuracy`, float32 in [0, 1] or nan."""
        num_classes = self._confusion.num_classes
        counts = tf.cast(self._confusion.counts[:-1], tf.float32)
        confusion = tf.reshape(counts, [num_classes, num_classes])
        correct = tf.linalg.diag_part(confusion)
        truth, predicted = tf.reduce_sum(confusion, 1), tf.reduce_sum(confusion, 0)
        return {
            "mean_iou": _mean_of_present(correct, truth + predicted - correct),
            "mean_accuracy": _mean_of_present(correct, truth),
            "overall_accuracy": tf.reduce_sum(correct) / tf.reduce_sum(truth),
        }

    def reset_state(self) -> None:
        """Sets all counts to zero."""
        self._confusion.reset()

    def get_config(self) -> dict:
        """Returns the arguments of the constructor."""
        confusion = self._confusion
        own = {"num_classes": confusion.num_classes, "ignore_index": confusion.ignore_index}
        return {**super().get_config(), **own}


def _mean_of_present(numerator: tf.Tensor, denominator: tf.Tensor) -> tf.Tensor:
    """Returns the mean of the quotients whose denominator is not 0; nan if there are none."""
    num_present = tf.math.count_nonzero(denominator, dtype=tf.float32)
    return tf.reduce_sum(tf.math.divide_no_nan(numerator, denominator)) / num_present
