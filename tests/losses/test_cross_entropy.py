"""The loss and its gradient equal PyTorch's, ignore void pixels, and train a Keras model."""

import numpy as np
import pytest

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import tensorflow as tf

from tfseg.losses.cross_entropy import SegmentationCrossEntropy, cross_entropy_sum


def draw(seed=0, *, size=(12, 20), logits_size=None, ignore_index=255, void_share=0.2):
    """Draws masks `[2, height, width]` with void pixels, and logits of three classes."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, 3, (2, *size)).astype(np.int32)
    masks[rng.random(masks.shape) < void_share] = ignore_index
    logits = rng.normal(0, 3, (2, *(logits_size or size), 3)).astype(np.float32)
    return masks, logits


def mean_cross_entropy(masks, logits, ignore_index):
    """Computes the loss by its definition, pixel by pixel, in float64."""
    losses = [
        np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label]
        for label, scores in zip(masks.ravel(), logits.reshape(-1, 3).astype(float), strict=True)
        if label != ignore_index
    ]
    return np.mean(losses)


def loss_and_gradient(masks, logits, ignore_index=255, **settings):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = SegmentationCrossEntropy(ignore_index, **settings)(masks, logits)
    return float(loss), tape.gradient(loss, logits).numpy()


@pytest.mark.parametrize("ignore_index", [255, -1, -100, 3])
def test_loss_is_the_mean_over_valid_pixels(ignore_index):
    masks, logits = draw(ignore_index=ignore_index)
    loss, _ = loss_and_gradient(masks, logits, ignore_index)
    assert loss == pytest.approx(mean_cross_entropy(masks, logits, ignore_index), rel=1e-5)


@pytest.mark.parametrize("logits_size", [(12, 20), (3, 5), (5, 7)])
@pytest.mark.parametrize("ignore_index", [255, -1])
@pytest.mark.parametrize("weights", [None, (0.5, 4.0, 1.0), (0.0, 2.0, 0.25)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_gradient_equal_pytorchs(logits_size, ignore_index, weights, smoothing):
    torch = pytest.importorskip("torch")
    masks, logits = draw(logits_size=logits_size, ignore_index=ignore_index)
    loss, gradient = loss_and_gradient(
        masks, logits, ignore_index, class_weights=weights, label_smoothing=smoothing
    )
    channels_first = torch.tensor(logits.transpose(0, 3, 1, 2), requires_grad=True)
    resized = torch.nn.functional.interpolate(
        channels_first, size=masks.shape[1:], mode="bilinear", align_corners=False
    )
    criterion = torch.nn.CrossEntropyLoss(
        weight=None if weights is None else torch.tensor(weights),
        ignore_index=ignore_index,
        label_smoothing=smoothing,
    )
    expected = criterion(resized, torch.from_numpy(masks).long())
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(
        gradient, channels_first.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-7
    )


def test_void_pixels_have_no_gradient():
    masks, logits = draw()
    _, gradient = loss_and_gradient(masks, logits)
    void = masks == 255
    assert np.all(gradient[void] == 0)
    assert np.all(np.abs(gradient[~void]).max(-1) > 0)


@pytest.mark.parametrize("logits_size", [(12, 20), (3, 5)])
@pytest.mark.parametrize(
    "settings", [{}, {"class_weights": (1.0, 0.0, 2.0), "label_smoothing": 0.1}]
)
def test_a_batch_without_a_valid_pixel_gives_zero(logits_size, settings):
    masks, logits = draw(void_share=1.1, logits_size=logits_size)
    loss, gradient = loss_and_gradient(masks, logits, **settings)
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(logits))


@pytest.mark.parametrize("logits_size", [(12, 20), (3, 5)])
def test_a_batch_with_only_pixels_of_weight_zero_gives_zero(logits_size):
    masks, logits = draw(logits_size=logits_size)
    masks[masks != 255] = 1
    loss, gradient = loss_and_gradient(masks, logits, class_weights=(1.0, 0.0, 2.0))
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(logits))


def test_class_weights_of_one_change_nothing():
    masks, logits = draw()
    loss, gradient = loss_and_gradient(masks, logits, class_weights=(1, 1, 1), label_smoothing=0.0)
    plain_loss, plain_gradient = loss_and_gradient(masks, logits)
    assert loss == plain_loss
    np.testing.assert_array_equal(gradient, plain_gradient)


def test_another_number_of_class_weights_than_classes_is_refused():
    masks, logits = draw()
    with pytest.raises(ValueError, match="2 class weights for 3 classes"):
        SegmentationCrossEntropy(255, class_weights=(1.0, 2.0))(masks, logits)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_huge_logits_stay_finite(smoothing):
    masks, logits = draw()
    loss, gradient = loss_and_gradient(masks, logits * 1e6, label_smoothing=smoothing)
    assert np.isfinite(loss)
    assert np.all(np.isfinite(gradient))


def test_the_loss_of_bfloat16_logits_is_computed_in_float32():
    masks, logits = draw(size=(64, 64))
    halved = tf.cast(logits, tf.bfloat16)
    loss = SegmentationCrossEntropy(255)(masks, halved)
    assert loss.dtype == tf.float32
    exact = mean_cross_entropy(masks, tf.cast(halved, tf.float32).numpy(), 255)
    assert float(loss) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("known", [(None, None, None), (2, 12, 20), None])
@pytest.mark.parametrize("logits_size", [(12, 20), (3, 5)])
def test_a_graph_with_unknown_sizes_equals_eager_execution(known, logits_size):
    masks, logits = draw(logits_size=logits_size)
    loss = SegmentationCrossEntropy(255, class_weights=(0.5, 2.0, 0.0), label_smoothing=0.1)
    logits_shape = (None, None, None, 3)
    signature = [tf.TensorSpec(known, tf.int32), tf.TensorSpec(logits_shape, tf.float32)]
    traced = tf.function(lambda masks, logits: loss(masks, logits), input_signature=signature)
    assert float(traced(masks, logits)) == pytest.approx(float(loss(masks, logits)), rel=1e-6)


def test_the_sum_and_the_number_of_valid_pixels():
    masks, logits = draw()
    total, num_valid = cross_entropy_sum(tf.constant(masks), tf.constant(logits), 255)
    assert float(num_valid) == np.sum(masks != 255)
    mean = mean_cross_entropy(masks, logits, 255)
    assert float(total) == pytest.approx(mean * np.sum(masks != 255), rel=1e-5)


def test_fit_reports_the_loss_and_reduces_it():
    masks, images = draw(logits_size=(12, 20))
    tf.keras.utils.set_random_seed(0)
    model = tf.keras.Sequential([tf.keras.layers.Conv2D(3, 1, strides=4, input_shape=(12, 20, 3))])
    model.compile(tf.keras.optimizers.SGD(0.1), SegmentationCrossEntropy(255))
    expected = float(SegmentationCrossEntropy(255)(masks, model(images)))
    losses = model.fit(images, masks, batch_size=2, epochs=5, verbose=0).history["loss"]
    assert losses[0] == pytest.approx(expected, rel=1e-5)
    assert losses[-1] < losses[0]
