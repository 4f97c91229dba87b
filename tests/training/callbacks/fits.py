"""Real fits of a tiny Keras model, for the tests of the callbacks."""

import numpy as np

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import tensorflow as tf

from tfseg.losses.cross_entropy import SegmentationCrossEntropy
from tfseg.training.learning_rate import build_schedule
from tfseg.training.optimizers import build_optimizer

STEPS_PER_EPOCH = 4


def build_model(learning_rate=0.01, seed=0):
    """A convolution of 3 classes, compiled as training compiles a SegFormer."""
    tf.keras.utils.set_random_seed(seed)
    model = tf.keras.Sequential([tf.keras.layers.Conv2D(3, 1, input_shape=(4, 4, 3))])
    schedule = build_schedule(
        "constant", learning_rate=learning_rate, total_steps=100, warmup_steps=0
    )
    optimizer = build_optimizer(schedule, weight_decay=0.01, gradient_clip_norm=None)
    model.compile(optimizer, SegmentationCrossEntropy(255))
    return model


def build_batches(bad_step=None):
    """Endless batches of one image; the image of `bad_step`, counted from 1, holds a nan."""
    rng = np.random.default_rng(0)

    def generate():
        step = 0
        while True:
            step += 1
            image = rng.normal(size=(1, 4, 4, 3)).astype(np.float32)
            image[0, 0, 0, 0] = np.nan if step == bad_step else image[0, 0, 0, 0]
            yield image, rng.integers(0, 3, (1, 4, 4)).astype(np.int32)

    signature = (tf.TensorSpec((1, 4, 4, 3), tf.float32), tf.TensorSpec((1, 4, 4), tf.int32))
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


def fit(model, *used, epochs=1, initial_epoch=0, bad_step=None):
    return model.fit(
        build_batches(bad_step),
        epochs=epochs,
        initial_epoch=initial_epoch,
        steps_per_epoch=STEPS_PER_EPOCH,
        callbacks=list(used),
        verbose=0,
    )


def end_epochs(callback, logs_of_epochs, first_epoch=0):
    for epoch, logs in enumerate(logs_of_epochs, first_epoch):
        callback.on_epoch_end(epoch, logs)
