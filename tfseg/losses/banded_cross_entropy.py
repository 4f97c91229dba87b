"""Cross-entropy of logits upsampled four times, in bands of rows, with a hand-written gradient.

The purpose is to save memory and time. Upsampling quarter-size logits of 150 classes to 512x512 and
differentiating the cross-entropy needs several tensors of 315 MB for a batch of 2. This module
upsamples one band of rows at a time and computes its loss and its gradient at once, so the
full-size logits never exist. Each band is one small program that XLA compiles and fuses, which pays
off even on machines where the model as a whole is faster without XLA.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from tfseg import devices
from tfseg.losses.targets import FACTOR, FAR_WEIGHTS, make_targets

# exp(-80) still is a normal float32, so sums of exponentials neither vanish nor overflow.
_SAFE_RANGE = 80.0


def applies_to(masks: tf.Tensor, logits: tf.Tensor) -> bool:
    """Returns whether the shapes are static and the masks are four times the size of the logits.

    Args:
        masks: `[batch, 4 * height, 4 * width]` where the banded loss applies.
        logits: `[batch, height, width, num_classes]`, with height and width of at least 2.
    """
    if not (masks.shape.is_fully_defined() and logits.shape.is_fully_defined()):
        return False
    batch, height, width, _ = logits.shape
    is_large_enough = batch > 0 and min(height, width) >= 2
    return is_large_enough and masks.shape == (batch, FACTOR * height, FACTOR * width)


def upsampled_cross_entropy_sum(
    masks: tf.Tensor,
    logits: tf.Tensor,
    ignore_index: int,
    class_weights: tuple[float, ...] | None = None,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Sums the cross-entropy of logits that are resized to four times their height and width.

    The result equals `tf.image.resize` (bilinear, half-pixel centres) followed by
    `cross_entropy.cross_entropy_sum`. The edges need no special case: the logits' edge is repeated
    once, so that every output pixel lies between two input pixels at one of four positions, and the
    outer two rows and columns, which lie beyond the image, are marked void. The gradient is
    computed together with the loss and stored at the size of the logits; the backward pass only
    multiplies it by the upstream gradient.

    For a batch of 2 at 512x512 with 150 classes, loss and gradient take 0.15 s instead of 0.45 s on
    2 CPU cores.

    Args:
        masks: int32 `[batch, 4 * height, 4 * width]`: class ids and `ignore_index`.
        logits: float32 `[batch, height, width, num_classes]`, of static shape.
        ignore_index: Mask value of void pixels.
        class_weights: Weight of each class. If None, every class has weight 1.
        label_smoothing: Label-smoothing factor, in [0, 1).

    Returns:
        The summed cross-entropy of the valid pixels, a float32 scalar.
    """
    bands = [
        _compiled_band(band, ignore_index, class_weights, label_smoothing)
        for band in (_band_of_narrow_range, _band_of_any_range)
    ]

    @tf.custom_gradient
    def total_loss(quarter: tf.Tensor) -> tf.Tensor:
        total, gradient = _loss_and_gradient(masks, quarter, ignore_index, *bands)
        return total, lambda upstream: upstream * gradient

    return total_loss(logits)


