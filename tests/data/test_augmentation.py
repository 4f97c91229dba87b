import numpy as np
import pytest
import tensorflow as tf

from tfseg.data import augmentation, masks

IGNORE = 255
OPTIONS = {
    "base_size": (48, 64),
    "crop_size": (32, 32),
    "random_scale": (0.5, 2.0),
    "ignore_index": IGNORE,
}
COLORS = {"brightness": 0.3, "contrast": (0.7, 1.3), "saturation": (0.7, 1.3), "hue": 0.1}
NO_COLORS = {"brightness": 0.0, "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": 0.0}


def picture(rng, size=(37, 53)):
    image = rng.uniform(0, 1, (*size, 3)).astype(np.float32)
    return tf.constant(image), tf.constant(rng.choice([0, 4, 9], size).astype(np.int32))


def seed(number):
    return tf.constant([number, 1], tf.int64)


def resize_then_crop(image, mask, scaled, offset, crop_size):
    """The same by its definition: resize all of it, then copy what lies under the crop."""
    image = tf.image.resize(image, scaled, antialias=True).numpy()
    mask = masks.resize_mask(mask, scaled).numpy()
    crop = np.full((*crop_size, 3), np.nan, np.float32), np.full(crop_size, IGNORE, np.int32)
    for row, column in np.ndindex(*crop_size):
        source = row + offset[0], column + offset[1]
        if 0 <= source[0] < scaled[0] and 0 <= source[1] < scaled[1]:
            crop[0][row, column], crop[1][row, column] = image[source], mask[source]
    return crop


@pytest.mark.parametrize("in_map", [False, True])
@pytest.mark.parametrize(
    ("scaled", "offset", "crop_size"),
    [
        ((20, 31), (0, 0), (16, 16)),
        ((20, 31), (4, 10), (16, 16)),
        ((64, 96), (10, 50), (32, 32)),
        ((20, 31), (-7, -5), (40, 48)),
        ((37, 53), (-3, 40), (32, 32)),
        ((13, 200), (-30, 100), (32, 32)),
        ((1, 1), (-31, 0), (32, 32)),
    ],
)
def test_crop_and_resize_equals_resize_then_crop(scaled, offset, crop_size, in_map, rng):
    image, mask = picture(rng)
    scale = tf.constant(scaled, tf.float32) / tf.constant(mask.shape, tf.float32)

    def crop(image, mask):
        offsets = tf.constant(offset, tf.float32)
        return augmentation.crop_and_resize(image, mask, scale, offsets, crop_size, IGNORE)

    if in_map:
        result = tf.data.Dataset.from_tensors((image, mask)).map(crop).get_single_element()
    else:
        result = crop(image, mask)
    expected = resize_then_crop(image, mask, scaled, offset, crop_size)
    np.testing.assert_allclose(result[0], expected[0], atol=1e-5)
    np.testing.assert_array_equal(result[1], expected[1])


@pytest.mark.parametrize("source", [34, 176, 250, 375, 478, 500, 504, 738])
def test_crop_takes_the_mask_pixels_that_a_nearest_resize_takes(source):
    # At these lengths, dividing by the scale instead of multiplying by its inverse would take a
    # neighbouring pixel.
    mask = tf.range(source)[:, None]
    image = tf.zeros((source, 1, 3))
    for scaled in (201, 279, 429, 512, 600, 979, 1037, 1122):
        scale = tf.constant([scaled / source, 1.0])
        _, crop = augmentation.crop_and_resize(image, mask, scale, tf.zeros(2), (scaled, 1), -1)
        resized = tf.image.resize(mask[..., None], (scaled, 1), method="nearest")
        np.testing.assert_array_equal(crop, resized[..., 0])


def test_window_lies_inside_where_the_image_is_larger_and_around_it_where_smaller():
    for number in range(200):
        scale, offsets = augmentation.random_windows(
            tf.constant([37, 53]), seed(number), (48, 64), (48, 64), (0.5, 2.0)
        )
        scaled = scale.numpy() * (37, 53)
        room = scaled - (48, 64)
        np.testing.assert_allclose(scaled, np.round(scaled), atol=1e-4)
        assert np.all(offsets >= np.minimum(room, 0) - 1e-3)
        assert np.all(offsets <= np.maximum(room, 0) + 1e-3)
        assert np.all(offsets == np.round(offsets))


def shares(crop):
    """The share of each class in the pixels that are not void, by its definition."""
    _, counts = np.unique(crop[crop != IGNORE], return_counts=True)
    return counts / counts.sum() if len(counts) else np.ones(1)


def is_good(crop, limit):
    return len(shares(crop)) > 1 and max(shares(crop)) <= limit


def uneven_picture(size=(60, 80)):
    """Sky but for a corner of grass, with a void stripe between them."""
    mask = np.zeros(size, np.int32)
    mask[35:, 50:] = IGNORE
    mask[40:, 55:] = 7
    image = np.repeat(mask[..., None] / 255, 3, -1).astype(np.float32)
    return tf.constant(image), tf.constant(mask)


