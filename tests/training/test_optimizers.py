"""Learning rates at named steps; what AdamW does to each kind of weight."""

import numpy as np
import pytest

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import tensorflow as tf

from tfseg.training.optimizers import LinearWarmup, build_optimizer, build_schedule


def rates(schedule, *steps):
    return [float(schedule(tf.constant(step, tf.int64))) for step in steps]


def test_polynomial_rises_then_falls_to_zero():
    schedule = build_schedule("polynomial", learning_rate=0.8, total_steps=110, warmup_steps=10)
    expected = [0.08, 0.4, 0.8, 0.8, 0.4, 0.008, 0.0, 0.0]
    assert rates(schedule, 0, 4, 9, 10, 60, 109, 110, 500) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("power", [0.5, 0.9, 2.0])
def test_power_of_the_polynomial(power):
    schedule = build_schedule(
        "polynomial", learning_rate=2.0, total_steps=100, warmup_steps=0, power=power
    )
    expected = [2.0 * (1 - step / 100) ** power for step in (0, 25, 99)]
    assert rates(schedule, 0, 25, 99) == pytest.approx(expected, rel=1e-4)


def test_constant_stays_at_the_peak():
    schedule = build_schedule("constant", learning_rate=0.3, total_steps=100, warmup_steps=3)
    assert rates(schedule, 0, 1, 2, 3, 50, 100, 999) == pytest.approx([0.1, 0.2] + [0.3] * 5)


def test_the_warm_up_is_a_twentieth_where_not_given():
    schedule = build_schedule("constant", learning_rate=1.0, total_steps=200)
    assert rates(schedule, 0, 8, 9, 10) == pytest.approx([0.1, 0.9, 1.0, 1.0])


@pytest.mark.parametrize("total_steps", [1, 2, 19])
def test_a_short_run_has_no_warm_up_and_no_zero_rate(total_steps):
    schedule = build_schedule("polynomial", learning_rate=1.0, total_steps=total_steps)
    assert rates(schedule, 0) == [1.0]
    assert all(rate > 0 for rate in rates(schedule, *range(total_steps)))


def test_a_warm_up_longer_than_the_run_only_rises():
    schedule = build_schedule("polynomial", learning_rate=1.0, total_steps=5, warmup_steps=10)
    assert rates(schedule, *range(5)) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_piecewise_equals_keras_on_its_documented_example():
    # https://keras.io/2/api/optimizers/learning_rate_schedules/piecewise_constant_decay
    boundaries, values = (100_000, 110_000), (1.0, 0.5, 0.1)
    schedule = build_schedule(
        "piecewise", learning_rate=9.0, total_steps=100, boundaries=boundaries, values=values
    )
    keras = tf.keras.optimizers.schedules.PiecewiseConstantDecay(list(boundaries), list(values))
    steps = (0, 99_999, 100_000, 100_001, 110_000, 110_001, 10**7)
    assert rates(schedule, *steps) == rates(keras, *steps)
    assert rates(schedule, *steps) == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.5, 0.1, 0.1])


def test_an_unknown_schedule_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'cosine'.*polynomial.*constant.*piecewise"):
        build_schedule("cosine", learning_rate=1.0, total_steps=10)


def test_a_schedule_is_rebuilt_from_its_config():
    schedule = build_schedule("polynomial", learning_rate=0.8, total_steps=110, warmup_steps=10)
    again = LinearWarmup.from_config(schedule.get_config())
    assert rates(again, 0, 50, 110) == rates(schedule, 0, 50, 110)


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
