"""AdamW with one operation per variable: the one place that relies on tf-keras's private methods.

`tests/training/test_adamw.py` fails with the name of the method if a release of tf-keras changes
one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class AdamW(tf.keras.optimizers.AdamW):
    """Keras's AdamW with one operation per variable.

    Keras's step makes a dozen passes over each of 200 variables. TensorFlow's own Adam kernel does
    the same arithmetic on the same slots in one pass. Values that depend on the step alone are
    computed once per step and not once per variable, which makes the graph of a training step 2500
    operations smaller. https://arxiv.org/abs/1711.05101

    The constructor takes only what the kernel supports: Keras's `amsgrad`, `jit_compile`, `use_ema`
    and the other forms of clipping are refused.

    Args:
        learning_rate: A rate, or a schedule of rates by step.
        weight_decay: Decoupled weight decay; each step multiplies it by the learning rate.
        beta_1: Decay of the first moment, in [0, 1).
        beta_2: Decay of the second moment, in [0, 1).
        epsilon: Added to the root of the second moment.
        global_clipnorm: Maximum global norm of the gradient. None means no clipping.
    """

    def __init__(
        self,
        learning_rate: float | tf.keras.optimizers.schedules.LearningRateSchedule,
        *,
        weight_decay: float,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        global_clipnorm: float | None = None,
    ):
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            global_clipnorm=global_clipnorm,
            # Keras would compile each variable's step with XLA on a GPU; the kernel needs no XLA.
            jit_compile=False,
        )

    def update_step(self, gradient: tuple[tf.Tensor, ...], variable: tf.Variable) -> None:
        """Decays a variable and moves it along a dense gradient.

        Args:
            gradient: The gradient, followed by what `_values_of_step` returns.
            variable: The variable to train.
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
        """Does nothing, because `update_step` applies the decay with the step's values."""

    def _distributed_apply_gradients_fn(self, distribution, grads_and_vars, **kwargs):
        values = self._values_of_step()
        with_values = [((gradient, *values), variable) for gradient, variable in grads_and_vars]
        return super()._distributed_apply_gradients_fn(distribution, with_values, **kwargs)