def _loss_and_gradient(
    masks: tf.Tensor, logits: tf.Tensor, ignore_index: int, narrow: Callable, general: Callable
) -> tuple[tf.Tensor, tf.Tensor]:
    batch, height, width, num_classes = logits.shape
    per_interval = FACTOR**2 * batch * (width + 1) * num_classes
    intervals = max(1, min(height + 1, devices.current_form().band_logits // per_interval))
    num_bands = -(-(height + 1) // intervals)
    spare = num_bands * intervals - (height + 1)
    # Columns come last and classes before them, so that reductions over the classes are vectorised.
    rows = tf.transpose(_repeat_edge(_repeat_edge(logits, 1, after=1 + spare), 2), (1, 0, 3, 2))
    rows, lowest = _lower_highest_to_zero(rows)
    is_narrow = lowest > -_SAFE_RANGE
    labels = _arrange_labels(masks, spare, ignore_index)

    def do_band(index, total, near, far):
        first = index * intervals
        # The slices have a static size, because XLA compiles a program for fixed shapes.
        band = (
            tf.slice(rows, (first, 0, 0, 0), (intervals + 1, *rows.shape[1:])),
            tf.slice(labels, (0, 0, first, 0, 0), (FACTOR, FACTOR, intervals, *labels.shape[3:])),
        )
        loss, to_upper, to_lower = tf.cond(is_narrow, lambda: narrow(*band), lambda: general(*band))
        return index + 1, total + loss, near.write(index, to_upper), far.write(index, to_lower)

    band_shape = (intervals, *rows.shape[1:])  # XLA needs it to allocate the arrays in advance
    arrays = [tf.TensorArray(logits.dtype, num_bands, element_shape=band_shape) for _ in range(2)]
    _, total, near, far = tf.while_loop(
        lambda index, *_: index < num_bands,
        do_band,
        (0, tf.zeros((), logits.dtype), *arrays),
        parallel_iterations=2,
    )
    gradient = tf.pad(near.concat(), ((0, 1), (0, 0), (0, 0), (0, 0)))
    gradient += tf.pad(far.concat(), ((1, 0), (0, 0), (0, 0), (0, 0)))
    gradient = tf.ensure_shape(gradient, rows.shape)
    return total, _fold_edge(_fold_edge(tf.transpose(gradient, (1, 0, 3, 2)), 1, height), 2, width)


@functools.partial(tf.function, jit_compile=True)  # oneDNN logs an error for integer transposes
def _arrange_labels(masks: tf.Tensor, spare: int, ignore_index: int) -> tf.Tensor:
    """Frames the masks with void pixels and arranges them by position between the logits.

    Returns:
        int32 `[column offset, row offset, row interval, batch, column interval]`.
    """
    void = FACTOR // 2
    frame = ((0, 0), (void, void + FACTOR * spare), (void, void))
    labels = tf.pad(masks, frame, constant_values=ignore_index)
    batch, height, width = labels.shape
    shape = (batch, height // FACTOR, FACTOR, width // FACTOR, FACTOR)
    return tf.transpose(tf.reshape(labels, shape), (4, 2, 1, 0, 3))


@functools.partial(tf.function, jit_compile=True)
def _lower_highest_to_zero(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Subtracts the highest logit at each position; also returns the lowest logit that results.

    This does not change the loss, because interpolation subtracts the same value from all classes
    of an upsampled pixel.
    """
    lowered = rows - tf.reduce_max(rows, 2, keepdims=True)
    return lowered, tf.reduce_min(lowered)


@functools.cache
def _compiled_band(
    band: Callable,
    ignore_index: int,
    class_weights: tuple[float, ...] | None,
    label_smoothing: float,
) -> Callable:
    settings = (ignore_index, class_weights, label_smoothing)
    return tf.function(lambda rows, labels: band(rows, labels, *settings), jit_compile=True)


def _band_of_any_range(
    rows: tf.Tensor, labels: tf.Tensor, *settings
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes the loss of the pixels between consecutive rows, and its gradient.

    Args:
        rows: Logits, float32 `[intervals + 1, batch, num_classes, columns]`.
        labels: int32 `[4, 4, intervals, batch, columns - 1]`, see `_arrange_labels`.
        *settings: Ignore index, class weights and label-smoothing factor.

    Returns:
        The summed loss, and its gradients with respect to the upper and to the lower row of each
        interval, float32 `[intervals, batch, num_classes, columns]`.
    """
    between = _interpolate(rows[:-1], rows[1:])
    upsampled = _interpolate(between[..., :-1], between[..., 1:])
    highest = tf.reduce_max(upsampled, -2, keepdims=True)
    exponentials = tf.exp(upsampled - highest)
    normalizer = tf.reduce_sum(exponentials, -2, keepdims=True)
    targets = make_targets(labels, 1, rows.shape[2], *settings)
    mass = tf.reduce_sum(targets, -2, keepdims=True)
    picked = tf.reduce_sum(targets * upsampled, -2, keepdims=True)
    losses = mass * (tf.math.log(normalizer) + highest) - picked
    to_left, to_right = _split_gradient(exponentials * (mass / normalizer) - targets)
    to_rows = _split_gradient(_join_columns(to_left, to_right))
    return tf.reduce_sum(losses), *to_rows


def _band_of_narrow_range(
    rows: tf.Tensor, labels: tf.Tensor, *settings
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Does the same as `_band_of_any_range` for logits in [-`_SAFE_RANGE`, 0].

    The highest logit at each position must be 0. Two properties then save time: no maximum is
    needed, since every sum of exponentials lies in `[exp(-range), num_classes]`; and with
    `q = exp(logit / 8)` the exponentials of the four pixels between two columns are
    `q_near^7 q_far`, `q_near^5 q_far^3`, and so on, so that one exponential replaces four.
    """
    losses, to_upper, to_lower = [], [], []
    for line_labels, weight in zip(tf.unstack(labels, axis=1), FAR_WEIGHTS, strict=True):
        line = rows[:-1] + weight * (rows[1:] - rows[:-1])
        loss, gradient = _score_line(line, line_labels, *settings)
        losses.append(loss)
        to_upper.append((1.0 - weight) * gradient)
        to_lower.append(weight * gradient)
    return tf.reduce_sum(tf.add_n(losses)), tf.add_n(to_upper), tf.add_n(to_lower)


def _score_line(line: tf.Tensor, labels: tf.Tensor, *settings) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the losses of the pixels in one row of the upsampled logits, and their gradient.

    The four positions between two columns are a list and not an axis of one tensor, because XLA
    would otherwise compute the exponentials again for each use.

    Args:
        line: Logits, float32 `[intervals, batch, num_classes, columns]`.
        labels: int32 `[4, intervals, batch, columns - 1]`.
        *settings: Ignore index, class weights and label-smoothing factor.

    Returns:
        The losses, float32 `[intervals, batch, columns - 1]`, and the gradient of their sum with
        respect to `line`.
    """
    roots = tf.exp(line / (2 * FACTOR))
    near, far = _odd_powers(roots[..., :-1]), _odd_powers(roots[..., 1:])
    losses, to_left, to_right = [], [], []
    for k, weight in enumerate(FAR_WEIGHTS):
        exponentials = near[FACTOR - 1 - k] * far[k]
        normalizer = tf.reduce_sum(exponentials, -2)
        targets = make_targets(labels[k], 1, line.shape[2], *settings)
        mass, picked = _sum_targets(line, labels[k], targets, weight, *settings)
        losses.append(mass * tf.math.log(normalizer) - picked)
        gradient = exponentials * (mass / normalizer)[..., None, :] - targets
        to_left.append((1.0 - weight) * gradient)
        to_right.append(weight * gradient)
    return tf.add_n(losses), _join_columns(tf.add_n(to_left), tf.add_n(to_right))


def _odd_powers(q: tf.Tensor) -> list[tf.Tensor]:
    square = q * q
    powers = [q]
    while len(powers) < FACTOR:
        powers.append(powers[-1] * square)
    return powers


def _sum_targets(
    line: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor, weight: float, *settings
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns `sum_c t_c` and `sum_c t_c z_c` of the pixels between the columns of a line."""
    ignore_index, class_weights, label_smoothing = settings
    near, far = line[..., :-1], line[..., 1:]
    if class_weights is not None or label_smoothing:
        logits = near + weight * (far - near)
        return tf.reduce_sum(targets, -2), tf.reduce_sum(targets * logits, -2)
    # There is one target per pixel, so fetching its logit saves a pass over the classes.
    valid = labels != ignore_index
    grid = tf.meshgrid(*(tf.range(size) for size in labels.shape), indexing="ij")
    places = tf.stack([*grid[:2], tf.where(valid, labels, 0), grid[2]], -1)
    picked = (1.0 - weight) * tf.gather_nd(near, places) + weight * tf.gather_nd(far, places)
    return tf.cast(valid, line.dtype), tf.where(valid, picked, 0.0)


def _join_columns(to_left: tf.Tensor, to_right: tf.Tensor) -> tf.Tensor:
    """Adds the gradients that pixels between two columns give to the left and the right one."""
    before, after = [[(0, 0)] * (to_left.shape.rank - 1) + [pad] for pad in ((0, 1), (1, 0))]
    return tf.pad(to_left, before) + tf.pad(to_right, after)


def _interpolate(near: tf.Tensor, far: tf.Tensor) -> tf.Tensor:
    """Returns the four pixels between two neighbours, stacked along a new first axis."""
    return tf.stack([near + weight * (far - near) for weight in FAR_WEIGHTS])


def _split_gradient(gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Transposes `_interpolate`: returns the gradients of the near and of the far neighbours."""
    pairs = list(zip(tf.unstack(gradient), FAR_WEIGHTS, strict=True))
    near = tf.add_n([part * (1.0 - weight) for part, weight in pairs])
    return near, tf.add_n([part * weight for part, weight in pairs])


def _repeat_edge(grid: tf.Tensor, axis: int, after: int = 1) -> tf.Tensor:
    size = grid.shape[axis]
    indices = [0, *range(size), *[size - 1] * after]
    return tf.gather(grid, indices, axis=axis)


def _fold_edge(gradient: tf.Tensor, axis: int, size: int) -> tf.Tensor:
    """Transposes `_repeat_edge`: adds the gradient of the repeated edges to the edge itself."""
    first, middle, last = tf.split(gradient, [2, size - 2, gradient.shape[axis] - size], axis=axis)
    ends = [tf.reduce_sum(part, axis, keepdims=True) for part in (first, last)]
    return tf.concat([ends[0], middle, ends[1]], axis)
