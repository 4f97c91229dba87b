"""Learning rates at given steps."""

import pytest

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import tensorflow as tf

from tfseg.training.learning_rate import LinearWarmup, build_schedule


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
