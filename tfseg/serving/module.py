"""The graph that TF Serving runs, and which `tfseg.predict` runs too."""

from __future__ import annotations

import functools
import json

import tensorflow as tf

import tfseg
from tfseg.data.images import decode_image
from tfseg.models.segformer import Segformer
from tfseg.models.upsampled_logits import classify_and_rate_pixels, classify_pixels


class ServingModule(tf.Module):
    """A SegFormer with its preprocessing and upsampling, in the signatures of TF Serving.

    The module tracks only the weights, so that its SavedModel holds the inference graphs and no
    Keras objects.
    """

    def __init__(self, model: Segformer):
        super().__init__()
        self._weights = list(model.network.variables)
        # tf.Module would track the model if it were an attribute; a function that holds it is not.
        self._quarter_logits = functools.partial(_quarter_logits, model)
        self._preprocessing = model.preprocessing
        self._mask_dtype = tf.uint8 if model.labels.num_classes <= 256 else tf.uint16
        self._description = describe_model(model)

    @property
    def signatures(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """Signature name -> function, for the argument `signatures` of `tf.saved_model.save`."""
        names = ("serving_default", "predict_images", "describe", "describe_batch")
        return {name: getattr(self, name) for name in names}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serving_default(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Segments encoded images, each at its own size.

        Args:
            image_bytes: JPEG or PNG files, string `[batch]`.

        Returns:
            `mask_png_bytes`, string `[batch]`: gray PNG files of class ids, with 8 bits per pixel
            for up to 256 classes and 16 bits for more.
        """
        image_spec = tf.TensorSpec((*self._preprocessing.image_size, 3), tf.float32)
        inputs, sizes = tf.map_fn(
            self._read_image,
            image_bytes,
            fn_output_signature=(image_spec, tf.TensorSpec([2], tf.int32)),
        )
        # map_fn's default of ten parallel iterations would hold the logits of ten images in memory.
        # Two iterations keep two cores busy.
        masks = tf.map_fn(
            self._encode_mask,
            (self._quarter_logits(inputs), sizes),
            fn_output_signature=tf.TensorSpec([], tf.string),
            parallel_iterations=2,
        )
        return {"mask_png_bytes": masks}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def predict_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Segments decoded images that all have the same size.

        Args:
            images: uint8 `[batch, height, width, 3]`, RGB, 0..255.

        Returns:
            `class_map`: class ids, int32 `[batch, height, width]`. `confidence`: the softmax
            probability of the predicted class, float32 of the same shape, in (0, 1].
        """
        logits, size = self._quarter_logits(self._preprocessing(images)), tf.shape(images)[1:3]
        class_map, confidence = classify_and_rate_pixels(logits, size)
        return {"class_map": class_map, "confidence": confidence}

    @tf.function(input_signature=[])
    def describe(self) -> dict[str, tf.Tensor]:
        """Returns `description_json`, string `[1]`; see `describe_model`."""
        return {"description_json": tf.constant([self._description])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="query")])
    def describe_batch(self, query: tf.Tensor) -> dict[str, tf.Tensor]:
        """Does what `describe` does, for REST and server-side batching.

        Both refuse a call without input: https://github.com/tensorflow/serving/issues/1676

        Args:
            query: Any strings `[batch]`; their values are ignored.

        Returns:
            `description_json`, string `[batch]`: the same text for each entry.
        """
        return {"description_json": tf.fill(tf.shape(query), self._description)}

    def _read_image(self, image_bytes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = decode_image(image_bytes, apply_exif=self._preprocessing.apply_exif)
        return self._preprocessing(image), tf.shape(image)[:2]

    def _encode_mask(self, logits_and_size: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        logits, size = logits_and_size
        class_map = classify_pixels(logits[None], size)[0]
        return tf.io.encode_png(tf.cast(class_map[..., None], self._mask_dtype))


def predict_class_maps(model: Segformer, images: tf.Tensor) -> tf.Tensor:
    """Segments decoded images that all have the same size, as the served model does.

    Args:
        model: The SegFormer. Its `preprocessing` is applied to the images.
        images: uint8 `[batch, height, width, 3]`, RGB, 0..255.

    Returns:
        Class ids, int32 `[batch, height, width]`.
    """
    logits = _quarter_logits(model, model.preprocessing(images))
    return classify_pixels(logits, tf.shape(images)[1:3])


def _quarter_logits(model: Segformer, inputs: tf.Tensor) -> tf.Tensor:
    """Returns float32 logits `[batch, height / 4, width / 4, num_classes]`; batch may be 0."""
    batch = tf.shape(inputs)[0]
    # The network's reshapes cannot infer a dimension if the batch is empty, so it gets one image.
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
                "apply_exif": preprocessing.apply_exif,
            },
            "versions": {"tfseg": tfseg.__version__, "tensorflow": tf.__version__},
        }
    )
