import io

import numpy as np
import pytest
import tensorflow as tf
from etils import epath
from PIL import Image

from tfseg.data import images


def encode(array, file_format="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, file_format)
    return buffer.getvalue()


def test_list_images_sorts_by_name_and_leaves_out_what_is_no_image(tmp_path):
    for name in ("b.JPG", "a.png", "c.jpeg", "d.bmp", "._a.png", "e.txt", "f.png.bak"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "g.png").touch()
    listed = images.list_images(epath.Path(tmp_path))
    assert [path.name for path in listed] == ["a.png", "b.JPG", "c.jpeg", "d.bmp"]


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "GIF", "JPEG"])
def test_decode_image_gives_rgb(file_format):
    pixels = np.full((6, 9, 3), 80, np.uint8)
    decoded = images.decode_image(encode(pixels, file_format))
    assert decoded.dtype == tf.uint8
    assert decoded.shape == (6, 9, 3)
    assert np.abs(decoded.numpy().astype(int) - 80).max() <= 1


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_decode_image_gives_the_pixels_of_a_jpeg_that_pil_gives(subsampling, rng):
    coarse = Image.fromarray(rng.integers(0, 256, (9, 11, 3), np.uint8))
    buffer = io.BytesIO()
    coarse.resize((121, 83), Image.Resampling.BICUBIC).save(
        buffer, "JPEG", quality=80, subsampling=subsampling
    )
    expected = np.asarray(Image.open(buffer))
    np.testing.assert_array_equal(images.decode_image(buffer.getvalue()), expected)
    examples = tf.data.Dataset.from_tensors(buffer.getvalue()).map(images.decode_image)
    np.testing.assert_array_equal(next(iter(examples)), expected)


def test_decode_image_drops_alpha_and_repeats_gray(rng):
    pixels = rng.integers(0, 256, (6, 9, 4), np.uint8)
    np.testing.assert_array_equal(images.decode_image(encode(pixels)), pixels[..., :3])
    gray = pixels[..., 0]
    np.testing.assert_array_equal(
        images.decode_image(encode(gray)), np.repeat(gray[..., None], 3, -1)
    )


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_damaged_images_raise_one_error_with_a_plain_reason(file_format, rng):
    data = encode(rng.integers(0, 256, (40, 40, 3), np.uint8), file_format)
    for damaged in (b"", b"no picture", data[: len(data) // 2]):
        with pytest.raises(images.ImageError) as error:
            images.decode_image(damaged)
        assert str(error.value) == "it is no JPEG, PNG, BMP, GIF or WebP, or it is damaged"


def test_a_damaged_image_inside_a_data_set_is_tensorflows_error():
    examples = tf.data.Dataset.from_tensors(b"no picture").map(images.decode_image)
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(examples)


def test_first_frames_of_animations_and_deep_images(rng):
    first = rng.integers(0, 2, (8, 9, 3), np.uint8) * 255
    second = Image.fromarray(255 - first)
    for file_format in ("GIF", "PNG"):
        buffer = io.BytesIO()
        Image.fromarray(first).save(buffer, file_format, save_all=True, append_images=[second])
        np.testing.assert_array_equal(images.decode_image(buffer.getvalue()), first)
    deep = rng.integers(0, 65536, (8, 9)).astype(np.uint16)
    high_bytes = np.repeat((deep >> 8)[..., None], 3, -1)
    np.testing.assert_array_equal(images.decode_image(encode(deep)), high_bytes)


def test_still_webp_is_read_and_animated_webp_is_an_error_that_says_so(rng):
    first = Image.fromarray(rng.integers(0, 256, (8, 9, 3), np.uint8))
    second = Image.fromarray(rng.integers(0, 256, (8, 9, 3), np.uint8))
    still, animated = io.BytesIO(), io.BytesIO()
    first.save(still, "WEBP", lossless=True)
    np.testing.assert_array_equal(images.decode_image(still.getvalue()), np.asarray(first))
    first.save(animated, "WEBP", save_all=True, append_images=[second])
    with pytest.raises(images.ImageError, match="it is an animated WebP"):
        images.decode_image(animated.getvalue())


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "RGBA"])
def test_bmp_files_have_the_colours_that_pil_gives(mode, rng):
    picture = Image.fromarray(rng.integers(0, 256, (8, 9, 3), np.uint8)).convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, "BMP")
    expected = np.asarray(Image.open(buffer).convert("RGB"))
    np.testing.assert_array_equal(images.decode_image(buffer.getvalue()), expected)
    files = tf.data.Dataset.from_tensors(buffer.getvalue()).map(images.decode_image)
    np.testing.assert_array_equal(next(iter(files)), expected)


def test_cmyk_images_have_the_colours_that_pil_gives(rng):
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
    buffer = io.BytesIO()
    small.resize((60, 50)).convert("CMYK").save(buffer, "JPEG")
    expected = Image.open(buffer).convert("RGB")
    np.testing.assert_array_equal(images.decode_image(buffer.getvalue()), np.asarray(expected))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.98])
def test_a_jpeg_that_is_cut_off_is_named_by_us_alone(share, rng, capfd):
    small = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
    thumbnail = io.BytesIO()
    small.save(thumbnail, "JPEG")  # Has an end of its own, inside the file.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + thumbnail.getvalue()
    buffer = io.BytesIO()
    small.resize((400, 300)).save(buffer, "JPEG", exif=exif)
    data = buffer.getvalue()
    images.decode_image(data + b"bytes after the end")
    with pytest.raises(images.ImageError, match="or it is damaged"):
        images.decode_image(data[: int(share * len(data))])
    assert "JPEG" not in capfd.readouterr().err
