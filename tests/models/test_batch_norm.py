"""Batch normalisation over replicas equals Keras's layer on the global batch."""

import json
import subprocess
import sys

# Its own process, because logical devices must be set up before TensorFlow uses any.
_SCRIPT = """
import json
import numpy as np
from tfseg import devices
from tfseg.models.layers.batch_norm import BatchNorm
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
rng = np.random.default_rng(0)
means, scales = rng.uniform(-5, 5, 6), rng.uniform(0.5, 3, 6)
images = (means + scales * rng.normal(size=(4, 5, 7, 6))).astype("float32")
upstream = rng.normal(size=images.shape).astype("float32")


def differentiate(layer, images, upstream):
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=True)
    sources = [images, layer.gamma, layer.beta]
    return outputs, *tape.gradient(outputs, sources, output_gradients=upstream)


def draw_weights(layer):
    layer.build(images.shape)
    for weight, value in zip(layer.weights, (scales, means, means + 0.3, scales**2 + 0.1)):
        weight.assign(value)
    return layer


def pick(values, index):
    return tf.constant(values[2 * index : 2 * index + 2])


expected_layer = draw_weights(tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5))
expected = differentiate(expected_layer, tf.constant(images), tf.constant(upstream))
expected = [*expected, expected_layer.moving_mean, expected_layer.moving_variance]
names = ["outputs", "images", "gamma", "beta", "moving_mean", "moving_variance"]


def normalise_in_two_replicas(form):
    with devices.asking_for(getattr(devices, form)), strategy.scope():
        layer = draw_weights(BatchNorm(momentum=0.9, epsilon=1e-5))
        step = tf.function(lambda *values: strategy.run(differentiate, (layer, *values)))
        shares = [
            strategy.experimental_distribute_values_from_function(
                lambda context: pick(values, context.replica_id_in_sync_group)
            )
            for values in (images, upstream)
        ]
        received = [strategy.experimental_local_results(each) for each in step(*shares)]
    outputs, to_images, to_gamma, to_beta = received
    gradients = [tf.concat(to_images, 0), sum(to_gamma), sum(to_beta)]
    return [tf.concat(outputs, 0), *gradients, layer.moving_mean, layer.moving_variance]


def largest_difference(one, other):
    one, other = np.asarray(one), np.asarray(other)
    return float(np.max(np.abs(one - other)) / np.max(np.abs(other)))


for form in ("CPU", "GPU"):
    received = normalise_in_two_replicas(form)
    print(json.dumps(dict(zip(names, map(largest_difference, received, expected)))))
"""


def test_two_replicas_normalise_as_keras_does_the_global_batch():
    """In the form for a CPU and in that for a GPU."""
    command = [sys.executable, "-c", _SCRIPT]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    for line in result.stdout.splitlines()[-2:]:
        differences = json.loads(line)
        assert len(differences) == 6
        # Largest difference of each, relative to its largest value.
        assert max(differences.values()) < 2e-5, differences
