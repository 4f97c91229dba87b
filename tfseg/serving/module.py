"""The graph that TF Serving runs; `tfseg.predict` runs the same one."""

from __future__ import annotations

import functools
import json

import tensorflow as tf

import tfseg
from tfseg.data.transforms import decode_image
from tfseg.models.segformer import Segformer
from tfseg.upsampled_logits import BAND_ROWS, map_bands


class ServingModule(tf.Module):
    """A SegFormer with its preprocessing and upsampling, as TF Serving's signatures.

    Only the weights are tracked: a SavedModel of it holds inference and nothing of Keras.
    """

    def __init__(self, model: Segformer):
        super().__init__()
        self._weights = list(model.network.variables)
        # Plain functions that hold the model, which tf.Module would track as an attribute.
        self._quarter_logits = functools.partial(_quarter_logits, model)
        self._predict_class_maps = functools.partial(predict_class_maps, model)
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
        class_map, confidence = self._predict_class_maps(images)
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
        class_map, _ = classify_pixels(logits[None], size)
        return tf.io.encode_png(tf.cast(class_map[0, ..., None], self._mask_dtype))


def predict_class_maps(model: Segformer, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Segments decoded images of one size, as the served model does.

    Args:
        model: The SegFormer, whose `preprocessing` is applied.
        images: uint8 `[batch, height, width, 3]`, RGB.

    Returns:
        Class ids, int32 `[batch, height, width]`, and the softmax probability of the chosen class,
        float32 of the same shape.
    """
    logits = _quarter_logits(model, model.preprocessing(images))
    return classify_pixels(logits, tf.shape(images)[1:3])


def classify_pixels(logits: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Resizes logits as `resize_logits` does, band by band, and picks the class of each pixel.

    Args:
        logits: float32 `[batch, h, w, num_classes]`.
        size: int32 `[2]`, (height, width) in pixels.

    Returns:
        Class ids, int32 `[batch, height, width]`, and the softmax probability of the chosen class,
        float32 of the same shape.
    """

    def classify_band(band: tf.Tensor, _) -> tuple[tf.Tensor, tf.Tensor]:
        log_probability = tf.reduce_max(band, axis=-1) - tf.reduce_logsumexp(band, axis=-1)
        # Ids are exact in float32, and oneDNN complains on stderr where it transposes integers.
        class_map = tf.cast(tf.argmax(band, axis=-1, output_type=tf.int32), tf.float32)
        return class_map, tf.exp(log_probability)

    band_spec = tf.TensorSpec([None, BAND_ROWS, None], tf.float32)
    bands = map_bands(classify_band, logits, size, output_signature=(band_spec, band_spec))
    class_map, confidence = (_join_bands(band, size[0]) for band in bands)
    return tf.cast(class_map, tf.int32), confidence


def _join_bands(bands: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
    """`[bands, batch, rows, width]` -> `[batch, height, width]`."""
    shape = tf.shape(bands)
    joined = tf.reshape(
        tf.transpose(bands, (1, 0, 2, 3)), (shape[1], shape[0] * shape[2], shape[3])
    )
    return joined[:, :height]


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
