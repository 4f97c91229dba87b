"""AdamW and its learning-rate schedules."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfseg.config.defaults import WARMUP_DIVISOR

# Decay pulls weights to zero; a norm's scale belongs at one and a bias where the data put it.
_WITHOUT_DECAY = ("bias", "gamma", "beta")


class AdamW(tf.keras.optimizers.AdamW):
    """Keras's AdamW with one operation a variable.

    Keras's step is a dozen passes over each of 200 variables; TensorFlow's own Adam kernel does the
    same arithmetic in one, on the same slots. What depends on the step alone is computed once, not
    for each variable, which makes the graph of a training step 2500 operations smaller.
    https://arxiv.org/abs/1711.05101
    """

    def update_step(self, gradient: tuple[tf.Tensor, ...], variable: tf.Variable) -> None:
        """Decays a variable and moves it by a dense gradient.

        Args:
            gradient: The gradient, and what `_values_of_step` returns.
            variable: What is trained.
        """
        gradient, *values = gradient
        rate, decay, beta_1, beta_2, beta_1_power, beta_2_power, epsilon = (
            tf.cast(value, variable.dtype) for value in values
        )
        if self._use_weight_decay(variable):
            variable.assign_sub(variable * decay)
        index = self._index_dict[self._var_key(variable)]
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1_power=beta_1_power,
            beta2_power=beta_2_power,
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
            grad=gradient,
        )

    def _values_of_step(self) -> tuple[tf.Tensor, ...]:
        step = tf.cast(self.iterations + 1, tf.float32)
        rate = tf.cast(tf.convert_to_tensor(self.learning_rate), tf.float32)
        beta_1, beta_2, epsilon = map(tf.constant, (self.beta_1, self.beta_2, self.epsilon))
        powers = (tf.pow(beta_1, step), tf.pow(beta_2, step))
        return rate, rate * self.weight_decay, beta_1, beta_2, *powers, epsilon

    def _apply_weight_decay(self, variables: Sequence[tf.Variable]) -> None:
        """Leaves the decay to `update_step`, which has its rate."""

    def _distributed_apply_gradients_fn(self, distribution, grads_and_vars, **kwargs):
        values = self._values_of_step()
        with_values = [((gradient, *values), variable) for gradient, variable in grads_and_vars]
        return super()._distributed_apply_gradients_fn(distribution, with_values, **kwargs)


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
