"""Runs a function of tensors eagerly and inside `Dataset.map`, as both must give the same."""

import pytest
import tensorflow as tf


def run_eagerly(function, *arrays):
    return function(*map(tf.constant, arrays)).numpy()


def run_in_map(function, *arrays):
    """Runs `function` inside `Dataset.map`, where shapes are not known beforehand."""
    specs = [tf.TensorSpec([None] * array.ndim, array.dtype) for array in arrays]
    examples = tf.data.Dataset.from_generator(lambda: [arrays], output_signature=tuple(specs))
    return next(examples.map(function).as_numpy_iterator())


both_ways = pytest.mark.parametrize("run", [run_eagerly, run_in_map])
