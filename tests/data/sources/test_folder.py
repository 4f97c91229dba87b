import logging
import struct
import zlib

import numpy as np
import pytest
from etils import epath
from PIL import Image

from tests.data.exif_files import turned_jpeg
from tfseg.data.folder_layouts import FolderLayout
from tfseg.data.images import decode_image
from tfseg.data.labels import LabelSpec
from tfseg.data.sources import folder as folder_source
from tfseg.data.split import Part
from tfseg.errors import UserError

LABELS = LabelSpec(("a", "b", "c"))
STRICT = LabelSpec(("a", "b", "c"), strict=True, void_values=(7,))


def load(folder, split="train", labels=LABELS, **options):
    loaded = folder_source.load(str(folder.root), split, labels, **options)
    assert loaded.name == split
    examples = list(loaded.examples.as_numpy_iterator())
    assert loaded.num_examples == len(loaded.examples) == len(examples)
    return examples


def noise(rng, size=(24, 30)):
    return rng.integers(0, 256, (*size, 3), np.uint8)


def test_examples(folder, rng):
    image, mask = noise(rng), rng.integers(0, 3, (24, 30), np.uint8)
    folder.pair("train", "b", image, mask)
    folder.pair("train", "a")
    first, second = load(folder)
    assert first["name"].decode() == str(folder.image_path("train", "a.png"))
    np.testing.assert_array_equal(second["image"], image)
    np.testing.assert_array_equal(second["mask"], mask)
    assert (second["image"].dtype, second["mask"].dtype) == (np.uint8, np.int32)


def test_shapes_are_known(folder):
    folder.pairs("train", 3)
    examples = folder_source.load(str(folder.root), "train", LABELS).examples
    assert examples.element_spec["image"].shape.as_list() == [None, None, 3]
    assert examples.element_spec["mask"].shape.as_list() == [None, None]


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".png", ".PNG", ".bmp"])
def test_suffixes(folder, suffix):
    folder.pair("train", "a", np.full((8, 8, 3), 90, np.uint8), suffix=suffix)
    (example,) = load(folder)
    assert np.abs(example["image"].astype(int) - 90).max() <= 2


def test_upper_case_suffix_of_a_mask(folder):
    folder.pair("train", "a", mask=np.full((8, 10), 2, np.uint8), mask_suffix=".PNG")
    assert (load(folder)[0]["mask"] == 2).all()


def test_hidden_files_are_no_examples(folder):
    folder.pair("train", "a")
    folder.image_path("train", "._a.png").write_bytes(b"Mac OS X")
    folder.mask_path("train", "._a.png").write_bytes(b"Mac OS X")
    assert len(load(folder)) == 1


def test_grayscale_images_get_three_channels(folder, rng):
    grey = rng.integers(0, 256, (24, 30), np.uint8)
    folder.pair("train", "jpeg", np.full((24, 30), 77, np.uint8), suffix=".jpg")
    folder.pair("train", "png", grey)
    jpeg, png = load(folder)
    assert np.abs(jpeg["image"].astype(int) - 77).max() <= 1
    np.testing.assert_array_equal(png["image"], np.repeat(grey[..., None], 3, -1))


def test_palette_masks_are_read_as_indices(folder):
    folder.pair("train", "a")
    indices = np.arange(80, dtype=np.uint8).reshape(8, 10) % 3
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    picture.save(folder.mask_path("train", "a.png"))
    np.testing.assert_array_equal(load(folder)[0]["mask"], indices)


def test_16_bit_masks(folder):
    mask = np.array([[0, 300, 65535]], np.uint16)
    folder.pair("train", "a", np.zeros((1, 3, 3), np.uint8), mask)
    assert load(folder)[0]["mask"].tolist() == [[0, 300, 65535]]


def truncate_jpeg(folder, rng):
    folder.pair("train", "bad", noise(rng), suffix=".jpg")
    path = folder.image_path("train", "bad.jpg")
    path.write_bytes(path.read_bytes()[:600])
    return r"images/train/bad\.jpg cannot be decoded \(it is no JPEG, PNG, BMP, GIF or WebP, or"


def empty_image(folder, rng):
    folder.pair("train", "bad")
    folder.image_path("train", "bad.png").write_bytes(b"")
    return r"images/train/bad\.png is empty"


def image_that_is_a_folder(folder, rng):
    folder.pair("train", "bad", suffix=".bmp")
    folder.image_path("train", "bad.bmp").unlink()
    folder.image_path("train", "bad.bmp").mkdir()
    return r"an example of split train cannot be read \(.*images/train/bad\.bmp"


def mask_of_another_size(folder, rng):
    folder.pair("train", "bad", noise(rng), np.zeros((30, 24), np.uint8))
    return (
        r"annotations/train/bad\.png is 30x24 \(height x width\) but its image "
        r".*images/train/bad\.png is 24x30"
    )


