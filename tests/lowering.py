"""Lowers tfseg's programs for devices that are not there.

TensorFlow turns a function into XLA's HLO for a platform without having such a device, and names
each operation that XLA does not have there. Variables are refused where the device is absent, so
they become constants: a training step is loss and gradients, without the optimizer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from tfseg import devices
from tfseg.evaluation.evaluator import Evaluator
from tfseg.losses.cross_entropy import SegmentationCrossEntropy
from tfseg.models import upsampled_logits
from tfseg.models.segformer import Segformer


def lower(
    function: Callable[..., Any],
    inputs: list[tf.TensorSpec],
    platform: str,
    stage: str = "hlo",
) -> str | bytes:
    """Lowers a function, traced in the form for accelerators, for `GPU` or `TPU`."""
    with devices.asking_for(devices.ACCELERATOR):
        traced = tf.function(function).get_concrete_function(*inputs)
    frozen = convert_to_constants.convert_variables_to_constants_v2(
        traced, lower_control_flow=False
    )
    program = tf.function(lambda *tensors: frozen(*tensors), jit_compile=True)
    return program.experimental_get_compiler_ir(*inputs)(stage=stage, platform_name=platform)


def programs(model: Segformer, batch_size: int) -> dict[str, tuple[Callable, list[tf.TensorSpec]]]:
    """Returns tfseg's programs by name, each with its inputs.

    The training step has dropout and stochastic depth. Its batch normalisation does not train,
    because it would assign moving averages. The served step starts behind decoding and
    preprocessing, which run on the host.
    """
    height, width = model.preprocessing.image_size
    images = tf.TensorSpec([batch_size, height, width, 3], tf.float32)
    masks = tf.TensorSpec([batch_size, height, width], tf.int32)
    sizes = tf.TensorSpec([batch_size, 2], tf.int32)
    loss = SegmentationCrossEntropy(model.labels.ignore_index)
    model.network.decode_head.batch_norm.trainable = False

    def train(images: tf.Tensor, masks: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            value = loss(masks, model.quarter_logits(images, training=True))
        return [value, *tape.gradient(value, model.trainable_variables)]

    def serve(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = tf.cast(model.quarter_logits(images, training=False), tf.float32)
        return upsampled_logits.classify_and_rate_pixels(logits, tf.shape(images)[1:3])

    return {
        "training": (train, [images, masks]),
        "evaluation": (Evaluator(model, model.labels).measure, [images, masks, sizes]),
        "serving": (serve, [images]),
    }
