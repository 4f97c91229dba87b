import numpy as np
import pytest
import tensorflow as tf
import torch
from PIL import Image

from tests.data.both_ways import both_ways
from tfseg.data import transforms
from tfseg.data.transforms import Preprocessing


@both_ways
@pytest.mark.parametrize("size", [(20, 31), (64, 96), (37, 90), (30, 70), (37, 53)])
def test_images_are_resized_as_pil_does(run, size, rng):
    image = rng.integers(0, 256, (37, 53, 3), np.uint8)
    expected = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    levels = image.astype(np.float32)
    resized = run(lambda value: transforms.resize_levels(value, size), levels)
    difference = np.abs(resized - np.asarray(expected, np.float32))
    assert difference.max() <= 1
    assert difference.mean() < 0.03


@both_ways
@pytest.mark.parametrize("size", [(48, 64), (50, 31), (7, 9)])
def test_resize_logits_equals_pytorch(run, size, rng):
    logits = rng.normal(size=(2, 12, 16, 5)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.tensor(logits).permute(0, 3, 1, 2), size=size, mode="bilinear", align_corners=False
    )
    resized = run(lambda value: transforms.resize_logits(value, size), logits)
    np.testing.assert_allclose(resized, expected.permute(0, 2, 3, 1).numpy(), atol=1e-5)


@both_ways
def test_preprocessing_of_one_colour(run):
    image = np.broadcast_to(np.array([255, 0, 51], np.uint8), (20, 30, 3)).copy()
    prepared = run(Preprocessing((32, 64)), image)
    assert prepared.shape == (32, 64, 3)
    assert prepared.dtype == np.float32
    # (value / 255 - mean) / std with ImageNet's values, computed by hand.
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(prepared, np.broadcast_to(expected, (32, 64, 3)), atol=1e-5)


@both_ways
def test_an_image_of_the_models_size_is_not_resampled(run, rng):
    image = rng.integers(0, 256, (32, 64, 3), np.uint8)
    preprocessing = Preprocessing((32, 64))
    levels = transforms.to_unit_range(image)
    np.testing.assert_array_equal(run(preprocessing, image), preprocessing.normalize(levels))


def test_preprocessing_takes_batches(rng):
    images = rng.integers(0, 256, (3, 20, 30, 3), np.uint8)
    preprocessing = Preprocessing((32, 32), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    together = preprocessing(tf.constant(images))
    alone = np.stack([preprocessing(tf.constant(image)) for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize(("size", "new_size"), [(4, 16), (5, 15), (7, 12), (8, 4)])
def test_a_resize_of_logits_reads_at_half_pixel_positions(size, new_size):
    ramp = tf.reshape(tf.range(size, dtype=tf.float32), (1, size, 1, 1))
    resized = transforms.resize_logits(ramp, (new_size, 1))[0, :, 0, 0]
    positions = [
        transforms.half_pixel_position(index, size / new_size) for index in range(new_size)
    ]
    np.testing.assert_allclose(resized, np.clip(positions, 0, size - 1), atol=1e-6)