def missing_mask(folder, rng):
    folder.pair("train", "bad")
    folder.mask_path("train", "bad.png").unlink()
    return r"images/train/bad\.png has no mask .*annotations/train/bad\.png"


def truncated_mask(folder, rng):
    folder.pair("train", "bad", noise(rng), noise(rng)[..., 0])
    path = folder.mask_path("train", "bad.png")
    path.write_bytes(path.read_bytes()[:300])
    return r"annotations/train/bad\.png cannot be read as a mask"


def colour_mask(folder, rng):
    folder.pair("train", "bad", noise(rng), noise(rng))
    return (
        r"annotations/train/bad\.png cannot be read as a mask \(it has 3 channels; a mask has "
        "one, whose values are class numbers"
    )


def empty_png(width, height):
    """A PNG file that promises these many pixels and holds none."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def mask_of_20_000_by_20_000_pixels(folder, rng):
    folder.pair("train", "bad", noise(rng))
    folder.mask_path("train", "bad.png").write_bytes(empty_png(20_000, 20_000))
    return (
        r"annotations/train/bad\.png cannot be read as a mask \(it has too many pixels: "
        r".*400000000 pixels.*178956970"
    )


def large_mask_of_another_size(folder, rng):
    folder.pair("train", "bad", noise(rng))
    folder.mask_path("train", "bad.png").write_bytes(empty_png(9000, 8000))
    return r"bad\.png is 8000x9000 \(height x width\) but its image .*bad\.png is 24x30"


FAULTS = (
    mask_of_20_000_by_20_000_pixels,
    large_mask_of_another_size,
    truncate_jpeg,
    empty_image,
    image_that_is_a_folder,
    mask_of_another_size,
    missing_mask,
    truncated_mask,
    colour_mask,
)


@pytest.mark.parametrize("damage", FAULTS)
def test_bad_example_is_an_error_that_names_it(damage, folder, rng):
    folder.pairs("train", 2)
    message = damage(folder, rng)
    with pytest.raises(UserError, match=message) as error:
        load(folder)
    assert "--on_bad_example=skip" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", FAULTS)
def test_bad_example_is_skipped_and_logged(damage, folder, rng, caplog):
    folder.pairs("train", 2)
    damage(folder, rng)
    with caplog.at_level(logging.WARNING):
        examples = load(folder, on_bad_example="skip")
    assert [int(example["mask"][0, 0]) for example in examples] == [0, 1]
    assert "skipped" in caplog.text
    assert "bad" in caplog.text


def test_further_bad_examples_are_counted(folder):
    folder.pairs("train", 4)
    for index in range(3):
        folder.image_path("train", f"00{index}.png").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"000\.png cannot be decoded .*\(and 2 more\)"):
        load(folder)


@pytest.mark.parametrize("damage", [empty_image, missing_mask])
def test_nothing_left_after_skipping(damage, folder, rng):
    damage(folder, rng)
    with pytest.raises(UserError, match="split train has no usable example"):
        load(folder, on_bad_example="skip")


def test_strict_labels(folder):
    folder.pair("train", "a", mask=np.tile(np.array([0, 2, 7, 255, 1], np.uint8), (8, 2)))
    assert len(load(folder, labels=STRICT)) == 1, "void values are no fault"
    folder.pair("train", "b", mask=np.full((8, 10), 9, np.uint8))
    assert len(load(folder)) == 2
    with pytest.raises(UserError, match=r"b\.png holds the value 9, .*--id2label .*--nostrict_la"):
        load(folder, labels=STRICT)
    assert len(load(folder, labels=STRICT, on_bad_example="skip")) == 1


def test_max_examples_takes_the_first_and_reads_no_further(folder):
    folder.pairs("train", 4)
    folder.image_path("train", "003.png").write_bytes(b"damaged")
    examples = load(folder, max_examples=2)
    assert [example["image"].shape[0] for example in examples] == [8, 9]


def test_wrong_split_lists_the_known_ones(folder):
    folder.pair("train", "a")
    folder.pair("val", "a")
    with pytest.raises(UserError, match=r"no folder .*images/test; splits there: train, val"):
        load(folder, "test")
    folder.image_path("test", "a.png")
    with pytest.raises(UserError, match=r"no folder .*annotations/test; splits there: train, val"):
        load(folder, "test")


def test_empty_split(folder):
    folder.pair("train", "a")
    folder.image_path("val", "x")
    folder.mask_path("val", "x")
    with pytest.raises(UserError, match=r"images/val holds no image \(.jpg, .jpeg, .png, .bmp\)"):
        load(folder, "val")


def test_pairs_are_sorted_by_name(folder):
    for stem in ("b", "c", "a"):
        folder.pair("train", stem)
    pairs = folder_source.find_pairs(FolderLayout(epath.Path(folder.root)), "train")
    assert [pair.image.stem for pair in pairs] == ["a", "b", "c"]
    assert all(pair.mask.stem == pair.image.stem for pair in pairs)


@pytest.mark.parametrize("masks", ["annotations", "masks"])
def test_a_folder_per_split(masks, tmp_path, rng):
    image, mask = noise(rng), rng.integers(0, 3, (24, 30), np.uint8)
    for part, picture in (("images", image), (masks, mask)):
        (tmp_path / "val" / part).mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "val" / part / "a.png")
    (example,) = folder_source.load(str(tmp_path), "val", LABELS).examples.as_numpy_iterator()
    np.testing.assert_array_equal(example["image"], image)
    np.testing.assert_array_equal(example["mask"], mask)


def names_of_part(folder, is_held_out, fraction=0.3):
    part = Part(fraction, is_held_out)
    return {example["name"] for example in load(folder, part=part)}


def test_held_out_examples_stay_held_out_when_others_are_added(folder):
    folder.pairs("train", 12)
    held_out, rest = names_of_part(folder, True), names_of_part(folder, False)
    assert 0 < len(held_out) < len(rest) < 12
    assert len(held_out | rest) == 12
    for index in range(12):
        folder.pair("train", f"00{index}_more")
    assert held_out < names_of_part(folder, True)
    assert rest < names_of_part(folder, False)


def test_a_part_without_examples(folder):
    folder.pair("train", "a")
    with pytest.raises(UserError, match=r"--eval_fraction=0\.001 leaves no example .* 1 examples"):
        names_of_part(folder, True, 0.001)


def turned_pair(folder, rng, mask_size):
    """A photograph stored as 24x30 and noted to be turned by 90 degrees, and a mask for it."""
    mask = rng.integers(0, 3, mask_size, np.uint8)
    folder.pair("train", "a", mask=mask, suffix=".jpg")
    data = turned_jpeg(noise(rng), 6)
    folder.image_path("train", "a.jpg").write_bytes(data)
    return data, mask


def test_photographs_are_turned_upright_and_masks_of_the_stored_size_with_them(folder, rng):
    data, mask = turned_pair(folder, rng, (24, 30))
    (example,) = load(folder)
    np.testing.assert_array_equal(example["image"], decode_image(data))
    np.testing.assert_array_equal(example["mask"], np.rot90(mask, -1))
    (stored,) = load(folder, apply_exif=False)
    np.testing.assert_array_equal(example["image"], np.rot90(stored["image"], -1))
    np.testing.assert_array_equal(stored["mask"], mask)


def test_masks_that_fit_the_upright_photograph_stay_as_they_are(folder, rng):
    _, mask = turned_pair(folder, rng, (30, 24))
    (example,) = load(folder)
    assert example["image"].shape == (30, 24, 3)
    np.testing.assert_array_equal(example["mask"], mask)
    with pytest.raises(UserError, match=r"a\.png is 30x24 .* its image .*a\.jpg is 24x30"):
        load(folder, apply_exif=False)


ODD_NAMES = ("a b", "a,b", "Zürich 東京", "two\nlines", "tab\there", 'quote"d')


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_may_hold_any_characters(name, folder, rng):
    folder.pair("train", name, noise(rng), np.full((24, 30), 2, np.uint8), suffix=".jpg")
    (example,) = load(folder)
    assert example["name"].decode() == str(folder.image_path("train", f"{name}.jpg"))
    assert (example["mask"] == 2).all()


@pytest.mark.parametrize("damage", ["image", "mask", "missing"])
def test_names_with_line_breaks_are_escaped_in_messages(damage, folder, rng, caplog):
    folder.pairs("train", 1)
    folder.pair("train", "two\nlines", noise(rng))
    if damage == "missing":
        folder.mask_path("train", "two\nlines.png").unlink()
    else:
        path = folder.image_path if damage == "image" else folder.mask_path
        path("train", "two\nlines.png").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"two\\nlines\.png") as error:
        load(folder)
    assert "\n" not in str(error.value)
    with caplog.at_level(logging.WARNING):
        load(folder, on_bad_example="skip")
    assert r"two\nlines.png" in caplog.text
    assert not any("\n" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "WEBP"])
def test_the_content_of_an_image_counts_and_not_its_suffix(file_format, folder, rng):
    folder.pair("train", "a", suffix=".jpg")
    pixels = rng.integers(0, 2, (8, 10, 3), np.uint8) * 255
    options = {"lossless": True} if file_format == "WEBP" else {}
    Image.fromarray(pixels).save(folder.image_path("train", "a.jpg"), file_format, **options)
    np.testing.assert_array_equal(load(folder)[0]["image"], pixels)
