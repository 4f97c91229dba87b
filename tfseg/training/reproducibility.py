"""The machine's state before training: seeds and determinism."""

from __future__ import annotations

import tensorflow as tf


def set_seed(seed: int, *, deterministic: bool = False) -> None:
    """Seeds Python, NumPy and TensorFlow.

    Args:
        seed: Seed of all three.
        deterministic: Choose ops that give the same bits on every run, and slower ones; on a CPU
            sums over threads otherwise differ in their last bits.
    """
    tf.keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
