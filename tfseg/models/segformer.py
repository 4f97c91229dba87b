"""SegFormer as a Keras model: build, load and save it.

The model maps normalised images `[batch, height, width, 3]` to logits
`[batch, height, width, num_classes]`. https://arxiv.org/abs/2105.15203
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from etils import epath
from transformers import SegformerConfig

from tfseg.data.labels import LabelSpec
from tfseg.data.transforms import Preprocessing, resize_logits
from tfseg.errors import UserError
from tfseg.models import checkpoint, image_processor, initializers, saving, weights
from tfseg.models.network import build_network, config_for_backbone


class Segformer(tf.keras.Model):
    """SegFormer on channels-last images.

    Compile it with `tfseg.losses.cross_entropy.SegmentationCrossEntropy`: `fit` hands the loss
    quarter-size logits, which it resizes in a fraction of the memory that a resize in the model
    would take. Metrics, `evaluate` and a call get logits at the size of the images.

    Attributes:
        labels: The classes, in the order of the last axis of the logits.
        preprocessing: How an image must be prepared for the model.
        network: Hugging Face's model, which owns the weights.

    Args:
        config: Hugging Face's configuration.
        labels: The classes.
        preprocessing: How an image must be prepared for the model.
        precision: Keras's dtype policy: `float32`, `mixed_bfloat16` or `mixed_float16`. Weights
            and logits are float32 in all three.
            https://www.tensorflow.org/guide/mixed_precision
        **kwargs: Passed to `tf.keras.Model`.
    """

    def __init__(
        self,
        config: SegformerConfig,
        labels: LabelSpec,
        preprocessing: Preprocessing,
        *,
        precision: str = "float32",
        **kwargs,
    ):
        super().__init__(dtype=precision, **kwargs)
        self.labels = labels
        self.preprocessing = preprocessing
        self.network = build_network(config, precision)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns float32 logits `[batch, height, width, num_classes]`.

        Args:
            inputs: float32 `[batch, height, width, 3]`, normalised by `preprocessing`.
            training: Turns dropout, stochastic depth and batch statistics on.
        """
        return resize_logits(self.quarter_logits(inputs, training), tf.shape(inputs)[1:3])

    def quarter_logits(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns float32 logits `[batch, height / 4, width / 4, num_classes]`."""
        encoded = self.network.segformer.encoder(
            images, output_hidden_states=True, training=training
        )
        return self.network.decode_head(encoded.hidden_states, training=training)

    def train_step(self, data) -> dict[str, tf.Tensor]:
        """Keras's default training step, but with quarter-size logits for the loss.

        https://www.tensorflow.org/guide/keras/customizing_what_happens_in_fit

        Args:
            data: (images, masks) or (images, masks, sample weights).

        Returns:
            The metrics by name, `loss` among them.
        """
        images, masks, weights = tf.keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            quarter = self.quarter_logits(images, training=True)
            loss = self.compute_loss(images, masks, quarter, weights)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        # A graph leaves the resize out if no metric reads it.
        logits = resize_logits(quarter, tf.shape(images)[1:3])
        return self.compute_metrics(images, masks, logits, weights)

    def save(
        self,
        filepath: str,
        overwrite: bool = True,
        save_format: str | None = None,
        options: tf.saved_model.SaveOptions | None = None,
    ) -> None:
        """Writes a Hugging Face folder, see `save_model`; `ModelCheckpoint` calls this.

        Args:
            filepath: The folder.
            overwrite: Replace the weights of a folder that holds the same model.
            save_format: Must be None: Keras's formats are not written.
            options: None, or the default options, which `ModelCheckpoint` passes.

        Raises:
            UserError: An argument cannot be honoured, or the folder holds another model.
        """
        if save_format is not None or str(filepath).endswith((".keras", ".h5")):
            raise UserError(
                f"{filepath} (save_format={save_format!r}): a Segformer is saved as a Hugging Face "
                "folder; give a folder and no save_format"
            )
        if options is not None and _settings(options) != _settings(tf.saved_model.SaveOptions()):
            raise UserError(
                f"{filepath}: options are for SavedModels; a Hugging Face folder has none"
            )
        if not overwrite and (epath.Path(filepath) / "config.json").exists():
            raise UserError(f"{filepath} holds a model already, and overwrite is False")
        save_model(self, filepath)


def build_model(
    labels: LabelSpec,
    image_size: tuple[int, int],
    *,
    backbone: str = "mit-b0",
    init_from: str = "scratch",
    revision: str | None = None,
    freeze_encoder: bool = False,
    drop_path_rate: float | None = None,
    apply_exif: bool = True,
    precision: str = "float32",
    seed: int = 0,
) -> Segformer:
    """Builds a SegFormer for `labels`, from scratch or with the weights of `init_from`.

    Args:
        labels: The classes to predict.
        image_size: (height, width) in pixels to which `preprocessing` resizes.
        backbone: `mit-b0` to `mit-b5`; read only if `init_from` is `scratch`.
        init_from: `scratch`, a Hub id, or a folder in PyTorch's or TensorFlow's layout. Weights
            of the decode head that the checkpoint lacks, and a classifier for another number of
            classes, are freshly drawn.
        revision: Branch, tag or commit of a Hub id.
        freeze_encoder: Train the decode head only.
        drop_path_rate: Maximum probability that stochastic depth skips a block, in [0, 1); the
            last block has it, earlier ones less. If None, the checkpoint's own rate applies, and
            for `scratch` 0.1, transformers' default. (`tfseg.train` passes 0 for `scratch`
            unless --drop_path_rate says otherwise.)
        apply_exif: Whether `preprocessing` turns JPEG files upright by their EXIF orientation.
        precision: `float32`, `mixed_bfloat16` or `mixed_float16`, see `Segformer`.
        seed: Seed of the freshly drawn weights.

    Raises:
        UserError: `init_from` cannot be found or is no SegFormer.
    """
    if init_from == "scratch":
        config, folder, normalization = config_for_backbone(backbone), None, ()
    else:
        folder = checkpoint.find_folder(init_from, revision, flag="init_from")
        config = checkpoint.read_config(folder)
        normalization = image_processor.read_normalization(folder)
    preprocessing = Preprocessing(
        image_size, *normalization, apply_exif=apply_exif, reduce_labels=labels.is_reduced
    )
    checkpoint.set_labels(config, labels)
    if drop_path_rate is not None:
        config.drop_path_rate = drop_path_rate
    model = Segformer(config, labels, preprocessing, precision=precision)
    initializers.initialize(model.network, seed)
    if folder is not None:
        weights.load_weights(model.network, folder, allow_fresh_head=True)
    model.network.segformer.trainable = not freeze_encoder
    return model


def load_model(
    path: str,
    *,
    revision: str | None = None,
    image_size: tuple[int, int] | None = None,
    precision: str = "float32",
) -> Segformer:
    """Loads a fine-tuned SegFormer.

    Args:
        path: A Hub id, or a folder written by tfseg, PyTorch transformers or TF transformers.
        revision: Branch, tag or commit of a Hub id.
        image_size: (height, width) in pixels to which `preprocessing` resizes; replaces the
            saved size.
        precision: `float32`, `mixed_bfloat16` or `mixed_float16`, see `Segformer`.

    Returns:
        A `keras.Model`: normalised `[batch, height, width, 3]` -> logits
        `[batch, height, width, num_classes]`.

    Raises:
        UserError: Nothing is there, a file is damaged or asks for something that tfseg does not
            do, or a weight is missing.
    """
    folder = checkpoint.find_folder(path, revision, flag="model")
    config = checkpoint.read_config(folder)
    model = Segformer(
        config,
        checkpoint.read_labels(config),
        image_processor.read_preprocessing(folder, image_size),
        precision=precision,
    )
    weights.load_weights(model.network, folder, allow_fresh_head=False)
    return model


def save_model(model: Segformer, folder: str) -> None:
    """Writes a Hugging Face folder that PyTorch transformers, tfseg and the Hub open.

    It holds `config.json`, `preprocessor_config.json` and `model.safetensors` in PyTorch's names
    and layout. A kill leaves the old model or the new one, see `saving.save`.

    Raises:
        UserError: The folder holds another model; nothing in it is touched.
    """
    saving.save(model.network, model.preprocessing, folder)


def _settings(options: tf.saved_model.SaveOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.__slots__}
