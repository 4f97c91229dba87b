import numpy as np
import tensorflow as tf

from tfseg.data import cutout

SIZE = (40, 60)


def seed(number):
    return tf.stack([tf.cast(number, tf.int64), 7])


def image():
    return tf.fill((*SIZE, 3), 0.25)


def holes(count):
    """Where images lose their rectangles, bool `[count, height, width]`."""
    changed = np.stack([cutout.cutout(image(), seed(number)) for number in range(count)])
    # Outside of the rectangle nothing changes, and inside it no channel is left.
    np.testing.assert_array_equal(changed[~np.isnan(changed)], 0.25)
    np.testing.assert_array_equal(np.isnan(changed).any(-1), np.isnan(changed).all(-1))
    return np.isnan(changed).all(-1)


def test_each_image_loses_one_rectangle_within_the_bounds():
    sides = []
    for hole in holes(60):
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert hole.sum() == len(rows) * len(columns) > 0
        assert np.ptp(rows) == len(rows) - 1
        assert np.ptp(columns) == len(columns) - 1
        sides.append((len(rows) / SIZE[0], len(columns) / SIZE[1]))
    # A side may be a pixel longer than drawn, and is cut at an edge of the image.
    assert np.max(sides) <= 0.5 + 1 / SIZE[0]
    assert np.max(sides) > 0.4
    assert np.mean(sides) > 0.2


def test_every_place_may_lie_in_the_rectangle():
    assert holes(150).any(0).all()


def test_map_equals_eager_whatever_the_parallelism():
    numbers = tf.data.Dataset.range(16)
    batches = [
        np.stack(
            list(
                numbers.map(
                    lambda number: cutout.cutout(image(), seed(number)), num_parallel_calls=parallel
                ).as_numpy_iterator()
            )
        )
        for parallel in (1, 4)
    ]
    np.testing.assert_array_equal(*batches)
    np.testing.assert_array_equal(np.isnan(batches[0]).all(-1), holes(16))
    assert len({hole.tobytes() for hole in batches[0]}) == 16
