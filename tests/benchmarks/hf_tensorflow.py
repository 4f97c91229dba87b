"""The peer in TensorFlow: transformers' model, unchanged, in its channels-first layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file
from transformers import SegformerConfig, TFSegformerForSemanticSegmentation
from transformers.modeling_tf_pytorch_utils import load_pytorch_state_dict_in_tf2_model

from tests.benchmarks.works import LEARNING_RATE, WEIGHT_DECAY, Work, load_batch


def load_model(folder: Path) -> TFSegformerForSemanticSegmentation:
    """Loads safetensors in PyTorch's layout, which `from_pretrained` of 4.57 cannot read."""
    model = TFSegformerForSemanticSegmentation(SegformerConfig.from_pretrained(folder))
    model.build_in_name_scope()
    weights = load_file(folder / "model.safetensors")
    return load_pytorch_state_dict_in_tf2_model(model, weights, tf_inputs=False)


def build_train_step(folder: Path, variant: str) -> Callable[[], float]:
    """Returns a function that takes one training step and returns the loss."""
    del variant
    model = load_model(folder)
    model.compile(tf.keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY))
    batch = load_batch(folder)
    pixel_values = np.ascontiguousarray(batch["inputs"].transpose(0, 3, 1, 2))
    examples = {"pixel_values": pixel_values, "labels": batch["masks"]}
    iterator = iter(tf.data.Dataset.from_tensors(examples).repeat())
    train = model.make_train_function()
    return lambda: float(train(iterator)["loss"])


def build_segment(folder: Path, variant: str) -> Callable[[], np.ndarray]:
    """Returns a function that segments the batch and returns integer `[batch, height, width]`."""
    del variant
    model, batch = load_model(folder), load_batch(folder)
    images = tf.constant(batch["images"])

    @tf.function
    def segment(images: tf.Tensor) -> tf.Tensor:
        inputs = (tf.cast(images, tf.float32) / 255.0 - batch["mean"]) / batch["std"]
        logits = model(tf.transpose(inputs, (0, 3, 1, 2)), training=False).logits
        logits = tf.image.resize(tf.transpose(logits, (0, 2, 3, 1)), images.shape[1:3])
        return tf.argmax(logits, axis=-1, output_type=tf.int32)

    return lambda: segment(images).numpy()


def load_examples(folder: Path, split: str, work: Work, *, is_shuffled: bool) -> tf.data.Dataset:
    """Builds batches in the order of the Keras example: cache, shuffle, map, batch, prefetch."""
    size = (work.image_size, work.image_size)
    mean, std = tf.constant([0.485, 0.456, 0.406]), tf.constant([0.229, 0.224, 0.225])

    def decode(image_path: tf.Tensor, mask_path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.decode_jpeg(tf.io.read_file(image_path), channels=3)
        return image, tf.io.decode_png(tf.io.read_file(mask_path), channels=1)

    def prepare(image: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        image = (tf.image.resize(tf.cast(image, tf.float32) / 255.0, size) - mean) / std
        labels = tf.cast(tf.image.resize(mask, size, method="nearest")[..., 0], tf.int32)
        return {"pixel_values": tf.transpose(image, (2, 0, 1)), "labels": labels}

    paths = [
        sorted(str(path) for path in (folder / part / split).iterdir())
        for part in ("images", "annotations")
    ]
    examples = tf.data.Dataset.from_tensor_slices(tuple(paths)).map(decode).cache()
    if is_shuffled:
        examples = examples.shuffle(10 * work.batch_size)
    batches = examples.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).batch(work.batch_size)
    return batches.prefetch(tf.data.AUTOTUNE)
