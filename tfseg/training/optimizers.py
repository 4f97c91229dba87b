"""The optimizer of a training."""

from __future__ import annotations

import tensorflow as tf

from tfseg.training.adamw import AdamW

# Decay pulls weights towards zero, but a norm's scale belongs near one and a bias where the data
# puts it.
_WITHOUT_DECAY = ("bias", "gamma", "beta")


def build_optimizer(
    schedule: tf.keras.optimizers.schedules.LearningRateSchedule,
    *,
    weight_decay: float,
    gradient_clip_norm: float | None,
) -> tf.keras.optimizers.Optimizer:
    """Builds AdamW without weight decay on norms and biases.

    https://arxiv.org/abs/1711.05101

    Args:
        schedule: Learning rate by step.
        weight_decay: Decoupled weight decay; each step multiplies it by the learning rate.
        gradient_clip_norm: Maximum global norm of the gradient. None means no clipping.
    """
    optimizer = AdamW(schedule, weight_decay=weight_decay, global_clipnorm=gradient_clip_norm)
    optimizer.exclude_from_weight_decay(var_names=_WITHOUT_DECAY)
    return optimizer
