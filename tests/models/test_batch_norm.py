"""Batch normalisation over replicas equals Keras's layer on the global batch."""

import json
import subprocess
import sys

import pytest

# Its own process, because logical devices must be set up before TensorFlow uses any.
_SCRIPT = """
import json, sys
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


@tf.function
def step(layer, images, upstream):
    return strategy.run(differentiate, (layer, images, upstream))


expected_layer = draw_weights(tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5))
expected = differentiate(expected_layer, tf.constant(images), tf.constant(upstream))
with devices.asking_for(getattr(devices, sys.argv[1])):
    with strategy.scope():
        layer = draw_weights(BatchNorm(momentum=0.9, epsilon=1e-5))
    shares = [
        strategy.experimental_distribute_values_from_function(
            lambda context: pick(values, context.replica_id_in_sync_group)
        )
        for values in (images, upstream)
    ]
    received = [strategy.experimental_local_results(each) for each in step(layer, *shares)]
outputs, to_images, to_gamma, to_beta = received
received = [tf.concat(outputs, 0), tf.concat(to_images, 0), sum(to_gamma), sum(to_beta)]
received += [layer.moving_mean, layer.moving_variance]
expected = [*expected, expected_layer.moving_mean, expected_layer.moving_variance]
names = ["outputs", "images", "gamma", "beta", "moving_mean", "moving_variance"]
print(json.dumps({
    name: float(np.max(np.abs(one - other)) / np.max(np.abs(other)))
    for name, one, other in zip(names, map(np.asarray, received), map(np.asarray, expected))
}))
"""


@pytest.mark.parametrize("form", ["CPU", "GPU"])
def test_two_replicas_normalise_as_keras_does_the_global_batch(form):
    command = [sys.executable, "-c", _SCRIPT, form]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    differences = json.loads(result.stdout.splitlines()[-1])
    assert len(differences) == 6
    # Largest difference of each, relative to its largest value.
    assert max(differences.values()) < 2e-5, differences
