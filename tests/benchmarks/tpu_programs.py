"""Lowers tfseg's steps and Hugging Face's training step for an accelerator that is absent.

`python -m tests.benchmarks.tpu_programs --help` runs in an environment with `tensorflow-tpu`.
Lowering takes no variables where the device is absent, so they become constants, and the optimizer
is left out.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Without these, TensorFlow for TPUs waits minutes for a metadata server.
TPU_ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",
    "FORCE_TF_AVAILABLE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
PROGRAMS = ("train", "train_with_dropout", "evaluate", "serve", "hf_train")


def lower(
    name: str,
    platform: str,
    *,
    batch_size: int,
    image_size: int,
    num_classes: int,
    precision: str = "float32",
    is_tiny: bool = False,
    stage: str = "hlo",
) -> str | bytes:
    """Lowers a program in the form of a platform.

    Args:
        name: One of `PROGRAMS`.
        platform: `GPU`, which needs no more than TensorFlow's ordinary wheel, or `TPU`.
        batch_size: Images per batch.
        image_size: Height and width of the images in pixels.
        num_classes: Number of classes.
        precision: Keras's dtype policy.
        is_tiny: Take a toy model.
        stage: `hlo` for text, `hlo_serialized` for what a compiler reads.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    from tests.benchmarks import works
    from tfseg import devices

    work = works.Work("tiny" if is_tiny else "b0", 1, image_size, num_classes, steps=1)
    with tempfile.TemporaryDirectory() as folder, devices.asking_for(getattr(devices, platform)):
        works.prepare(work, Path(folder))
        build = {
            "train": _train,
            "train_with_dropout": functools.partial(_train, has_dropout=True),
            "evaluate": _evaluate,
            "serve": _serve,
            "hf_train": _hf_train,
        }[name]
        function, *specs = build(folder, precision, batch_size, image_size)
        concrete = tf.function(function).get_concrete_function(*specs)
        frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
        program = tf.function(lambda *inputs: frozen(*inputs), jit_compile=True)
        read = program.experimental_get_compiler_ir(*specs)
        return read(stage=stage, platform_name=platform)


def _train(
    folder: str, precision: str, batch_size: int, image_size: int, *, has_dropout: bool = False
) -> Sequence:
    """Returns forward pass, loss and gradients, and the shapes of images and masks.

    Without dropout, as the peers' step. With it the batch normalisation is held, because it would
    assign moving averages.
    """
    import tensorflow as tf

    from tfseg.losses.cross_entropy import SegmentationCrossEntropy
    from tfseg.models import segformer

    model = segformer.load_model(folder, precision=precision)
    loss = SegmentationCrossEntropy(model.labels.ignore_index)
    model.network.decode_head.batch_norm.trainable = not has_dropout

    def step(images, masks):
        with tf.GradientTape() as tape:
            value = loss(masks, model.quarter_logits(images, training=has_dropout))
        return [value, *tape.gradient(value, model.trainable_variables)]

    return step, *_specs(batch_size, image_size)


def _evaluate(folder: str, precision: str, batch_size: int, image_size: int) -> Sequence:
    """Returns what an evaluation measures of a batch: confusion matrix and summed loss."""
    import tensorflow as tf

    from tfseg.evaluation.evaluator import Evaluator
    from tfseg.models import segformer

    model = segformer.load_model(folder, precision=precision)
    sizes = tf.TensorSpec([batch_size, 2], tf.int32)
    return Evaluator(model, model.labels).measure, *_specs(batch_size, image_size), sizes


def _serve(folder: str, precision: str, batch_size: int, image_size: int) -> Sequence:
    """Returns what TF Serving runs: uint8 images to class maps."""
    import tensorflow as tf

    from tfseg.models import segformer
    from tfseg.serving.module import predict_class_maps

    model = segformer.load_model(folder, precision=precision)
    spec = tf.TensorSpec([batch_size, image_size, image_size, 3], tf.uint8)
    return lambda images: predict_class_maps(model, images), spec


def _hf_train(folder: str, precision: str, batch_size: int, image_size: int) -> Sequence:
    """Returns the step of transformers' own classes, with their layout and a plain loss."""
    import tensorflow as tf

    from tests.benchmarks import hf_tensorflow

    tf.keras.mixed_precision.set_global_policy(precision)
    model = hf_tensorflow.load_model(Path(folder))

    def step(images, masks):
        with tf.GradientTape() as tape:
            logits = model(tf.transpose(images, (0, 3, 1, 2)), training=False).logits
            logits = tf.transpose(tf.cast(logits, tf.float32), (0, 2, 3, 1))
            upsampled = tf.image.resize(logits, (image_size, image_size))
            value = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=masks, logits=upsampled)
            )
        return [value, *tape.gradient(value, model.trainable_variables)]

    return step, *_specs(batch_size, image_size)


def _specs(batch_size: int, image_size: int) -> tuple:
    import tensorflow as tf

    shape = [batch_size, image_size, image_size]
    return tf.TensorSpec([*shape, 3], tf.float32), tf.TensorSpec(shape, tf.int32)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="file for the program")
    parser.add_argument("--program", choices=PROGRAMS, default="train")
    parser.add_argument("--platform", choices=("GPU", "TPU"), default="TPU")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--image_size", type=int, default=512)
    parser.add_argument("--num_classes", type=int, default=150)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--is_tiny", action="store_true", help="take a toy model")
    return parser.parse_args()


def main() -> None:
    arguments = vars(_parse())
    output = arguments.pop("output")
    program = lower(
        arguments.pop("program"), arguments.pop("platform"), **arguments, stage="hlo_serialized"
    )
    output.write_bytes(program)


if __name__ == "__main__":
    os.environ.update(TPU_ENVIRONMENT)
    main()
