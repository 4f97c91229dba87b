import numpy as np
import pytest
import tensorflow as tf
import torch
from PIL import Image

from tfseg.data import transforms
from tfseg.data.labels import LabelSpec
from tfseg.data.transforms import Preprocessing


def run_eagerly(function, *arrays):
    return function(*map(tf.constant, arrays)).numpy()


def run_in_map(function, *arrays):
    """Runs `function` inside `Dataset.map`, where shapes are not known beforehand."""
    specs = [tf.TensorSpec([None] * array.ndim, array.dtype) for array in arrays]
    examples = tf.data.Dataset.from_generator(lambda: [arrays], output_signature=tuple(specs))
    return next(examples.map(function).as_numpy_iterator())


both_ways = pytest.mark.parametrize("run", [run_eagerly, run_in_map])


@both_ways
@pytest.mark.parametrize("size", [(20, 31), (64, 96), (37, 90), (9, 100), (37, 53)])
def test_resize_image_equals_pil(run, size, rng):
    image = rng.uniform(0, 1, (37, 53, 3)).astype(np.float32)
    expected = [
        np.asarray(Image.fromarray(channel).resize(size[::-1], Image.Resampling.BILINEAR))
        for channel in np.moveaxis(image, -1, 0)
    ]
    resized = run(lambda value: transforms.resize_image(value, size), image)
    np.testing.assert_allclose(resized, np.stack(expected, -1), atol=1e-5)


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
@pytest.mark.parametrize("size", [(3, 5), (24, 36), (7, 19)])
def test_resize_mask_takes_the_nearest_pixel(run, size, rng):
    mask = rng.choice(np.array([0, 7, 255], np.int32), (12, 18))
    rows = np.floor((np.arange(size[0]) + 0.5) * 12 / size[0]).astype(int)
    columns = np.floor((np.arange(size[1]) + 0.5) * 18 / size[1]).astype(int)
    resized = run(lambda value: transforms.resize_mask(value, size), mask)
    assert resized.dtype == np.int32
    np.testing.assert_array_equal(resized, mask[rows][:, columns])


@both_ways
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_map_mask_values(run, dtype):
    labels = LabelSpec(("pet", "background", "outline"), raw_values=(1, 2, 3), ignore_index=250)
    mask = np.array([[0, 1, 2], [3, 4, 255]], dtype)
    mapped = run(lambda value: transforms.map_mask_values(value, labels), mask)
    assert mapped.dtype == np.int32
    assert mapped.tolist() == [[250, 0, 1], [2, 250, 250]]


def test_map_mask_values_makes_large_and_negative_values_void():
    labels = LabelSpec(("a", "b"), raw_values=(0, 1000), ignore_index=-1)
    mapped = transforms.map_mask_values(tf.constant([-5, 0, 999, 1000, 1001, 10**9]), labels)
    assert mapped.numpy().tolist() == [-1, 0, -1, 1, -1, -1]


@both_ways
def test_preprocessing_of_one_colour(run):
    image = np.broadcast_to(np.array([255, 0, 51], np.uint8), (20, 30, 3)).copy()
    prepared = run(Preprocessing((32, 64)), image)
    assert prepared.shape == (32, 64, 3)
    assert prepared.dtype == np.float32
    # (value / 255 - mean) / std with ImageNet's figures, by hand.
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(prepared, np.broadcast_to(expected, (32, 64, 3)), atol=1e-5)


@both_ways
def test_an_image_of_the_models_size_is_not_resampled(run, rng):
    image = rng.integers(0, 256, (32, 64, 3), np.uint8)
    preprocessing = Preprocessing((32, 64))
    resized = transforms.resize_image(transforms.to_unit_range(image), (32, 64))
    np.testing.assert_array_equal(run(preprocessing, image), preprocessing.normalize(resized))


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
