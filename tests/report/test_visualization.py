"""Colours and PNG files of class maps hold the right class ids."""

import numpy as np
import pytest
import tensorflow as tf

from tests.report.examples import LABELS, make_example, read_png
from tfseg.data.palettes import choose_palette
from tfseg.report import visualization


def numbered_palette(num_classes):
    return choose_palette([str(class_id) for class_id in range(num_classes)])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_colorize_paints_classes_and_void(dtype):
    class_map = np.array([[0, 1], [2, 255]]).astype(dtype)
    palette = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]

    colors = visualization.colorize(class_map, palette)

    assert colors.dtype == np.uint8
    expected = [[palette[0], palette[1]], [palette[2], visualization.VOID_COLOR]]
    np.testing.assert_array_equal(colors, expected)


def test_colorize_paints_a_negative_ignore_index_as_void():
    colors = visualization.colorize(np.array([[-1, 0]]), [(9, 9, 9)])
    np.testing.assert_array_equal(colors, [[visualization.VOID_COLOR, (9, 9, 9)]])


def test_colorize_works_with_more_classes_than_the_dtype_of_the_map_can_count():
    palette = numbered_palette(300)
    colors = visualization.colorize(np.array([[255]], np.uint8), palette)
    np.testing.assert_array_equal(colors, [[palette[255]]])


@pytest.mark.parametrize(("opacity", "expected"), [(0, 100), (0.25, 125), (0.5, 150), (1, 200)])
def test_overlay_blends_by_opacity(opacity, expected):
    image = np.full((2, 3, 3), 100, np.uint8)
    blend = visualization.overlay(image, np.zeros((2, 3), int), [(200, 200, 200)], opacity)
    assert blend.dtype == np.uint8
    np.testing.assert_array_equal(blend, np.full((2, 3, 3), expected))


def test_overlay_blends_every_row_of_a_tall_image():
    image, class_map, _ = make_example(600, 5)
    class_map = np.random.default_rng(1).integers(0, 2, (600, 5))
    palette = np.array([(10, 20, 30), (200, 100, 0)], np.uint8)
    expected = np.rint(0.7 * image.astype(np.float32) + 0.3 * palette[class_map])
    np.testing.assert_allclose(visualization.overlay(image, class_map, palette, 0.3), expected)


def test_overlay_refuses_a_bad_opacity_and_sizes_that_differ():
    image, class_map = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), int)
    with pytest.raises(ValueError, match=r"between 0 and 1, received 1\.5"):
        visualization.overlay(image, class_map, [(1, 1, 1)], 1.5)
    with pytest.raises(ValueError, match=r"\[4, 4\] and \[2, 4\]"):
        visualization.overlay(image, class_map[:2], [(1, 1, 1)])


def test_encode_png_is_lossless():
    image, _, _ = make_example(5, 7)
    np.testing.assert_array_equal(read_png(visualization.encode_png(image)), image)


def test_encode_png_accepts_a_transposed_view():
    image = make_example(5, 7)[0].transpose(1, 0, 2)
    np.testing.assert_array_equal(read_png(visualization.encode_png(image)), image)


@pytest.mark.parametrize("num_classes", [1, 3, 150, 256])
def test_class_png_holds_the_ids_and_the_palette(num_classes):
    ids = np.arange(256).reshape(16, 16).astype(np.int32)
    palette = numbered_palette(num_classes)

    picture = read_png(visualization.encode_class_png(ids, palette))

    assert picture.mode == "P"
    np.testing.assert_array_equal(picture, ids)
    void = [visualization.VOID_COLOR] * (256 - num_classes)
    np.testing.assert_array_equal(
        picture.convert("RGB"), np.reshape([*palette, *void], (16, 16, 3))
    )


@pytest.mark.parametrize(("num_classes", "top_id"), [(300, 299), (300, 7), (3, 65535)])
def test_class_png_has_16_bits_for_many_classes(num_classes, top_id):
    ids = np.array([[0, 1, top_id]])
    picture = read_png(visualization.encode_class_png(ids, numbered_palette(num_classes)))
    assert picture.mode == "I;16"
    np.testing.assert_array_equal(picture, ids)


@pytest.mark.parametrize("value", [-1, 65536])
def test_class_png_refuses_ids_out_of_range(value):
    with pytest.raises(ValueError, match=f"0 to 65535, received {value}.*--ignore_index"):
        visualization.encode_class_png(np.array([[0, value]]), LABELS.palette)


@pytest.mark.parametrize(("num_classes", "mode"), [(3, "L"), (256, "L"), (300, "I;16")])
def test_id_png_is_gray_so_that_tensorflow_reads_the_ids(num_classes, mode):
    ids = np.array([[0, 1], [2, 2]], np.int32)
    content = visualization.encode_id_png(ids, num_classes)
    assert read_png(content).mode == mode
    dtype = tf.uint8 if mode == "L" else tf.uint16
    np.testing.assert_array_equal(tf.io.decode_png(content, dtype=dtype)[..., 0], ids)
