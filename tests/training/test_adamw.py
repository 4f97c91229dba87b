"""AdamW refuses what its kernel cannot do, and finds in tf-keras what it relies on."""

import inspect

import pytest
import tf_keras

from tfseg.training.adamw import AdamW

PARENT = tf_keras.optimizers.AdamW


@pytest.mark.parametrize(
    "argument",
    [
        {"amsgrad": True},
        {"jit_compile": True},
        {"use_ema": True},
        {"clipnorm": 1.0},
        {"clipvalue": 1.0},
    ],
    ids=str,
)
def test_what_the_kernel_cannot_do_is_refused(argument):
    with pytest.raises(TypeError, match=next(iter(argument))):
        AdamW(0.1, weight_decay=0.1, **argument)


def test_keras_does_not_compile_the_step_by_itself():
    assert AdamW(0.1, weight_decay=0.1).jit_compile is False


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("update_step", ["self", "gradient", "variable"]),
        ("_apply_weight_decay", ["self", "variables"]),
        ("_distributed_apply_gradients_fn", ["self", "distribution", "grads_and_vars", "kwargs"]),
        ("_use_weight_decay", ["self", "variable"]),
        ("_var_key", ["self", "variable"]),
    ],
)
def test_tf_keras_has_the_methods_that_adamw_replaces_or_calls(method, parameters):
    message = f"tf-keras {tf_keras.__version__} changed {method}: adapt tfseg/training/adamw.py"
    assert hasattr(PARENT, method), message
    assert list(inspect.signature(getattr(PARENT, method)).parameters) == parameters, message


@pytest.mark.parametrize("attribute", ["_momentums", "_velocities", "_index_dict"])
def test_tf_keras_keeps_its_slots_where_adamw_looks_for_them(attribute):
    import tensorflow as tf

    optimizer = PARENT(0.1, weight_decay=0.1)
    optimizer.build([tf.Variable([1.0, 2.0])])
    message = f"tf-keras {tf_keras.__version__} has no {attribute}: adapt tfseg/training/adamw.py"
    assert len(getattr(optimizer, attribute, ())) == 1, message
