"""A SegFormer of a few thousand weights, shared by the tests that need a model."""

import pytest

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported


@pytest.fixture(scope="session")
def tiny_model():
    """A seeded random SegFormer of five classes at 64x96; tests must not change it."""
    import tensorflow as tf
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
    for index, variable in enumerate(model.network.trainable_variables):
        if variable.shape.rank > 1:
            fan_in = variable.shape.num_elements() / variable.shape[-1]
            noise = tf.random.stateless_normal(variable.shape, (index, 7), stddev=fan_in**-0.5)
            variable.assign(noise)
    return model


@pytest.fixture(scope="session")
def tiny_model_dir(tiny_model, tmp_path_factory):
    """The folder of `tiny_model`, as training leaves it."""
    from tfseg.models import segformer

    folder = str(tmp_path_factory.mktemp("models") / "tiny")
    segformer.save_model(tiny_model, folder)
    return folder