def test_the_first_crop_without_a_class_above_its_share_is_taken():
    _, mask = uneven_picture()
    chosen = []
    for number in range(30):
        scale, offsets = augmentation.random_windows(
            tf.shape(mask), seed(number), (60, 80), (32, 32), (0.8, 1.5)
        )
        crops = [
            augmentation.crop_and_resize(
                tf.zeros((60, 80, 3)), mask, scale, offset, (32, 32), IGNORE
            )[1].numpy()
            for offset in offsets
        ]
        good = [index for index, crop in enumerate(crops) if is_good(crop, 0.75)]
        expected = good[0] if good else len(crops) - 1
        received = augmentation.choose_offset(mask, scale, offsets, (32, 32), IGNORE, 0.75)
        np.testing.assert_array_equal(received, offsets[expected])
        chosen.append(expected if good else None)
    # The draws have each kind: the first is good, a later one is, and none is.
    assert 0 in chosen
    assert None in chosen
    assert any(index for index in chosen)


def test_crops_with_a_limit_hold_more_of_the_rare_class():
    image, mask = uneven_picture()
    options = {**OPTIONS, "base_size": (60, 80), "random_scale": (1.0, 1.0)}
    rates = []
    for limit in (1.0, 0.75):
        crops = [
            augmentation.augment(image, mask, seed(n), **options, max_class_share=limit)[1].numpy()
            for n in range(40)
        ]
        rates.append(np.mean([is_good(crop, 0.75) for crop in crops]))
    assert rates[0] < 0.3
    assert rates[1] > 0.5


@pytest.mark.parametrize("values", [(0,), (IGNORE,), (3, IGNORE)])
def test_a_mask_without_two_classes_still_gives_a_crop(values, rng):
    mask = tf.constant(rng.choice(values, (60, 80)).astype(np.int32))
    image = tf.zeros((60, 80, 3))
    _, crop = augmentation.augment(image, mask, seed(1), **OPTIONS, max_class_share=0.75)
    assert set(np.unique(crop)) <= {*values, IGNORE}


def test_a_large_crop_is_judged_by_a_part_of_its_lines(rng):
    # Classes in squares of 16 pixels: every fourth row and column sees each of them.
    blocks = rng.choice([0, 1], (40, 50), p=[0.74, 0.26]).astype(np.int32)
    mask = tf.constant(np.kron(blocks, np.ones((16, 16), np.int32)))
    for number in range(5):
        scale, offsets = augmentation.random_windows(
            tf.shape(mask), seed(number), (640, 800), (512, 512), (1.0, 1.0)
        )
        offset = augmentation.choose_offset(mask, scale, offsets, (512, 512), IGNORE, 0.75)
        top, left = offset.numpy().astype(int)
        assert max(shares(mask.numpy()[top : top + 512, left : left + 512])) < 0.76


def test_scales_are_log_uniform_between_their_bounds():
    scales = [
        augmentation.random_windows(
            tf.constant([1000, 1000]), seed(number), (1000, 1000), (32, 32), (0.5, 2.0)
        )[0][0]
        for number in range(300)
    ]
    assert 0.5 <= np.min(scales) < 0.55
    assert 1.8 < np.max(scales) <= 2.0
    # Halving is as likely as doubling: the count lies within 4.5 standard deviations of 150.
    assert 110 < np.sum(np.array(scales) < 1) < 190


def test_a_tiny_scale_leaves_a_pixel(rng):
    image, mask = picture(rng)
    options = {**OPTIONS, "random_scale": (1e-4, 1e-4)}
    image, mask = augmentation.augment(image, mask, seed(0), **options)
    assert np.sum(mask.numpy() != IGNORE) == 1
    assert np.sum(np.isfinite(image.numpy())) == 3


def test_masks_never_get_invented_values(rng):
    image, mask = picture(rng)
    seen = set()
    for number in range(40):
        _, augmented = augmentation.augment(image, mask, seed(number), **OPTIONS, **COLORS)
        seen |= set(np.unique(augmented).tolist())
    assert seen == {0, 4, 9, IGNORE}


def test_image_and_mask_stay_aligned():
    # Red grows from left to right, green from top to bottom, and the mask holds the quadrant. The
    # colour must match the quadrant wherever the crop lies and whether or not it is flipped.
    rows, columns = np.mgrid[0:60, 0:80].astype(np.float32)
    red, green = columns / 79, rows / 59
    image = np.stack([red, green, np.zeros_like(red)], -1)
    mask = (2 * (rows >= 30) + (columns >= 40)).astype(np.int32)
    for number in range(30):
        crop, quadrant = augmentation.augment(
            tf.constant(image), tf.constant(mask), seed(number), **OPTIONS
        )
        crop, quadrant = crop.numpy(), quadrant.numpy()
        np.testing.assert_array_equal(np.isnan(crop).any(-1), quadrant == IGNORE)
        # Pixels near the border between quadrants are blended, so two source pixels are left out.
        sure = (quadrant != IGNORE) & (np.abs(crop[..., :2] - 0.5) > 0.04).all(-1)
        expected = 2 * (crop[..., 1] > 0.5) + (crop[..., 0] > 0.5)
        np.testing.assert_array_equal(quadrant[sure], expected[sure])


