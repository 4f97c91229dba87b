"""tfseg: its training step as in `tfseg.training`, its inference as in TF Serving."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.benchmarks.works import LEARNING_RATE, WEIGHT_DECAY, load_batch
from tfseg.losses.cross_entropy import SegmentationCrossEntropy
from tfseg.models import segformer
from tfseg.serving import module
from tfseg.training import learning_rate, optimizers


def build_train_step(folder: Path, variant: str) -> Callable[[], float]:
    """Returns a function that takes one training step and returns the loss.

    Args:
        folder: From `works.prepare`.
        variant: The precision.
    """
    model = segformer.load_model(str(folder), precision=variant)
    schedule = learning_rate.build_schedule(
        "constant", learning_rate=LEARNING_RATE, total_steps=1, warmup_steps=0
    )
    model.compile(
        optimizers.build_optimizer(schedule, weight_decay=WEIGHT_DECAY, gradient_clip_norm=None),
        SegmentationCrossEntropy(model.labels.ignore_index),
    )
    batch = load_batch(folder)
    batches = tf.data.Dataset.from_tensors((batch["inputs"], batch["masks"])).repeat()
    iterator, train = iter(batches), model.make_train_function()
    return lambda: float(train(iterator)["loss"])


def build_segment(folder: Path, variant: str) -> Callable[[], np.ndarray]:
    """Returns a function that segments the batch and returns integer `[batch, height, width]`.

    The graph accepts any number of images of any size, as the served one does.
    """
    del variant
    segment = tf.function(
        functools.partial(module.predict_class_maps, segformer.load_model(str(folder))),
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
    )
    images = tf.constant(load_batch(folder)["images"])
    return lambda: segment(images).numpy()
