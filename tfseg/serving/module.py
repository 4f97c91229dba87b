"""The graph that TF Serving runs; `tfseg.predict` runs the same one."""

from __future__ import annotations

import functools
import json

import tensorflow as tf

import tfseg
from tfseg.data.transforms import decode_image
from tfseg.models.segformer import Segformer
from tfseg.models.upsampled_logits import classify_and_rate_pixels, classify_pixels


class ServingModule(tf.Module):
    """A SegFormer with its preprocessing and upsampling, as TF Serving's signatures.

    Only the weights are tracked: a SavedModel of it holds inference and nothing of Keras.
    """

    def __init__(self, model: Segformer):
        super().__init__()
        self._weights = list(model.network.variables)
        # A plain function that holds the model, which tf.Module would track as an attribute.
        self._quarter_logits = functools.partial(_quarter_logits, model)
        self._preprocessing = model.preprocessing
        self._mask_dtype = tf.uint8 if model.labels.num_classes <= 256 else tf.uint16
        self._description = describe_model(model)

    @property
    def signatures(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """Signature name -> function, as `tf.saved_model.save` takes them."""
        names = ("serving_default", "predict_images", "describe", "describe_batch")
        return {name: getattr(self, name) for name in names}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serving_default(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Segments encoded images, each at its own size.

        Args:
            image_bytes: string `[batch]`, JPEG or PNG.

        Returns:
            `mask_png_bytes`, string `[batch]`: gray PNGs of class ids, uint16 above 256 classes.
        """
        image_spec = tf.TensorSpec((*self._preprocessing.image_size, 3), tf.float32)
        inputs, sizes = tf.map_fn(
            self._read_image,
            image_bytes,
            fn_output_signature=(image_spec, tf.TensorSpec([2], tf.int32)),
        )
        # Two at a time use two cores; ten, the default, would hold ten images' logits.
        masks = tf.map_fn(
            self._encode_mask,
            (self._quarter_logits(inputs), sizes),
            fn_output_signature=tf.TensorSpec([], tf.string),
            parallel_iterations=2,
        )
        return {"mask_png_bytes": masks}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def predict_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Segments decoded images of one size.

        Args:
            images: uint8 `[batch, height, width, 3]`, RGB.

        Returns:
            `class_map`, int32 `[batch, height, width]`, class ids; and `confidence`, float32 of
            the same shape, the softmax probability of the chosen class.
        """
        logits, size = self._quarter_logits(self._preprocessing(images)), tf.shape(images)[1:3]
        class_map, confidence = classify_and_rate_pixels(logits, size)
        return {"class_map": class_map, "confidence": confidence}

    @tf.function(input_signature=[])
    def describe(self) -> dict[str, tf.Tensor]:
        """Returns `description_json`, string `[1]`: see `describe_model`."""
        return {"description_json": tf.constant([self._description])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="query")])
    def describe_batch(self, query: tf.Tensor) -> dict[str, tf.Tensor]:
        """`describe` for REST and server-side batching, which both refuse a call without input.

        https://github.com/tensorflow/serving/issues/1676

        Args:
            query: string `[batch]`, not read.

        Returns:
            `description_json`, string `[batch]`, the same text for each entry.
        """
        return {"description_json": tf.fill(tf.shape(query), self._description)}

    def _read_image(self, image_bytes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = decode_image(image_bytes)
        return self._preprocessing(image), tf.shape(image)[:2]

    def _encode_mask(self, logits_and_size: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        logits, size = logits_and_size
        class_map = classify_pixels(logits[None], size)[0]
        return tf.io.encode_png(tf.cast(class_map[..., None], self._mask_dtype))


def predict_class_maps(model: Segformer, images: tf.Tensor) -> tf.Tensor:
    """Segments decoded images of one size, as the served model does.

    Args:
        model: The SegFormer, whose `preprocessing` is applied.
        images: uint8 `[batch, height, width, 3]`, RGB.

    Returns:
        Class ids, int32 `[batch, height, width]`.
    """
    logits = _quarter_logits(model, model.preprocessing(images))
    return classify_pixels(logits, tf.shape(images)[1:3])


def _quarter_logits(model: Segformer, inputs: tf.Tensor) -> tf.Tensor:
    """Returns float32 logits `[batch, height / 4, width / 4, num_classes]`; the batch may be 0."""
    batch = tf.shape(inputs)[0]
    # The network's reshapes cannot infer a dimension of an empty batch: it gets one black image.
    padding = [[0, tf.cast(batch == 0, tf.int32)], [0, 0], [0, 0], [0, 0]]
    return model.quarter_logits(tf.pad(inputs, padding), training=False)[:batch]


def describe_model(model: Segformer) -> str:
    """Returns JSON: `classes` by id, `palette`, `ignore_index`, `preprocessing`, `versions`."""
    preprocessing = model.preprocessing
    return json.dumps(
        {
            "classes": list(model.labels.names),
            "palette": [list(color) for color in model.labels.palette],
            "ignore_index": model.labels.ignore_index,
            "preprocessing": {
                "image_size": list(preprocessing.image_size),
                "mean": list(preprocessing.mean),
                "std": list(preprocessing.std),
            },
            "versions": {"tfseg": tfseg.__version__, "tensorflow": tf.__version__},
        }
    )
