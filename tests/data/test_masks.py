import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.both_ways import both_ways
from tfseg.data import masks
from tfseg.data.labels import LabelSpec


def encode(picture, file_format="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 1], [254, 255]], np.uint8),
        np.array([[0, 300], [1000, 65535]], np.uint16),
        np.array([[False, True]]),
    ],
    ids=["8bit", "16bit", "1bit"],
)
def test_decode_mask_keeps_values(values):
    decoded = masks.decode_mask(encode(Image.fromarray(values)))
    assert decoded.dtype == np.int32
    np.testing.assert_array_equal(decoded, values)


def test_decode_mask_reads_palette_indices_and_not_colours():
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200])
    np.testing.assert_array_equal(masks.decode_mask(encode(picture)), indices)


def test_decode_mask_refuses_colours():
    data = encode(Image.fromarray(np.zeros((2, 2, 3), np.uint8)))
    with pytest.raises(masks.MaskError, match="3 channels; a mask has one"):
        masks.decode_mask(data)


def with_size(data, width, height):
    """Returns a PNG whose header claims another size, with the checksum that belongs to it."""
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


@pytest.mark.parametrize("damage", [
    lambda data: b"",
    lambda data: b"no picture",
    lambda data: data[: len(data) // 2],
    lambda data: data[:60] + bytes(20) + data[80:],
    lambda data: with_size(data, 40, 0),
    lambda data: with_size(data, 60_000, 60_000),
], ids=["empty", "text", "cut", "overwritten", "no height", "3.6 billion pixels"])  # fmt: skip
def test_decode_mask_refuses_damaged_files_with_one_error(damage, rng):
    data = encode(Image.fromarray(rng.integers(0, 255, (40, 40), np.uint8)))
    assert masks.decode_mask(with_size(data, 40, 40)).shape == (40, 40)
    with pytest.raises(
        masks.MaskError, match=r"^it (is no picture, or its beg|is damaged: \w|has too many)"
    ):
        masks.decode_mask(damage(data))


def test_decode_mask_inside_a_data_set(rng):
    values = rng.integers(0, 255, (5, 7), np.uint8)
    data = tf.data.Dataset.from_tensors(encode(Image.fromarray(values)))
    examples = data.map(masks.decode_mask_tensor)
    assert examples.element_spec == tf.TensorSpec((None, None), tf.int32)
    (decoded,) = examples.as_numpy_iterator()
    np.testing.assert_array_equal(decoded, values)


def gray_png(values, bits):
    """Encodes gray values of a few bits, which PIL cannot write."""
    rows = [np.unpackbits(row[:, None], axis=1)[:, 8 - bits :] for row in values]
    packed = b"".join(b"\0" + np.packbits(row).tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", *values.shape[::-1], bits, 0, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(packed), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks.items()
    )


def palette_png(rng, count, **options):
    picture = Image.fromarray(rng.integers(0, count, (9, 13)).astype(np.uint8), mode="P")
    picture.putpalette(rng.integers(0, 255, 3 * count).tolist())
    return encode(picture, **options)


def encoded_masks(rng):
    for count in (2, 3, 4, 16, 17, 256):
        yield palette_png(rng, count)
        yield palette_png(rng, count, bits=8)
        yield palette_png(rng, count, transparency=bytes(2))
    for bits in (1, 2, 4, 8):
        yield gray_png(rng.integers(0, 1 << bits, (3, 5)).astype(np.uint8), bits)
    yield encode(Image.fromarray(rng.integers(0, 1 << 16, (3, 5)).astype(np.uint16)))
    for file_format in ("BMP", "TIFF", "GIF"):
        yield encode(Image.fromarray(rng.integers(0, 255, (3, 5), np.uint8)), file_format)


def test_decode_mask_inside_a_data_set_equals_pil_for_every_kind_of_file(rng):
    encoded = list(encoded_masks(rng))
    decoded = tf.data.Dataset.from_tensor_slices(encoded).map(masks.decode_mask_tensor)
    for data, values in zip(encoded, decoded.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(values, masks.decode_mask(data))


COLORS = LabelSpec(("a",), raw_values=(0,), has_color_masks=True)
INSTANCES = LabelSpec(("a",), raw_values=(0,), instance_divisor=300)


def color_masks(rng):
    pixels = rng.integers(0, 256, (3, 5, 4), np.uint8)
    yield encode(Image.fromarray(pixels))
    yield encode(Image.fromarray(pixels[..., :3]))
    yield encode(Image.fromarray(pixels[..., :3]), "BMP")
    yield encode(Image.fromarray(pixels[..., 0]))
    yield palette_png(rng, 17)


@pytest.mark.parametrize("labels", [COLORS, INSTANCES], ids=["colours", "ids of instances"])
def test_decode_color_masks_as_pil_does(labels, rng):
    for data in color_masks(rng):
        (decoded,) = tf.data.Dataset.from_tensors(data).map(
            lambda encoded: masks.decode_mask_tensor(encoded, labels)
        )
        picture = Image.open(io.BytesIO(data))
        pixels = np.asarray(picture.convert("RGB") if labels is COLORS else picture).astype(int)
        if pixels.ndim == 3:
            pixels = pixels[..., :3] @ [1, 256, 65_536]
        np.testing.assert_array_equal(decoded, pixels // labels.instance_divisor)
        np.testing.assert_array_equal(masks.decode_mask(data, labels), decoded)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 3)])
