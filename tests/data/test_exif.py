"""Images and masks are turned by the EXIF orientation as PIL turns them."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image, ImageOps

from tests.data.exif_files import encode_jpeg, exif_segment, with_segments
from tfseg.data import exif, images

ORIENTATIONS = range(1, 9)
BYTE_ORDERS = ("<", ">")


def pil_upright(data):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))


def photograph(rng, size=(24, 33)):
    return rng.integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize("byte_order", BYTE_ORDERS)
def test_images_are_turned_as_pil_turns_them(byte_order, rng):
    stored = encode_jpeg(photograph(rng))
    files = [with_segments(stored, exif_segment(each, byte_order)) for each in ORIENTATIONS]
    examples = tf.data.Dataset.from_tensor_slices(tf.constant(files)).map(images.decode_image)
    for data, in_graph in zip(files, examples, strict=True):
        expected = pil_upright(data)
        np.testing.assert_array_equal(in_graph, expected)
        np.testing.assert_array_equal(images.decode_image(data), expected)
        as_stored = images.decode_image(data, apply_exif=False)
        np.testing.assert_array_equal(as_stored, images.decode_image(stored))


def test_the_tag_that_pil_writes_is_read(rng):
    written = Image.Exif()
    written[ExifTags.Base.Make] = "a camera"
    written[ExifTags.Base.Orientation] = 8
    written[ExifTags.Base.Software] = "2.0"
    buffer = io.BytesIO()
    Image.fromarray(photograph(rng)).save(buffer, "JPEG", exif=written)
    assert exif.read_orientation(buffer.getvalue()) == 8
    np.testing.assert_array_equal(
        images.decode_image(buffer.getvalue()), pil_upright(buffer.getvalue())
    )


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


JFIF = segment(0xE0, b"JFIF\0\1\2\0\0\1\0\1\0\0")


@pytest.mark.parametrize(
    "before",
    [
        b"",
        JFIF,
        JFIF + segment(0xED, b"Photoshop 3.0\0"),
        segment(0xE2, b"ICC_PROFILE\0" + bytes(7000)) + JFIF,
        segment(0xFE, b"a comment"),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
        b"\xff\xff",
        segment(0xE1, b""),
    ],
    ids=["first", "JFIF", "Photoshop", "profile", "comment", "XMP", "filling", "empty"],
)
def test_other_segments_may_stand_before(before, rng):
    data = with_segments(encode_jpeg(photograph(rng)), before + exif_segment(6))
    assert exif.read_orientation(data) == 6
    np.testing.assert_array_equal(images.decode_image(data), pil_upright(data))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0MM",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0" + bytes(40),
        exif_segment(0)[4:],
        exif_segment(9)[4:],
        exif_segment(6, tag=0x0113)[4:],
        exif_segment(6)[4:-22],
        exif_segment(6)[4:].replace(b"MM\0*", b"NN\0*"),
    ],
)
def test_odd_exif_data_leave_a_good_image_as_it_is(content, rng):
    stored = encode_jpeg(photograph(rng))
    data = with_segments(stored, segment(0xE1, content))
    assert exif.read_orientation(data) == exif.UPRIGHT
    np.testing.assert_array_equal(images.decode_image(data), images.decode_image(stored))


def test_no_prefix_of_a_file_makes_it_fail(rng):
    data = with_segments(encode_jpeg(photograph(rng)), JFIF + exif_segment(6))
    prefixes = [data[:length] for length in range(90)]
    found = tf.data.Dataset.from_tensor_slices(tf.constant(prefixes)).map(exif.read_orientation)
    assert set(found.as_numpy_iterator()) == {exif.UPRIGHT, 6}


def test_only_jpeg_files_are_turned(rng):
    written = Image.Exif()
    written[ExifTags.Base.Orientation] = 6
    buffer = io.BytesIO()
    pixels = photograph(rng)
    Image.fromarray(pixels).save(buffer, "PNG", exif=written)
    np.testing.assert_array_equal(images.decode_image(buffer.getvalue()), pixels)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_mask_of_the_stored_size_is_turned_along_with_its_image(orientation, rng):
    image, mask = photograph(rng), rng.integers(0, 9, (24, 33)).astype(np.int32)
    stored = Image.fromarray(mask.astype(np.uint8))
    method = {5: 5, 6: 4, 7: 6, 8: 2}.get(orientation)  # None: the size says nothing.
    expected = mask if method is None else np.asarray(stored.transpose(method))
    data = with_segments(encode_jpeg(image), exif_segment(orientation))
    upright = images.decode_image(data)
    np.testing.assert_array_equal(exif.turn_mask(mask, upright, data), expected)
    np.testing.assert_array_equal(exif.turn_mask_of_file(mask, data), expected)
    fitting = np.zeros(upright.shape[:2], np.int32)
    fitting[0, 1] = 1
    np.testing.assert_array_equal(exif.turn_mask_of_file(fitting, data), fitting)


@pytest.mark.parametrize("size", [(33, 24), (24, 24), (7, 5)])
def test_a_mask_of_another_size_stays_as_it_is(size, rng):
    data = with_segments(encode_jpeg(photograph(rng)), exif_segment(6))
    upright = images.decode_image(data)
    assert upright.shape == (33, 24, 3)
    mask = rng.integers(0, 9, size).astype(np.int32)
    np.testing.assert_array_equal(exif.turn_mask(mask, upright, data), mask)


def test_a_mask_of_a_square_image_stays_as_it_is(rng):
    data = with_segments(encode_jpeg(photograph(rng, (24, 24))), exif_segment(6))
    mask = rng.integers(0, 9, (24, 24)).astype(np.int32)
    np.testing.assert_array_equal(exif.turn_mask(mask, images.decode_image(data), data), mask)
    np.testing.assert_array_equal(exif.turn_mask_of_file(mask, data), mask)
