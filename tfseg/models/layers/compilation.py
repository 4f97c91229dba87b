"""Small programs compiled by XLA inside graphs that are not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def compile_where_static(
    function: Callable[..., Any], in_free_graphs: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Compiles a function of tensors by XLA in graphs that know their shapes, as training's do.

    XLA fuses a chain of pointwise operations and reductions into one pass over the memory: GELU
    and its gradient take 11 ms instead of 39 ms for 4 million float32 (2 CPU cores), although a
    whole model is slower under XLA, whose matrix products are. It compiles anew for each shape,
    which eager calls and graphs of free shape, as in serving, should not wait for.

    Args:
        function: Its arguments are tensors, and Python numbers, which become constants.
        in_free_graphs: What graphs of free shape call, `function` itself where not given.
    """
    in_free_graphs = in_free_graphs or function
    compiled = tf.function(function, jit_compile=True)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        tensors = [argument for argument in arguments if tf.is_tensor(argument)]
        if tf.executing_eagerly():
            return function(*arguments)
        is_static = all(tensor.shape.is_fully_defined() for tensor in tensors)
        return (compiled if is_static else in_free_graphs)(*arguments)

    return call
