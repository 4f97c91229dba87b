"""Every kind of augmentation, eagerly and as a training's `Dataset.map` runs it."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.config import TrainDataConfig
from tfseg.data import training_examples
from tfseg.data.transforms import Preprocessing

VOID = 255
CLASSES = {0, 4, 9}
WHOLE, CROP = (32, 64), (32, 32)
KINDS = ("standard", "rand_augment", "mosaic", "cutout", "basic", "flip", "none")
COLORS = {"brightness": 0.1, "contrast": (0.8, 1.2), "saturation": (0.8, 1.2), "hue": 0.02}


def examples(rng, count=4):
    """Photographs that are bright where the mask has a larger class."""
    made = []
    for size in [(40, 70), (64, 48), (50, 50), (33, 90)][:count]:
        mask = np.kron(rng.choice(sorted(CLASSES), (2, 3)), np.ones((32, 32), int))
        mask = mask[: size[0], : size[1]].astype(np.int32)
        noise = rng.uniform(-5, 5, (*mask.shape, 3))
        image = np.clip(mask[..., None] * 20 + 20 + noise, 0, 255).astype(np.uint8)
        made.append({"image": tf.constant(image), "mask": tf.constant(mask)})
    return made


def prepare(number, kind, source):
    return training_examples.prepare(
        source,
        tf.stack([tf.cast(number, tf.int64), 3]),
        kind=kind,
        preprocessing=Preprocessing(WHOLE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        crop_size=CROP,
        random_scale=(0.5, 2.0),
        max_class_share=0.75,
        ignore_index=VOID,
        colors=COLORS,
    )


def test_all_kinds_are_tested():
    (field,) = [
        f for f in TrainDataConfig.__dataclass_fields__.values() if f.name == "augmentation"
    ]
    assert set(KINDS) == set(field.metadata["choices"])


@pytest.mark.parametrize("kind", KINDS)
def test_map_equals_eager_and_invents_no_class(kind, rng):
    source = examples(rng, 4 if kind == "mosaic" else 1)
    numbers = tf.data.Dataset.range(6)
    mapped = numbers.map(lambda n: prepare(n, kind, source), num_parallel_calls=2)
    size = WHOLE if kind in ("basic", "flip", "none") else CROP
    assert mapped.element_spec == (
        tf.TensorSpec((*size, 3), tf.float32),
        tf.TensorSpec(size, tf.int32),
    )
    results = list(mapped.as_numpy_iterator())
    for image, mask in results:
        assert np.isfinite(image).all()
        assert set(np.unique(mask)) <= {*CLASSES, VOID}
    image, mask = prepare(tf.constant(2, tf.int64), kind, source)
    np.testing.assert_allclose(image, results[2][0], atol=1e-5)
    np.testing.assert_array_equal(mask, results[2][1])
    assert len({image.tobytes() for image, _ in results}) == {"none": 1, "flip": 2}.get(kind, 6)


@pytest.mark.parametrize("kind", ["standard", "mosaic", "cutout", "basic", "flip"])
def test_image_and_mask_move_together(kind, rng):
    source = examples(rng, 4 if kind == "mosaic" else 1)
    mapped = tf.data.Dataset.range(10).map(lambda n: prepare(n, kind, source))
    right = []
    for image, mask in mapped.as_numpy_iterator():
        seen = (mask != VOID) & (image.mean(-1) > 0)  # not beyond the image, nor cut out
        # 20, 100 and 200 grey levels; half of the way to the next one is another class. Colours
        # change by a fifth, and pixels on borders are blended.
        guess = np.select([image.mean(-1) < 0.2, image.mean(-1) < 0.55], [0, 4], 9)
        right.append(np.mean(guess[seen] == mask[seen]))
    assert np.mean(right) > 0.85, right
