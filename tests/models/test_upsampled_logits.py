"""Class maps and confidences from bands equal those of a resize at once."""

import numpy as np
import pytest

from tfseg import devices
from tfseg.data.transforms import resize_logits
from tfseg.models import padded_upsampling, upsampled_logits

import tensorflow as tf  # isort: skip  (after tfseg)

SIZES = [(1, 1), (5, 9), (16, 24), (64, 7), (65, 40), (301, 200)]


def draw_logits(spread, num_classes=6):
    """Draws smooth logits, in which few classes are the largest in a part of the image."""
    coarse = tf.random.stateless_normal((2, 3, 4, num_classes), (3, 4))
    noise = tf.random.stateless_normal((2, 16, 24, num_classes), (5, 6))
    return spread * (tf.image.resize(coarse, (16, 24)) + 0.1 * noise)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_bands_equal_resizing_at_once(size, spread):
    assert_equal_resizing_at_once(size, spread)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("block_logits", [1 << 28, 40 * 6 * 2 * 3])
def test_blocks_for_accelerators_equal_resizing_at_once(monkeypatch, size, block_logits):
    monkeypatch.setattr(padded_upsampling, "BLOCK_LOGITS", block_logits)
    with devices.asking_for(devices.GPU):
        assert_equal_resizing_at_once(size, spread=1.0)


def assert_equal_resizing_at_once(size, spread):
    logits = draw_logits(spread)
    expected = resize_logits(logits, size)
    class_map = upsampled_logits.classify_pixels(logits, tf.constant(size))
    assert class_map.dtype == tf.int32
    np.testing.assert_array_equal(class_map, tf.argmax(expected, axis=-1))
    again, confidence = upsampled_logits.classify_and_rate_pixels(logits, tf.constant(size))
    assert again.dtype == tf.int32
    np.testing.assert_array_equal(again, class_map)
    probabilities = tf.reduce_max(tf.nn.softmax(expected), axis=-1)
    rounding = max(1e-5, 1e-6 * spread)  # of logits, which are as large as the spread
    np.testing.assert_allclose(confidence, probabilities, rtol=rounding)


def test_noise_of_many_classes_is_classified_exactly():
    logits = tf.random.stateless_normal((1, 20, 20, 40), (1, 2))
    class_map = upsampled_logits.classify_pixels(logits, tf.constant((77, 80)))
    expected = tf.argmax(resize_logits(logits, (77, 80)), axis=-1)
    np.testing.assert_array_equal(class_map, expected)
    again, _ = upsampled_logits.classify_and_rate_pixels(logits, tf.constant((77, 80)))
    np.testing.assert_array_equal(again, expected)


def count_kept(logits, margin):
    def count(band, _, classes):
        assert band.shape[-1] == classes.shape[0]
        return tf.cast(tf.size(classes), tf.float32)

    size = tf.constant((64, 96))
    counts = upsampled_logits.map_bands(
        count, logits, size, output_signature=tf.float32, margin=margin
    )
    return int(counts[0])


def test_classes_that_never_come_near_are_not_resized():
    pixels = np.zeros((1, 16, 24, 5), np.float32)
    pixels[..., 1] = 10.0
    pixels[..., 2] = 9.0
    pixels[0, 7, 7, 3] = 11.0
    logits = tf.constant(pixels)
    assert count_kept(logits, 0.0) == 2  # class 1, and class 3 around its one pixel
    assert count_kept(logits, 1.5) == 3
    assert count_kept(logits, 20.0) == count_kept(logits, None) == 5


def test_a_second_class_can_win_between_two_largest():
    # Largest at neither pixel, but halfway between them.
    logits = tf.constant([[[[10.0, 0.0, 9.0], [0.0, 10.0, 9.0]]]])
    class_map = upsampled_logits.classify_pixels(logits, tf.constant((1, 8)))
    np.testing.assert_array_equal(class_map[0, 0], [0, 0, 2, 2, 2, 2, 1, 1])


@pytest.mark.parametrize("bad_class", [0, 3])
def test_nan_is_no_error(bad_class):
    logits = draw_logits(1.0).numpy()
    logits[..., bad_class] = np.nan
    class_map = upsampled_logits.classify_pixels(tf.constant(logits), tf.constant((30, 40)))
    assert class_map.shape == (2, 30, 40)
    again, confidence = upsampled_logits.classify_and_rate_pixels(
        tf.constant(logits), tf.constant((30, 40))
    )
    np.testing.assert_array_equal(again, class_map)
    assert np.isnan(confidence).all()


def test_no_images_give_no_class_maps():
    nothing, size = tf.zeros((0, 16, 24, 6)), tf.constant((30, 40))
    assert upsampled_logits.classify_pixels(nothing, size).shape == (0, 30, 40)
    outputs = upsampled_logits.classify_and_rate_pixels(nothing, size)
    assert [output.shape for output in outputs] == [(0, 30, 40)] * 2
