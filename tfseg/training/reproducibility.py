"""Seeds and determinism, set before a training starts."""

from __future__ import annotations

import tensorflow as tf


def set_seed(seed: int, *, deterministic: bool = False) -> None:
    """Seeds Python, NumPy and TensorFlow.

    Args:
        seed: The seed of all three.
        deterministic: Use operations that give the same bits in every run. They are slower. Without
            them, sums over threads on a CPU differ in their last bits.
    """
    tf.keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
