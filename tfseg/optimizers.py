"""AdamW and its learning-rate schedules."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

# Decay pulls weights to zero; a norm's scale belongs at one and a bias where the data put it.
_WITHOUT_DECAY = ("bias", "gamma", "beta")


class AdamW(tf.keras.optimizers.AdamW):
    """Keras's AdamW with one operation a variable.

    Keras's step is a dozen passes over each of 200 variables; TensorFlow's own Adam kernel does the
    same arithmetic in one, on the same slots. https://arxiv.org/abs/1711.05101
    """

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Moves a variable by a dense gradient; the decay is Keras's own, before it."""
        index = self._index_dict[self._var_key(variable)]
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(self.learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class LinearWarmup(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly over the first steps, then follows another schedule.

    `lr(step) = peak * (step + 1) / warmup_steps` for `step < warmup_steps`, then
    `after(step - warmup_steps)`.

    Args:
        peak: Learning rate at the end of the warm-up.
        warmup_steps: Its length in steps; 0 for none.
        after: Schedule that starts where the warm-up ends.
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
    """Builds a schedule.

    Args:
        lr_schedule: `polynomial`: warm-up, then `peak * (1 - progress) ** power`, as SegFormer
            was trained. `constant`: the peak after the warm-up. `piecewise`: `values[i]` up to
            and including step `boundaries[i]`, as in Hugging Face's Keras guide.
        learning_rate: Peak of `polynomial` and `constant`.
        total_steps: Steps of the whole training.
        warmup_steps: Steps of linear warm-up; a twentieth of `total_steps` where not given.
        power: Power of the polynomial.
        boundaries: Steps of `piecewise`.
        values: Learning rates of `piecewise`, one more than `boundaries`.

    Raises:
        ValueError: `lr_schedule` is none of these.
    """
    schedules = tf.keras.optimizers.schedules
    if lr_schedule == "piecewise":
        return schedules.PiecewiseConstantDecay(list(boundaries), list(values))
    warmup_steps = total_steps // 20 if warmup_steps is None else warmup_steps
    ends = {"polynomial": 0.0, "constant": learning_rate}
    if lr_schedule not in ends:
        raise ValueError(
            f"lr_schedule {lr_schedule!r} is unknown (allowed: {', '.join(ends)}, piecewise)"
        )
    after = schedules.PolynomialDecay(
        learning_rate, max(total_steps - warmup_steps, 1), ends[lr_schedule], power
    )
    return LinearWarmup(learning_rate, warmup_steps, after)


def build_optimizer(
    schedule: tf.keras.optimizers.schedules.LearningRateSchedule,
    *,
    weight_decay: float,
    gradient_clip_norm: float | None,
) -> tf.keras.optimizers.Optimizer:
    """Builds AdamW; norms and biases are left out of the decay.

    https://arxiv.org/abs/1711.05101

    Args:
        schedule: Learning rate by step.
        weight_decay: Decoupled decay, times the learning rate at each step.
        gradient_clip_norm: Largest global norm of the gradient; None for no clipping.
    """
    optimizer = AdamW(schedule, weight_decay=weight_decay, global_clipnorm=gradient_clip_norm)
    optimizer.exclude_from_weight_decay(var_names=_WITHOUT_DECAY)
    return optimizer
