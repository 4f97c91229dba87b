"""The learning rate of every training step."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfseg.config.defaults import WARMUP_DIVISOR


class LinearWarmup(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up over the first steps, followed by another schedule.

    `lr(step) = peak * (step + 1) / warmup_steps` for `step < warmup_steps`, then
    `after(step - warmup_steps)`.

    Args:
        peak: Learning rate at the end of the warm-up.
        warmup_steps: Length of the warm-up in steps. 0 means no warm-up.
        after: Schedule that starts when the warm-up ends.
    """

    def __init__(
        self,
        peak: float,
        warmup_steps: int,
        after: tf.keras.optimizers.schedules.LearningRateSchedule,
    ):
        super().__init__()
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.after = after

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the learning rate of a step, a float32 scalar."""
        step = tf.cast(step, tf.float32)
        rising = self.peak * (step + 1.0) / max(self.warmup_steps, 1)
        later = self.after(tf.maximum(step - self.warmup_steps, 0.0))
        return tf.where(step < self.warmup_steps, rising, later)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "after": self.after}


def build_schedule(
    lr_schedule: str,
    *,
    learning_rate: float,
    total_steps: int,
    warmup_steps: int | None = None,
    power: float = 1.0,
    boundaries: Sequence[int] = (),
    values: Sequence[float] = (),
) -> tf.keras.optimizers.schedules.LearningRateSchedule:
    """Builds the learning-rate schedule of a training.

    Args:
        lr_schedule: `polynomial` is a warm-up followed by `peak * (1 - progress) ** power`, which
            is how SegFormer was trained. `constant` stays at the peak after the warm-up.
            `piecewise` is `values[i]` up to and including step `boundaries[i]`, as in Hugging
            Face's Keras guide.
        learning_rate: Peak learning rate of `polynomial` and `constant`.
        total_steps: Steps of the whole training.
        warmup_steps: Steps of linear warm-up. By default a twentieth of `total_steps`.
        power: Power of the polynomial decay.
        boundaries: Steps at which `piecewise` moves to its next value.
        values: Learning rates of `piecewise`, one more than there are boundaries.

    Raises:
        ValueError: `lr_schedule` is none of these.
    """
    schedules = tf.keras.optimizers.schedules
    if lr_schedule == "piecewise":
        return schedules.PiecewiseConstantDecay(list(boundaries), list(values))
    warmup_steps = total_steps // WARMUP_DIVISOR if warmup_steps is None else warmup_steps
    ends = {"polynomial": 0.0, "constant": learning_rate}
    if lr_schedule not in ends:
        raise ValueError(
            f"lr_schedule {lr_schedule!r} is unknown (allowed: {', '.join(ends)}, piecewise)"
        )
    after = schedules.PolynomialDecay(
        learning_rate, max(total_steps - warmup_steps, 1), ends[lr_schedule], power
    )
    return LinearWarmup(learning_rate, warmup_steps, after)
