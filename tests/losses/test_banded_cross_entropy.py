"""The banded loss and its gradient equal those of `tf.image.resize` followed by cross-entropy."""

import dataclasses

import numpy as np
import pytest

from tfseg import devices
from tfseg.losses import banded_cross_entropy

from tfseg.losses import cross_entropy  # isort: skip  sets TF_USE_LEGACY_KERAS
import tensorflow as tf

VOID = 255


def draw(shape, num_classes, *, void=VOID, seed=0):
    rng = np.random.default_rng(seed)
    batch, height, width = shape
    logits = rng.normal(0, 3, (*shape, num_classes)).astype(np.float32)
    masks = rng.integers(0, num_classes, (batch, 4 * height, 4 * width)).astype(np.int32)
    masks[rng.random(masks.shape) < 0.2] = void
    return tf.constant(masks), tf.constant(logits)


def banded(masks, logits, *settings):
    return banded_cross_entropy.upsampled_cross_entropy_sum(masks, logits, *settings)


def unbanded(masks, logits, *settings):
    resized = tf.image.resize(logits, masks.shape[1:])
    return cross_entropy.cross_entropy_sum(masks, resized, *settings)[0]


def value_and_gradient(function, masks, logits, void=VOID, *settings):
    @tf.function
    def run(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = 0.5 * function(masks, logits, void, *settings)
        return loss, tape.gradient(loss, logits)

    return [part.numpy() for part in run(logits)]


def in_bands(elements):
    """Asks for the form of a CPU with bands of so many upsampled logits."""
    return devices.asking_for(dataclasses.replace(devices.CPU, band_logits=elements))


@pytest.mark.parametrize(
    ("shape", "num_classes", "band_elements"),
    [
        ((2, 8, 12), 5, 1 << 20),  # one band
        ((2, 8, 12), 5, 1),  # one band per interval between rows
        ((1, 7, 5), 3, 1500),  # bands that do not divide the height
        ((3, 2, 2), 2, 1),
        ((1, 16, 16), 150, 1 << 16),
    ],
)
def test_value_and_gradient_equal_the_unbanded_loss(shape, num_classes, band_elements):
    masks, logits = draw(shape, num_classes)
    with in_bands(band_elements):
        loss, gradient = value_and_gradient(banded, masks, logits)
    expected_loss, expected_gradient = value_and_gradient(unbanded, masks, logits)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5)
    assert np.abs(expected_gradient).max() > 0.1


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", [None, (0.5, 0.0, 3.0, 1.0)])
def test_class_weights_and_label_smoothing(class_weights, label_smoothing):
    masks, logits = draw((2, 5, 6), 4)
    settings = (VOID, class_weights, label_smoothing)
    with in_bands(1500):
        loss, gradient = value_and_gradient(banded, masks, logits, *settings)
        plain_loss, _ = value_and_gradient(banded, masks, logits)
    expected_loss, expected_gradient = value_and_gradient(unbanded, masks, logits, *settings)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5)
    assert (loss == plain_loss) == (class_weights is None and not label_smoothing)


def test_a_negative_ignore_index_marks_void():
    masks, logits = draw((2, 4, 6), 4, void=-1)
    loss, gradient = value_and_gradient(banded, masks, logits, void=-1)
    expected_loss, expected_gradient = value_and_gradient(unbanded, masks, logits, void=-1)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5)


def test_masks_without_a_valid_pixel_give_zero():
    masks, logits = draw((2, 4, 6), 4)
    loss, gradient = value_and_gradient(banded, tf.fill(masks.shape, VOID), logits)
    assert loss == 0
    assert not gradient.any()


@pytest.mark.parametrize("spread", [1, 30, 1000])
def test_narrow_and_wide_ranges_of_logits_equal_the_unbanded_loss(spread):
    masks, logits = draw((2, 5, 6), 7)
    logits = logits / (tf.reduce_max(logits) - tf.reduce_min(logits)) * spread
    loss, gradient = value_and_gradient(banded, masks, logits)
    expected_loss, expected_gradient = value_and_gradient(unbanded, masks, logits)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=2e-5)


def test_large_logits_stay_finite():
    masks, logits = draw((1, 4, 4), 3)
    loss, gradient = value_and_gradient(banded, masks, 1e4 * logits)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_no_tensor_holds_all_pixels_and_classes():
    masks, logits = draw((2, 64, 64), 64)

    @tf.function
    def run(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = banded(masks, logits, VOID)
        return tape.gradient(loss, logits)

    graphs = [run.get_concrete_function(logits).graph]
    sizes = []
    while graphs:
        graph = graphs.pop()
        for operation in graph.get_operations():
            sizes += [output.shape.num_elements() or 0 for output in operation.outputs]
        graphs += [each.graph for each in graph._functions.values() if hasattr(each, "graph")]
    assert 0 < max(sizes) < 16 * logits.shape.num_elements() / 4


@pytest.mark.parametrize(
    ("mask_shape", "logits_shape", "expected"),
    [
        ((2, 16, 24), (2, 4, 6, 3), True),
        ((2, 16, 24), (2, 4, 5, 3), False),
        ((2, 4, 6), (2, 4, 6, 3), False),
        ((None, 16, 24), (None, 4, 6, 3), False),
        ((2, 4, 24), (2, 1, 6, 3), False),
    ],
)
def test_applies_to_static_shapes_whose_ratio_is_four(mask_shape, logits_shape, expected):
    specs = tf.TensorSpec(mask_shape, tf.int32), tf.TensorSpec(logits_shape, tf.float32)
    assert banded_cross_entropy.applies_to(*specs) is expected


def test_the_loss_is_the_same_for_quarter_size_and_for_full_size_logits():
    masks, logits = draw((2, 8, 8), 5)
    loss = cross_entropy.SegmentationCrossEntropy(VOID)
    resized = tf.image.resize(logits, masks.shape[1:])
    assert float(loss(masks, logits)) == pytest.approx(float(loss(masks, resized)), rel=1e-5)
