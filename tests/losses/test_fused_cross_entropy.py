"""The loss for accelerators and its gradient equal `tf.image.resize` followed by cross-entropy."""

import numpy as np
import pytest

from tests.losses.test_banded_cross_entropy import VOID, draw, unbanded, value_and_gradient
from tfseg import devices
from tfseg.losses import fused_cross_entropy

from tfseg.losses import cross_entropy  # isort: skip  sets TF_USE_LEGACY_KERAS
import tensorflow as tf


def fused(masks, logits, *settings):
    return fused_cross_entropy.upsampled_cross_entropy_sum(masks, logits, *settings)


def check(masks, logits, void=VOID, *settings, atol=1e-5):
    loss, gradient = value_and_gradient(fused, masks, logits, void, *settings)
    expected_loss, expected_gradient = value_and_gradient(unbanded, masks, logits, void, *settings)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=atol)
    assert np.abs(expected_gradient).max() > 0.1


@pytest.mark.parametrize("form", [devices.GPU, devices.TPU])
@pytest.mark.parametrize(
    ("shape", "num_classes"), [((2, 8, 12), 5), ((1, 7, 5), 3), ((3, 2, 2), 2), ((1, 5, 4), 40)]
)
def test_value_and_gradient_equal_the_plain_loss(shape, num_classes, form):
    with devices.asking_for(form):
        check(*draw(shape, num_classes))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", [None, (0.5, 0.0, 3.0, 1.0)])
def test_class_weights_and_label_smoothing(class_weights, label_smoothing):
    check(*draw((2, 5, 6), 4), VOID, class_weights, label_smoothing)


def test_a_negative_ignore_index_marks_void():
    check(*draw((2, 4, 6), 4, void=-1), -1)


@pytest.mark.parametrize("spread", [1, 1000])
def test_any_range_of_logits(spread):
    masks, logits = draw((2, 5, 6), 7)
    logits = logits / (tf.reduce_max(logits) - tf.reduce_min(logits)) * spread
    check(masks, logits, atol=1e-4)


def test_masks_without_a_valid_pixel_give_zero():
    masks, logits = draw((2, 4, 6), 4)
    loss, gradient = value_and_gradient(fused, tf.fill(masks.shape, VOID), logits)
    assert loss == 0
    assert not gradient.any()


def test_the_loss_of_training_takes_this_form_on_an_accelerator():
    masks, logits = draw((2, 8, 8), 5)
    loss = cross_entropy.SegmentationCrossEntropy(VOID)
    graphs = []
    for form in (devices.CPU, devices.GPU, devices.TPU):
        with devices.asking_for(form):
            graph = tf.function(loss.__call__).get_concrete_function(masks, logits)
        graphs.append((float(graph(masks, logits)), loops(graph)))
    values, loop_counts = zip(*graphs, strict=True)
    np.testing.assert_allclose(values, values[0], rtol=1e-6)
    assert loop_counts[0]
    assert loop_counts[1:] == (0, 0)


def loops(function):
    """Counts the loops of a graph."""
    kinds = ("While", "StatelessWhile")
    return sum(operation.type in kinds for operation in function.graph.get_operations())