def test_channels_to_values(shape, rng):
    pixels = rng.integers(0, 256, shape, np.uint8)
    first = pixels.reshape(2, 3, -1)[..., 0].astype(np.int32)
    np.testing.assert_array_equal(masks.channels_to_values(tf.constant(pixels), None), first)
    values = masks.channels_to_values(tf.constant(pixels), INSTANCES)
    if shape == (2, 3, 3):
        first = pixels.astype(np.int32) @ np.array([1, 256, 65_536], np.int32)
    np.testing.assert_array_equal(values, first // 300)


def test_map_mask_values_of_colours():
    labels = LabelSpec(("a", "b"), raw_values=(16_000_000, 5), has_color_masks=True)
    mapped = masks.map_mask_values(tf.constant([[5, 6], [16_000_000, 16_777_215]]), labels)
    assert mapped.numpy().tolist() == [[1, 255], [0, 255]]


@pytest.mark.parametrize("damage", [
    lambda data: b"",
    lambda data: data[:20],
    lambda data: data[: len(data) // 2],
    lambda data: data[:60] + bytes(20) + data[80:],
], ids=["empty", "only a beginning", "cut", "overwritten"])  # fmt: skip
def test_decode_mask_inside_a_data_set_refuses_damaged_files(damage, rng):
    data = palette_png(rng, 256)
    examples = tf.data.Dataset.from_tensors(damage(data)).map(masks.decode_mask_tensor)
    with pytest.raises(tf.errors.InvalidArgumentError):
        next(iter(examples))


@both_ways
@pytest.mark.parametrize("size", [(3, 5), (24, 36), (7, 19)])
def test_resize_mask_takes_the_nearest_pixel(run, size, rng):
    mask = rng.choice(np.array([0, 7, 255], np.int32), (12, 18))
    rows = np.floor((np.arange(size[0]) + 0.5) * 12 / size[0]).astype(int)
    columns = np.floor((np.arange(size[1]) + 0.5) * 18 / size[1]).astype(int)
    resized = run(lambda value: masks.resize_mask(value, size), mask)
    assert resized.dtype == np.int32
    np.testing.assert_array_equal(resized, mask[rows][:, columns])


@both_ways
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_map_mask_values(run, dtype):
    labels = LabelSpec(("pet", "background", "outline"), raw_values=(1, 2, 3), ignore_index=250)
    mask = np.array([[0, 1, 2], [3, 4, 255]], dtype)
    mapped = run(lambda value: masks.map_mask_values(value, labels), mask)
    assert mapped.dtype == np.int32
    assert mapped.tolist() == [[250, 0, 1], [2, 250, 250]]


def test_map_mask_values_makes_large_and_negative_values_void():
    labels = LabelSpec(("a", "b"), raw_values=(0, 1000), ignore_index=-1)
    mapped = masks.map_mask_values(tf.constant([-5, 0, 999, 1000, 1001, 10**9]), labels)
    assert mapped.numpy().tolist() == [-1, 0, -1, 1, -1, -1]