def test_same_seed_same_bits_and_other_seeds_other_crops(rng):
    image, mask = picture(rng)

    def augment(number):
        crop, values = augmentation.augment(image, mask, seed(number), **OPTIONS, **COLORS)
        return crop.numpy().tobytes() + values.numpy().tobytes()

    tf.random.set_seed(3)
    first = [augment(number) for number in range(6)]
    tf.random.set_seed(4)
    assert [augment(number) for number in range(6)] == first
    assert len(set(first)) == 6


@pytest.mark.parametrize("limit", [1.0, 0.34])
def test_augment_in_map_equals_eager_and_has_a_static_shape(limit, rng):
    image, mask = picture(rng)
    options = {**OPTIONS, **COLORS, "max_class_share": limit}
    examples = tf.data.Dataset.from_generator(
        lambda: [(image, mask)],
        output_signature=(
            tf.TensorSpec((None, None, 3), tf.float32),
            tf.TensorSpec((None, None), tf.int32),
        ),
    ).map(lambda *pair: augmentation.augment(*pair, seed(5), **options))
    assert examples.element_spec == (
        tf.TensorSpec((32, 32, 3), tf.float32),
        tf.TensorSpec((32, 32), tf.int32),
    )
    mapped = next(iter(examples))
    eager = augmentation.augment(image, mask, seed(5), **options)
    np.testing.assert_allclose(mapped[0], eager[0], atol=1e-5)
    np.testing.assert_array_equal(mapped[1], eager[1])


def test_flip_is_tf_image_flip_of_both_half_of_the_time(rng):
    image, mask = picture(rng)
    flips = 0
    for number in range(100):
        flipped_image, flipped_mask = augmentation.random_flip(image, mask, seed(number))
        is_flipped = not np.array_equal(flipped_mask, mask)
        flips += is_flipped
        expected = tf.image.flip_left_right(image) if is_flipped else image
        expected_mask = np.fliplr(mask) if is_flipped else mask
        np.testing.assert_array_equal(flipped_image, expected)
        np.testing.assert_array_equal(flipped_mask, expected_mask)
    assert 30 < flips < 70


@pytest.mark.parametrize(
    ("option", "amount", "reference"),
    [
        ("brightness", 0.2, lambda x, s: tf.image.stateless_random_brightness(x, 0.2, s[0])),
        (
            "contrast",
            (0.5, 2.0),
            lambda x, s: tf.image.stateless_random_contrast(x, 0.5, 2.0, s[1]),
        ),
        (
            "saturation",
            (0.8, 1.2),
            lambda x, s: tf.image.stateless_random_saturation(x, 0.8, 1.2, s[2]),
        ),
        ("hue", 0.2, lambda x, s: tf.image.stateless_random_hue(x, 0.2, s[3])),
    ],
)
def test_each_colour_op_is_tf_images(option, amount, reference, rng):
    image, _ = picture(rng)
    changed = augmentation.random_colors(image, seed(2), **{**NO_COLORS, option: amount})
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed(2), 4))
    expected = tf.clip_by_value(reference(image, seeds), 0.0, 1.0)
    np.testing.assert_allclose(changed, expected, atol=1e-6)
    assert np.abs(changed - image).max() > 0.01


def test_brightness_is_visible_on_unit_range():
    grey, brightness = tf.fill((4, 4, 3), 0.5), {**NO_COLORS, "brightness": 0.2}
    changes = [
        float(augmentation.random_colors(grey, seed(n), **brightness)[0, 0, 0]) - 0.5
        for n in range(60)
    ]
    assert np.max(changes) > 0.15
    assert np.min(changes) < -0.15
    assert np.max(np.abs(changes)) <= 0.2 + 1e-6


def test_colours_stay_in_range_and_leave_what_lies_beyond(rng):
    image = picture(rng)[0].numpy()
    image[:5] = np.nan
    for number in range(20):
        changed = augmentation.random_colors(
            tf.constant(image), seed(number), 1.0, (0.01, 1.99), (0.01, 1.99), 0.5
        ).numpy()
        assert np.isnan(changed[:5]).all()
        assert np.isfinite(changed[5:]).all()
        assert changed[5:].min() >= 0
        assert changed[5:].max() <= 1


def test_no_amounts_change_nothing(rng):
    image, _ = picture(rng)
    unchanged = augmentation.random_colors(image, seed(0), **NO_COLORS)
    np.testing.assert_array_equal(unchanged, image)
