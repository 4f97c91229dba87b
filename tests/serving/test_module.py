"""The served signatures give the class maps of the model, of its training and of PyTorch."""

import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image

import tfseg
from tests.data.exif_files import turned_jpeg
from tfseg.data.transforms import resize_logits
from tfseg.models import segformer
from tfseg.serving import module

import tensorflow as tf  # isort: skip  (after tfseg)


@pytest.fixture(scope="module")
def served(tiny_model):
    return module.ServingModule(tiny_model)


def encode(image, image_format="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=image_format)
    return buffer.getvalue()


def decode(png):
    return np.asarray(Image.open(io.BytesIO(png.numpy())))


def test_serving_default_segments_each_image_at_its_own_size(served, tiny_model, make_image):
    images = [make_image(75, 101), make_image(130, 60, seed=1), make_image(1, 40, seed=2)]
    masks = served.serving_default([encode(image) for image in images])["mask_png_bytes"]
    for image, mask in zip(images, masks, strict=True):
        class_map = module.predict_class_maps(tiny_model, image[None])
        np.testing.assert_array_equal(decode(mask), class_map[0])
    assert len(np.unique(decode(masks[0]))) >= 3


def test_serving_default_accepts_jpeg_gray_alpha_and_16_bit_images(served, make_image):
    gray = make_image(40, 50)[..., 0]
    rgb = np.stack([gray] * 3, axis=-1)
    rgba = np.dstack([rgb, 255 - gray])
    deep = gray.astype(np.uint16) * 257
    encoded = [encode(rgb), encode(gray), encode(rgba), encode(deep), encode(rgb, "JPEG")]
    expected, *others, from_jpeg = served.serving_default(encoded)["mask_png_bytes"].numpy()
    assert others == [expected] * 3
    agreement = np.mean(decode(tf.constant(from_jpeg)) == decode(tf.constant(expected)))
    assert agreement > 0.9


def test_photographs_are_turned_upright_if_the_model_says_so(
    served, tiny_model, make_image, monkeypatch
):
    data = turned_jpeg(make_image(75, 101), 6)
    (mask,) = served.serving_default([data])["mask_png_bytes"]
    upright = tfseg.data.images.decode_image(data)
    expected = module.predict_class_maps(tiny_model, upright[None])[0]
    assert expected.shape == (101, 75)
    np.testing.assert_array_equal(decode(mask), expected)
    as_stored = dataclasses.replace(tiny_model.preprocessing, apply_exif=False)
    monkeypatch.setattr(tiny_model, "preprocessing", as_stored)
    other = module.ServingModule(tiny_model)
    (mask,) = other.serving_default([data])["mask_png_bytes"]
    assert decode(mask).shape == (75, 101)


def test_an_empty_batch_gives_an_empty_batch(served):
    assert served.serving_default(tf.constant([], tf.string))["mask_png_bytes"].shape == (0,)
    outputs = served.predict_images(tf.zeros((0, 50, 60, 3), tf.uint8))
    assert outputs["class_map"].shape == outputs["confidence"].shape == (0, 50, 60)


def test_damaged_bytes_are_an_error(served, make_image):
    with pytest.raises(tf.errors.InvalidArgumentError):
        served.serving_default([encode(make_image(40, 50))[:100]])


def test_predict_images_gives_argmax_and_softmax_of_the_logits(served, tiny_model, make_image):
    images = np.stack([make_image(75, 101), make_image(75, 101, seed=1)])
    outputs = served.predict_images(images)
    quarter = module._quarter_logits(tiny_model, tiny_model.preprocessing(images))
    logits = resize_logits(quarter, (75, 101)).numpy()
    probabilities = tf.nn.softmax(logits).numpy()
    assert outputs["class_map"].dtype == tf.int32
    np.testing.assert_array_equal(outputs["class_map"], logits.argmax(-1))
    np.testing.assert_allclose(outputs["confidence"], probabilities.max(-1), rtol=1e-5)


def test_more_than_256_classes_give_16_bit_masks(make_image):
    from transformers import SegformerConfig

    labels = tfseg.data.labels.LabelSpec(
        tuple(f"class {i}" for i in range(300)), ignore_index=65535
    )
    config = SegformerConfig(
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
        num_labels=300,
    )
    preprocessing = tfseg.data.transforms.Preprocessing((32, 32))
    model = segformer.Segformer(config, labels, preprocessing)
    model.network.decode_head.classifier.bias.assign(tf.one_hot(299, 300) * 100.0)
    served = module.ServingModule(model)
    (mask,) = served.serving_default([encode(make_image(40, 50))])["mask_png_bytes"]
    assert (decode(mask) == 299).all()


def test_describe_holds_what_a_client_needs(served, tiny_model):
    (text,) = served.describe()["description_json"].numpy()
    description = json.loads(text)
    assert description["classes"] == ["sky", "road", "tree", "car", "person"]
    assert description["palette"][1] == list(tiny_model.labels.palette[1])
    assert description["preprocessing"]["image_size"] == [64, 96]
    assert description["versions"]["tfseg"] == tfseg.__version__
    assert served.describe_batch(["", ""])["description_json"].numpy().tolist() == [text, text]


def test_serving_does_not_change_the_model(served, tiny_model):
    served.predict_images(np.zeros((1, 32, 32, 3), np.uint8))
    assert tiny_model(tf.zeros((1, 64, 96, 3))).shape == (1, 64, 96, 5)


@pytest.mark.parametrize("own_preprocessing", [False, True])
def test_class_maps_equal_pytorch_transformers(
    tiny_model, tiny_model_dir, make_image, own_preprocessing
):
    torch = pytest.importorskip("torch")
    from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

    image = make_image(75, 101)
    inputs = np.moveaxis(tiny_model.preprocessing(image[None]).numpy(), -1, 1)
    processor = SegformerImageProcessor.from_pretrained(tiny_model_dir)
    if own_preprocessing:
        processed = processor(Image.fromarray(image), return_tensors="np")["pixel_values"]
        # PIL rounds to whole gray levels twice, once per axis, so values differ by up to
        # 2 * 0.5 / 255 / std.
        np.testing.assert_allclose(processed, inputs, atol=0.0176)
        inputs = processed
    peer = SegformerForSemanticSegmentation.from_pretrained(tiny_model_dir).eval()
    with torch.no_grad():
        outputs = peer(torch.tensor(inputs))
    (expected,) = processor.post_process_semantic_segmentation(outputs, [(75, 101)])
    logits = module._quarter_logits(tiny_model, tiny_model.preprocessing(image[None]))
    peer_logits = np.moveaxis(outputs.logits.numpy(), 1, -1)
    np.testing.assert_allclose(logits, peer_logits, atol=0.05 if own_preprocessing else 1e-5)
    class_map = module.predict_class_maps(tiny_model, image[None])
    # Measured on eight images: 0.990 to 0.994 with PIL's rounding, 1.0 without it.
    agreement = np.mean(class_map[0] == expected.numpy())
    assert agreement > (0.985 if own_preprocessing else 0.9999)
