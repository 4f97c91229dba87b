"""The form in which each computation suits the devices that run it.

Layers and losses compute the same function on all devices, but the fastest way differs. The CPU
forms keep what a loop reads in the cache of a core, and have XLA compile small functions inside a
graph that XLA leaves alone. On a GPU many small kernels cost more than they save, and on a TPU XLA
compiles the whole step, in which a loop or a nested compilation is in the way. Layers and losses
ask `current_form` when they are traced; no flag chooses.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
from collections.abc import Iterator

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Form:
    """How computations are cut and compiled for a kind of device.

    Attributes:
        attention_scores: Attention scores that exist at a time; more are computed in blocks.
        band_logits: Upsampled logits that the loss holds at a time; more are computed in bands.
            None if XLA fuses them into the sums that read them, so that none are held.
        compiles_parts: Let XLA compile single functions inside graphs of static shapes that it
            does not compile, and write layer normalisation in other graphs so that oneDNN
            recognises it. Otherwise layers expect XLA to compile the whole step.
        compiles_loss: Let XLA compile the loss also where it does not compile the step, because
            without XLA `band_logits=None` would hold all logits many times; and an evaluation.
        fixed_shapes: Give all batches of an evaluation one shape, as XLA needs it.
    """

    attention_scores: int
    band_logits: int | None
    compiles_parts: bool
    compiles_loss: bool
    fixed_shapes: bool


CPU = Form(
    attention_scores=1 << 20,  # 4 MB of float32, which fit in a core's share of the cache
    band_logits=1 << 20,
    compiles_parts=True,
    compiles_loss=False,
    fixed_shapes=False,
)
GPU = Form(
    # 0.5 GB of float32: one block holds the scores of 8 images of 512x512, or 2 of 1024x1024.
    attention_scores=1 << 27,
    band_logits=None,
    compiles_parts=False,
    compiles_loss=True,
    fixed_shapes=True,
)
# XLA compiles whatever runs on a TPU.
TPU = dataclasses.replace(GPU, compiles_loss=False)

_FORMS = {"CPU": CPU, "GPU": GPU, "TPU": TPU}
_asked: list[Form] = []


def current_form() -> Form:
    """Returns the form for the devices of the current strategy, or the form that is asked for.

    It does not set the devices up, so it may be called before a strategy is built.
    """
    if _asked:
        return _asked[-1]
    kind = device_kind()
    return TPU if kind == "CPU" and not _has_xla_for_cpu() else _FORMS[kind]


@contextlib.contextmanager
def asking_for(form: Form) -> Iterator[None]:
    """Makes `current_form` return `form`, whatever the devices, in all threads.

    What counts is the moment of tracing: a `tf.function` keeps the form that it was traced with.
    """
    _asked.append(form)
    try:
        yield
    finally:
        _asked.pop()


def device_kind() -> str:
    """Returns the kind of the current strategy's devices: `CPU`, `GPU` or `TPU`."""
    if not tf.distribute.has_strategy():
        # TensorFlow places operations on a GPU if there is one, but on a TPU only in a strategy.
        return "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
    device, *_ = tf.distribute.get_strategy().extended.worker_devices
    return tf.DeviceSpec.from_string(device).device_type


@functools.cache
def _has_xla_for_cpu() -> bool:
    """Returns whether XLA compiles for a CPU; TensorFlow's wheel for TPUs has it for TPUs only."""
    try:
        importlib.metadata.version("tensorflow-tpu")
    except importlib.metadata.PackageNotFoundError:
        return True
    return False
