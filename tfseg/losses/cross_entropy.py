"""Cross-entropy between masks and logits, with class weights and label smoothing."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfseg import devices, replicas
from tfseg.losses import banded_cross_entropy, fused_cross_entropy


class SegmentationCrossEntropy(tf.keras.losses.Loss):
    """Mean cross-entropy over the valid (not void) pixels, weighted by class.

    The logits are first resized to the size of the masks. With `p = softmax(logits)`, class weights
    `w`, label-smoothing factor `e` and `C` classes, a pixel of class `y` has the loss

        (1 - e) * w[y] * -log p[y] + e / C * sum_c(w[c] * -log p[c])

    and the mean divides by the sum of `w[y]` over the valid pixels. This is PyTorch's
    `CrossEntropyLoss(weight, ignore_index, label_smoothing)` as Hugging Face's SegFormer applies
    it, with one exception: if a batch has no valid pixel, or only pixels of weight 0, the loss is 0
    and not NaN.
    https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html

    In the replicas of a distribution strategy the mean divides by the sum of the weights over all
    replicas. Each replica returns its part of the mean over the global batch, and the parts, like
    their gradients, add up to the mean. `Reduction.SUM` tells Keras so, which then neither averages
    gradients over replicas nor reports a part for the whole.

    Args:
        ignore_index: Mask value of void pixels. The loss replaces it before it calls TensorFlow's
            cross-entropy, which fails on a CPU and gives NaN on a GPU for labels out of range.
        class_weights: Finite weights of at least 0, one per class id. If None, every class has
            weight 1.
        label_smoothing: Label-smoothing factor, in [0, 1).
    """

    def __init__(
        self,
        ignore_index: int,
        *,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        name: str = "segmentation_cross_entropy",
    ):
        super().__init__(reduction=tf.keras.losses.Reduction.SUM, name=name)
        self.ignore_index = ignore_index
        self.class_weights = None if class_weights is None else tuple(map(float, class_weights))
        self.label_smoothing = label_smoothing

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss, a float32 scalar.

        Args:
            y_true: Masks, int32 `[batch, height, width]`: class ids and the ignore index.
            y_pred: Logits, floating point `[batch, h, w, num_classes]`, of any height and width.
                Logits at a quarter of the masks' height and width take the fastest path.

        Raises:
            ValueError: The number of class weights differs from the number of classes.
        """
        y_true, logits = tf.convert_to_tensor(y_true), tf.cast(y_pred, tf.float32)
        self._check_num_classes(logits)
        settings = (self.ignore_index, self.class_weights, self.label_smoothing)
        if banded_cross_entropy.applies_to(y_true, logits):
            is_fused = devices.current_form().band_logits is None
            module = fused_cross_entropy if is_fused else banded_cross_entropy
            total = module.upsampled_cross_entropy_sum(y_true, logits, *settings)
        else:
            if logits.shape[1:3] != y_true.shape[1:3] or None in logits.shape[1:3]:
                logits = tf.image.resize(logits, tf.shape(y_true)[1:3])
            total, _ = cross_entropy_sum(y_true, logits, *settings)
        weights = _pixel_weights(y_true, self.ignore_index, self.class_weights)
        return tf.math.divide_no_nan(total, replicas.sum_over_replicas(tf.reduce_sum(weights)))

    def _check_num_classes(self, logits: tf.Tensor) -> None:
        # Without this check, a GPU would silently take 0 for weights beyond the end.
        if self.class_weights is not None and len(self.class_weights) != logits.shape[-1]:
            raise ValueError(
                f"received {len(self.class_weights)} class weights for {logits.shape[-1]} classes"
            )


def cross_entropy_sum(
    masks: tf.Tensor,
    logits: tf.Tensor,
    ignore_index: int,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums the cross-entropy and the class weights over the valid pixels.

    Args:
        masks: Integer `[..., height, width]`: class ids and `ignore_index`.
        logits: float32 `[..., height, width, num_classes]`, at the size of the masks.
        ignore_index: Mask value of void pixels.
        class_weights: See `SegmentationCrossEntropy`.
        label_smoothing: See `SegmentationCrossEntropy`.

    Returns:
        The summed cross-entropy and the summed class weights, float32 scalars. Without class
        weights the second is the number of valid pixels.
    """
    valid = masks != ignore_index
    labels = tf.where(valid, masks, 0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    weights = _pixel_weights(masks, ignore_index, class_weights)
    total = tf.reduce_sum(losses * weights)
    if label_smoothing > 0:
        spread = -tf.nn.log_softmax(logits)
        if class_weights is not None:
            spread *= tf.constant(class_weights, spread.dtype)
        spread = tf.reduce_mean(spread, -1) * tf.cast(valid, spread.dtype)
        total = (1 - label_smoothing) * total + label_smoothing * tf.reduce_sum(spread)
    return total, tf.reduce_sum(weights)


def _pixel_weights(
    masks: tf.Tensor, ignore_index: int, class_weights: Sequence[float] | None
) -> tf.Tensor:
    """Returns the class weight of each pixel, 0 for void ones; float32 of the masks' shape."""
    valid = masks != ignore_index
    if class_weights is None:
        return tf.cast(valid, tf.float32)
    weights = tf.gather(tf.constant(class_weights, tf.float32), tf.where(valid, masks, 0))
    return tf.where(valid, weights, 0.0)
