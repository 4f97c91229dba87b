"""`segment` gives what PyTorch's pipeline gives, for every form of an image."""

import gc
import io
import weakref

import numpy as np
import pytest
from PIL import Image

from tests.data.exif_files import turned_jpeg
from tfseg import serving
from tfseg.data.transforms import resize_logits
from tfseg.errors import UserError
from tfseg.models import segformer
from tfseg.serving import segmentation


@pytest.fixture(scope="module")
def pipeline(tiny_model_dir):
    import transformers

    return transformers.pipeline("image-segmentation", model=tiny_model_dir, framework="pt")


def to_class_map(segments, names):
    """Returns the class map that the masks of segments add up to."""
    masks = np.array([np.asarray(found["mask"]) for found in segments])
    assert (np.sum(masks > 0, 0) == 1).all(), "each pixel has one class"
    return np.array([names.index(found["label"]) for found in segments])[masks.argmax(0)]


def encode(picture, file_format, **options):
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def test_masks_equal_those_of_pytorchs_pipeline(pipeline, tiny_model, make_image):
    """At the model's own size all pixels are the same; where images are resized, few are not.

    A resize rounds to one of 256 levels, and TensorFlow's weights have 24 bits where Pillow's have
    22. So a few of the resized values are one level off, which decides a few pixels between two
    classes that are nearly as probable. Weights as random as these have many such pixels.
    """
    names, shares = tiny_model.labels.names, []
    for seed, size in enumerate([(64, 96), (300, 400), (333, 500), (512, 512), (600, 800)]):
        picture = Image.fromarray(make_image(*size, seed=seed))
        ours, theirs = serving.segment(picture, tiny_model), pipeline(picture)
        assert [found["label"] for found in ours] == [found["label"] for found in theirs]
        for found in ours:
            assert found.keys() == theirs[0].keys()
            assert found["score"] is theirs[0]["score"] is None
            assert (found["mask"].mode, found["mask"].size) == ("L", picture.size)
            assert set(np.unique(found["mask"])) <= {0, 255}
        shares.append(np.mean(to_class_map(ours, names) != to_class_map(theirs, names)))
    assert shares[0] == 0
    assert np.mean(shares) <= 1e-3


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "CMYK"])
def test_pictures_of_every_mode_give_what_the_pipeline_gives(
    mode, pipeline, tiny_model, make_image
):
    names = tiny_model.labels.names
    picture = Image.fromarray(make_image(64, 96)).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(make_image(64, 96)[..., 0]))
    ours, theirs = serving.segment(picture, tiny_model), pipeline(picture)
    np.testing.assert_array_equal(to_class_map(ours, names), to_class_map(theirs, names))


def test_an_image_of_one_pixel_has_one_class(tiny_model):
    """The processor of transformers takes the width of such an image for its channels and fails."""
    picture = Image.new("RGB", (1, 1), (250, 30, 30))
    (found,) = serving.segment(picture, tiny_model)
    assert np.asarray(found["mask"]).tolist() == [[255]]
    logits = tiny_model(tiny_model.preprocessing(np.asarray(picture)[None]))
    middle = resize_logits(logits, (1, 1)).numpy().argmax()
    assert found["label"] == tiny_model.labels.names[middle]


def test_every_form_of_an_image_gives_the_same(tiny_model, tiny_model_dir, make_image, tmp_path):
    pixels = make_image(75, 101)
    data = encode(Image.fromarray(pixels), "PNG")
    path = tmp_path / "cat.png"
    path.write_bytes(data)
    forms = [str(path), path, data, Image.fromarray(pixels), pixels, path.open("rb").read()]
    expected = serving.segment(pixels, tiny_model)
    assert len(expected) > 1
    for segments in serving.segment(forms, tiny_model):
        assert segments == expected
    assert serving.segment(pixels, tiny_model_dir) == expected


def test_gray_and_alpha_in_arrays(tiny_model, make_image):
    pixels = make_image(75, 101)
    gray = pixels[..., 0]
    repeated = serving.segment(np.repeat(gray[..., None], 3, -1), tiny_model)
    assert serving.segment(gray, tiny_model) == repeated
    rgba = np.concatenate([pixels, gray[..., None]], -1)
    assert serving.segment(rgba, tiny_model) == serving.segment(pixels, tiny_model)


def test_a_photograph_on_its_side_is_upright_as_in_the_pipeline(
    pipeline, tiny_model, make_image, tmp_path
):
    path = tmp_path / "phone.jpg"
    path.write_bytes(turned_jpeg(make_image(96, 64), 6))
    names = tiny_model.labels.names
    theirs = to_class_map(pipeline(str(path)), names)
    assert theirs.shape == (64, 96)
    for image in (path, path.read_bytes(), Image.open(path)):
        np.testing.assert_array_equal(
            to_class_map(serving.segment(image, tiny_model), names), theirs
        )


def test_what_is_no_image_is_refused_in_one_line(tiny_model, make_image, tmp_path):
    jpeg = encode(Image.fromarray(make_image(75, 101)), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(jpeg[:-200])
    animated = encode(
        Image.new("RGB", (9, 8)), "WEBP", save_all=True, append_images=[Image.new("RGB", (9, 8), 9)]
    )
    for image, words in [
        (tmp_path / "missing.jpg", r"missing\.jpg cannot be read: No such file"),
        ("http://example.org/cat.jpg", "http://example.org/cat.jpg: images are not fetched"),
        (tmp_path / "cut.jpg", r"cut\.jpg cannot be read: .*damaged"),
        (Image.open(tmp_path / "cut.jpg"), "the image cannot be read: image file is truncated"),
        (b"no picture", "the image cannot be read: it is no JPEG"),
        (animated, "the image cannot be read: it is an animated WebP"),
        (np.zeros((4, 5, 3)), r"ndarray, float64 \[4, 5, 3\].*uint8 array"),
        (np.zeros((2, 4, 5, 3), np.uint8), r"uint8 \[2, 4, 5, 3\]"),
        (np.zeros((0, 5, 3), np.uint8), r"uint8 \[0, 5, 3\]"),
        (None, "type NoneType"),
    ]:
        with pytest.raises(UserError, match=words) as caught:
            serving.segment(image, tiny_model)
        assert "\n" not in str(caught.value)


def test_a_model_is_compiled_once_for_all_sizes_and_can_be_freed(tiny_model_dir, make_image):
    model = segformer.load_model(tiny_model_dir)
    for size in ((20, 30), (31, 17)):
        serving.segment(make_image(*size), model)
    assert segmentation._classifier(model).experimental_get_tracing_count() == 1
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_pixels_are_counted_in_every_row():
    class_map = np.zeros((600, 3), np.uint8)
    class_map[[0, 255, 256, 599], 1] = 2
    assert segmentation.count_pixels(class_map, 4).tolist() == [1796, 0, 4, 0]
