"""A SegFormer of a few thousand weights and images for it, shared by the tests."""

import numpy as np
import pytest

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported


@pytest.fixture(scope="session")
def tiny_model():
    """A seeded random SegFormer of five classes at 64x96; tests must not change it."""
    from transformers import SegformerConfig

    from tfseg.data.labels import LabelSpec
    from tfseg.data.transforms import Preprocessing
    from tfseg.models import checkpoint, segformer

    labels = LabelSpec(("sky", "road", "tree", "car", "person"))
    config = SegformerConfig(
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
    )
    checkpoint.set_labels(config, labels)
    model = segformer.Segformer(config, labels, Preprocessing((64, 96)))
    _draw_weights(model.network.trainable_variables)
    return model


def _draw_weights(variables):
    """Draws kernels that keep the signal's size, so that every class is predicted somewhere."""
    rng = np.random.default_rng(7)
    for variable in variables:
        if variable.shape.rank > 1:
            fan_in = variable.shape.num_elements() / variable.shape[-1]
            kernel = rng.normal(0, fan_in**-0.5, variable.shape)
            # After a ReLU a mean other than zero would let one class win everywhere.
            num_inputs = variable.shape[-2]
            variable.assign(kernel - kernel.mean(-2, keepdims=True) * (num_inputs > 1))


@pytest.fixture(scope="session")
def tiny_model_dir(tiny_model, tmp_path_factory):
    """The folder of `tiny_model`, as training leaves it."""
    from tfseg.models import segformer

    folder = str(tmp_path_factory.mktemp("models") / "tiny")
    segformer.save_model(tiny_model, folder)
    return folder


@pytest.fixture(scope="session")
def make_image():
    """A function (height, width, seed) -> uint8 `[height, width, 3]`, smooth coloured noise."""
    from PIL import Image

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        noise = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
        return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))

    return make
