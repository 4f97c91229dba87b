"""RandAugment against PIL's operations, and as a training's `Dataset.map` runs it."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from tfseg.data import rand_augment

VOID = 255
STRENGTH = 0.6


@pytest.fixture
def levels(rng):
    coarse = Image.fromarray(rng.integers(40, 200, (7, 9, 3), np.uint8))
    return np.asarray(coarse.resize((60, 40), Image.Resampling.BICUBIC))


@pytest.fixture
def mask(rng):
    return np.kron(rng.integers(0, 5, (5, 6)), np.ones((8, 10), int)).astype(np.int32)


def apply(name, levels, mask, strength=STRENGTH):
    image = tf.constant(levels, tf.float32) / 255.0
    beyond = tf.zeros(mask.shape, tf.bool)
    changed = rand_augment.apply(
        name, image, tf.constant(mask), beyond, tf.constant(strength), ignore_index=VOID
    )
    return [tensor.numpy() for tensor in changed]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("identity", lambda picture: picture),
        ("auto_contrast", ImageOps.autocontrast),
        ("equalize", ImageOps.equalize),
        ("posterize", lambda picture: ImageOps.posterize(picture, 8 - round(4 * STRENGTH))),
        ("solarize", lambda picture: ImageOps.solarize(picture, 255 * (1 - STRENGTH))),
        ("color", lambda picture: ImageEnhance.Color(picture).enhance(1 + 0.9 * STRENGTH)),
        ("contrast", lambda picture: ImageEnhance.Contrast(picture).enhance(1 + 0.9 * STRENGTH)),
        ("brightness", lambda picture: ImageEnhance.Brightness(picture).enhance(1.54)),
        ("sharpness", lambda picture: ImageEnhance.Sharpness(picture).enhance(1.54)),
    ],
)
def test_colours_change_as_in_pil(name, expected, levels, mask):
    image, same_mask, beyond = apply(name, levels, mask)
    picture = np.asarray(expected(Image.fromarray(levels)), int)
    # PIL rounds to levels within its operations, and its greys once more.
    assert np.abs(image * 255 - picture).max() <= 2.0
    assert name == "identity" or np.abs(image * 255 - levels).max() > 2.5
    np.testing.assert_array_equal(same_mask, mask)
    assert not beyond.any()


def rotation(strength):
    sine, cosine = np.sin(np.radians(30 * strength)), np.cos(np.radians(30 * strength))
    return about_center([[cosine, sine], [-sine, cosine]])


def about_center(matrix):
    center = np.array([30, 20])
    shift = center - np.matmul(matrix, center)
    return [*matrix[0], shift[0], *matrix[1], shift[1]]


@pytest.mark.parametrize("strength", [STRENGTH, -STRENGTH])
@pytest.mark.parametrize(
    ("name", "coefficients"),
    [
        ("rotate", rotation),
        ("shear_x", lambda s: about_center([[1, 0.3 * s], [0, 1]])),
        ("shear_y", lambda s: about_center([[1, 0], [0.3 * s, 1]])),
        ("translate_x", lambda s: [1, 0, 0.3 * s * 60, 0, 1, 0]),
        ("translate_y", lambda s: [1, 0, 0, 0, 1, 0.3 * s * 40]),
    ],
)
def test_masks_and_images_move_as_in_pil(name, coefficients, strength, levels, mask):
    _, moved, beyond = apply(name, levels, mask, strength)
    picture = Image.fromarray(mask.astype(np.uint8)).transform(
        (60, 40), Image.Transform.AFFINE, coefficients(strength), fillcolor=VOID
    )
    assert np.mean(moved == np.asarray(picture)) > 0.99
    np.testing.assert_array_equal(beyond, moved == VOID)
    assert 0.02 < beyond.mean() < 0.5
    # The image follows the mask: where the mask is the picture, both hold the same values.
    painted = np.repeat(mask[..., None] * 50, 3, -1).astype(np.uint8)
    of_mask, moved, beyond = apply(name, painted, mask, strength)
    assert np.mean(np.abs(of_mask * 255 - moved[..., None] * 50)[~beyond] < 1) > 0.75


def test_the_seed_repeats_whatever_the_parallelism(levels, mask):
    image = tf.constant(levels, tf.float32) / 255.0

    def draw(number):
        return rand_augment.rand_augment(
            image, tf.constant(mask), tf.stack([number, 7]), ignore_index=VOID
        )

    def collect(parallel):
        numbers = tf.data.Dataset.range(24)
        return list(numbers.map(draw, num_parallel_calls=parallel).as_numpy_iterator())

    first, again = collect(4), collect(1)
    for one, other in zip(first, again, strict=True):
        for received, expected in zip(one, other, strict=True):
            np.testing.assert_array_equal(received, expected)
    eager = draw(tf.constant(5, tf.int64))
    np.testing.assert_allclose(eager[0], first[5][0], atol=1e-6)
    np.testing.assert_array_equal(eager[1], first[5][1])
    assert len({changed.tobytes() for changed, _ in first}) > 12


def test_values_stay_in_range_and_void_stays_beyond_the_image(levels, mask):
    image = np.float32(levels / 255.0)
    image[:10], mask[:10] = np.nan, VOID
    for number in range(40):
        changed, moved = rand_augment.rand_augment(
            tf.constant(image), tf.constant(mask), tf.constant([number, 1]), ignore_index=VOID
        )
        assert moved.dtype == tf.int32
        assert set(np.unique(moved)) <= {*range(5), VOID}
        beyond = np.isnan(changed.numpy()).any(-1)
        np.testing.assert_array_equal(beyond, moved.numpy() == VOID)
        assert 0 <= np.nanmin(changed) <= np.nanmax(changed) <= 1
