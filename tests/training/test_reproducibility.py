"""Seeds."""

import numpy as np
import tensorflow as tf

from tfseg.training import reproducibility


def draw(seed):
    reproducibility.set_seed(seed)
    return tf.random.uniform((4,)).numpy().tolist(), np.random.random(4).tolist()


def test_a_seed_repeats_tensorflow_and_numpy():
    assert draw(3) == draw(3)
    assert draw(3) != draw(4)
