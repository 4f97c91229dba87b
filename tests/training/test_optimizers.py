"""What the optimizer does to each kind of weight."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tfseg.training.learning_rate import build_schedule
from tfseg.training.optimizers import build_optimizer


def named_variables():
    """A weight of each kind, named as the layers of a SegFormer name them."""
    names = ("dense/kernel", "dense/bias", "norm/gamma", "norm/beta", "block.0/dwconv/kernel")
    return [tf.Variable(tf.fill([3], 2.0), name=name) for name in names]


def test_decay_shrinks_kernels_and_leaves_norms_and_biases():
    variables = named_variables()
    optimizer = build_optimizer(
        build_schedule("constant", learning_rate=0.1, total_steps=10, warmup_steps=2),
        weight_decay=0.5,
        gradient_clip_norm=None,
    )
    shrunk = 2.0
    for rate in (0.05, 0.1, 0.1):
        optimizer.apply_gradients([(tf.zeros(3), variable) for variable in variables])
        shrunk *= 1 - rate * 0.5
        for variable in variables:
            expected = shrunk if "kernel" in variable.name else 2.0
            np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)


def test_the_models_own_norms_and_biases_are_left_out(tiny_model):
    optimizer = build_optimizer(lambda: 0.1, weight_decay=0.5, gradient_clip_norm=None)
    decayed = {
        variable.name.rsplit("/", 1)[1]
        for variable in tiny_model.trainable_variables
        if optimizer._use_weight_decay(variable)
    }
    assert decayed == {"kernel:0"}


def applied_gradient_norm(clip_norm, gradients):
    """Global norm of the first step's first moment, which is a tenth of the clipped gradient."""
    variables = [tf.Variable(tf.zeros(len(gradient))) for gradient in gradients]
    optimizer = build_optimizer(
        build_schedule("constant", learning_rate=0.1, total_steps=10, warmup_steps=0),
        weight_decay=0.0,
        gradient_clip_norm=clip_norm,
    )
    optimizer.apply_gradients(zip(map(tf.constant, gradients), variables, strict=True))
    return float(tf.linalg.global_norm(optimizer._momentums)) * 10


def test_clipping_is_by_the_global_norm():
    gradients = [[3.0, 0.0], [0.0, 4.0]]
    assert applied_gradient_norm(1.0, gradients) == pytest.approx(1.0, rel=1e-5)
    assert applied_gradient_norm(10.0, gradients) == pytest.approx(5.0, rel=1e-5)
    assert applied_gradient_norm(None, gradients) == pytest.approx(5.0, rel=1e-5)


def test_steps_equal_pytorchs_adamw():
    """To 1e-6 a step: Keras adds 1e-7 to the root, PyTorch 1e-8 after its bias correction.

    Keras's epsilon thus acts as `1e-7 / sqrt(1 - 0.999 ** step)` of PyTorch's: 3e-6 at step 1.
    """
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.normal(size=20).astype(np.float32)
    gradients = rng.normal(size=(5, 20)).astype(np.float32)
    theirs = torch.tensor(start, requires_grad=True)
    reference = torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1)
    mine = tf.Variable(start, name="kernel")
    optimizer = build_optimizer(
        build_schedule("constant", learning_rate=0.01, total_steps=10, warmup_steps=0),
        weight_decay=0.1,
        gradient_clip_norm=None,
    )
    for gradient in gradients:
        theirs.grad = torch.tensor(gradient)
        reference.step()
        optimizer.apply_gradients([(tf.constant(gradient), mine)])
        np.testing.assert_allclose(mine.numpy(), theirs.detach().numpy(), rtol=0, atol=2e-6)
    assert np.abs(mine.numpy() - start).max() > 0.01


def test_steps_are_the_same_under_a_distribution_strategy():
    start, gradients = tf.constant([1.0, -2.0]), [tf.constant([0.3, -0.1]), tf.constant([0.1, 0.2])]

    def train(strategy):
        with strategy.scope():
            variable = tf.Variable(start, name="kernel")
            optimizer = build_optimizer(
                build_schedule("polynomial", learning_rate=0.1, total_steps=4),
                weight_decay=0.1,
                gradient_clip_norm=1.0,
            )
            optimizer.build([variable])
        step = tf.function(lambda gradient: optimizer.apply_gradients([(gradient, variable)]))
        for gradient in gradients:
            strategy.run(step, (gradient,))
        return variable.numpy()

    mirrored = train(tf.distribute.MirroredStrategy(["/cpu:0"]))
    np.testing.assert_allclose(mirrored, train(tf.distribute.get_strategy()), rtol=1e-6)
    assert np.abs(mirrored - start).min() > 0.01


# Its own process, because logical devices must be set up before TensorFlow uses any.
CLIP_ON_TWO_DEVICES = """
import tfseg
import tensorflow as tf
from tfseg.training.optimizers import build_optimizer

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    variable = tf.Variable([0.0, 0.0])
    optimizer = build_optimizer(lambda: 0.1, weight_decay=0.0, gradient_clip_norm=1.0)
    optimizer.build([variable])

def step():
    is_first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
    gradient = tf.where(is_first, [30.0, 0.0], [0.0, 40.0])
    optimizer.apply_gradients([(gradient, variable)])

strategy.run(tf.function(step))
(momentum,) = optimizer._momentums
print(*(value for copy in momentum.values for value in copy.numpy()))
"""


def test_clipping_sees_the_gradient_of_all_replicas():
    """The sum (30, 40) is clipped to (0.6, 0.8); each replica's own would become (1, 1)."""
    command = [sys.executable, "-c", CLIP_ON_TWO_DEVICES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    first_moments = [float(value) for value in done.stdout.split()]
    np.testing.assert_allclose(first_moments, [0.06, 0.08] * 2, rtol=1e-5)
