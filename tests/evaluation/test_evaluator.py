"""The evaluator's scores equal those computed in NumPy, mask by mask at each mask's own size."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from tfseg import devices
from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.evaluation.evaluator import Evaluator, metrics_to_json
from tfseg.evaluation.mean_iou import compute_mean_iou
from tfseg.models import padded_upsampling

VOID = 255
SIZES = ((64, 96), (30, 41), (80, 50), (17, 90), (64, 96))


@pytest.fixture(scope="module")
def labels(tiny_model):
    return tiny_model.labels


@pytest.fixture(scope="module")
def evaluator(tiny_model, labels):
    return Evaluator(tiny_model, labels)


@pytest.fixture(scope="module")
def examples(labels):
    """Normalised images at the model's size, and masks of different sizes with void pixels."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(len(SIZES), 64, 96, 3)).astype(np.float32)
    masks = [rng.integers(0, labels.num_classes, size).astype(np.int32) for size in SIZES]
    for mask in masks:
        mask[rng.random(mask.shape) < 0.2] = VOID
    return list(zip(images, masks, strict=True))


def batches_of(examples, batch_size, void=VOID, mask_size=None):
    """Builds batches as the pipeline does, with masks padded to the largest of the batch.

    With a mask size, masks are padded to that, and empty examples fill up the last batch.
    """
    num_missing = -len(examples) % batch_size if mask_size else 0
    empty = np.zeros((64, 96, 3), np.float32), np.zeros((0, 0), np.int32)

    def generate():
        for image, mask in [*examples, *[empty] * num_missing]:
            yield image, mask, np.array(mask.shape, np.int32)

    signature = (
        tf.TensorSpec((64, 96, 3), tf.float32),
        tf.TensorSpec((None, None), tf.int32),
        tf.TensorSpec((2,), tf.int32),
    )
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    shapes = ((64, 96, 3), mask_size or (None, None), (2,))
    return dataset.padded_batch(
        batch_size, shapes, padding_values=(0.0, void, 0), drop_remainder=mask_size is not None
    )


def score_by_hand(model, examples):
    """Returns class maps at each mask's size, and the losses of all valid pixels in float64."""
    class_maps, losses = [], []
    for image, mask in examples:
        logits = tf.image.resize(model.quarter_logits(image[None]), mask.shape).numpy()[0]
        class_maps.append(logits.argmax(-1))
        logits = logits.astype(float)[mask != VOID]
        log_sums = np.log(np.exp(logits).sum(-1))
        losses.append(log_sums - logits[np.arange(len(logits)), mask[mask != VOID]])
    return class_maps, np.concatenate(losses)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_metrics_equal_those_computed_in_numpy(evaluator, tiny_model, examples, labels, batch_size):
    scores = evaluator.evaluate(batches_of(examples, batch_size))
    assert_scores_equal_numpys(scores, tiny_model, examples, labels)


# Blocks of 7 rows of all images, or of one row, do not divide the 80 rows of the largest mask.
@pytest.mark.parametrize(
    ("batch_size", "form", "block_logits"),
    [
        (2, devices.CPU, 1 << 28),
        (5, devices.GPU, 1 << 28),
        (2, devices.CPU, 2 * 96 * 5 * 7),
        (3, devices.GPU, 1),
    ],
)
def test_batches_of_fixed_shape_give_the_same_scores(
    monkeypatch, tiny_model, examples, labels, batch_size, form, block_logits
):
    monkeypatch.setattr(padded_upsampling, "BLOCK_LOGITS", block_logits)
    batches = batches_of(examples, batch_size, mask_size=(80, 96))
    with devices.asking_for(form):
        scores = Evaluator(tiny_model, labels).evaluate(batches)
    assert_scores_equal_numpys(scores, tiny_model, examples, labels)


def assert_scores_equal_numpys(scores, tiny_model, examples, labels):
    class_maps, losses = score_by_hand(tiny_model, examples)
    masks = [mask for _, mask in examples]
    expected = compute_mean_iou(
        predictions=class_maps,
        references=masks,
        num_labels=labels.num_classes,
        ignore_index=VOID,
    )
    metrics = scores.metrics(labels.names)
    for name in ("mean_iou", "mean_accuracy", "overall_accuracy"):
        assert metrics[name] == pytest.approx(expected[name], abs=1e-9)
    for index, name in enumerate(labels.names):
        assert metrics[f"iou_{name}"] == pytest.approx(expected["per_category_iou"][index])
    assert metrics["loss"] == scores.loss == pytest.approx(losses.mean(), rel=1e-5)
    assert scores.num_examples == len(examples)
    assert scores.confusion.sum() == sum(np.sum(mask != VOID) for mask in masks)


def test_rows_of_the_confusion_matrix_are_the_true_classes(evaluator, tiny_model, examples, labels):
    confusion = evaluator.evaluate(batches_of(examples[:2], 2)).confusion
    expected = np.zeros((labels.num_classes,) * 2, np.int64)
    class_maps, _ = score_by_hand(tiny_model, examples[:2])
    for class_map, (_, mask) in zip(class_maps, examples[:2], strict=True):
        np.add.at(expected, (mask[mask != VOID], class_map[mask != VOID]), 1)
    np.testing.assert_array_equal(confusion, expected)
    assert np.count_nonzero(expected.sum(0)) > 1


def test_the_loss_is_the_mean_over_pixels_not_over_batches(evaluator, tiny_model, examples):
    """A batch with a few valid pixels must not weigh as much as one without void pixels."""
    image, mask = examples[1]
    sparse = np.full_like(mask, VOID)
    sparse[0, :3] = 0
    mixed = [examples[0], (image, sparse)]
    _, losses = score_by_hand(tiny_model, mixed)
    for batch_size in (1, 2):
        scores = evaluator.evaluate(batches_of(mixed, batch_size))
        assert scores.loss == pytest.approx(losses.mean(), rel=1e-5)


def test_each_evaluation_starts_from_zero(evaluator, examples):
    first = evaluator.evaluate(batches_of(examples[:2], 2))
    evaluator.evaluate(batches_of(examples, 2))
    again = evaluator.evaluate(batches_of(examples[:2], 2))
    assert (again.loss, again.num_examples) == (first.loss, 2)
    np.testing.assert_array_equal(again.confusion, first.confusion)


def counts_by_hand(class_maps, examples, num_classes):
    """Returns the intersection, the true and the predicted pixels of each image and class."""
    counts = np.zeros((len(examples), 3, num_classes), np.int64)
    for row, class_map, (_, mask) in zip(counts, class_maps, examples, strict=True):
        for class_id in range(num_classes):
            is_true = mask == class_id
            is_predicted = (class_map == class_id) & (mask != VOID)
            row[:, class_id] = np.sum(is_true & is_predicted), np.sum(is_true), np.sum(is_predicted)
    return counts


def collect(evaluator, batches):
    """Returns the scores, and the counts and class maps of all images."""
    steps = []
    scores = evaluator.evaluate(batches, steps.append)
    counts = np.concatenate([step.counts for step in steps])
    return scores, counts, [class_map for step in steps for class_map in step.class_maps]


# The CPU's form, and the one of fixed shapes in one block and in blocks of 7 rows.
FORMS = [
    (devices.CPU, None, 1 << 28),
    (devices.GPU, (80, 96), 1),
    pytest.param(devices.GPU, (80, 96), 1 << 28, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("form", "mask_size", "block_logits"), FORMS)
def test_images_are_counted_and_predicted_one_by_one_in_their_order(
    monkeypatch, tiny_model, examples, labels, form, mask_size, block_logits
):
    monkeypatch.setattr(padded_upsampling, "BLOCK_LOGITS", block_logits * 2 * 96 * 5 * 7)
    batches = batches_of(examples, 2, mask_size=mask_size)
    with devices.asking_for(form):
        evaluator = Evaluator(tiny_model, labels, per_image=True, keeps_maps=True)
        scores, counts, class_maps = collect(evaluator, batches)
    expected_maps, _ = score_by_hand(tiny_model, examples)
    for class_map, expected in zip(class_maps, expected_maps, strict=True):
        assert class_map.shape == expected.shape
        assert np.mean(class_map != expected) < 1e-3  # ties
    expected = counts_by_hand(class_maps, examples, labels.num_classes)
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(counts.sum(0)[0], np.diag(scores.confusion))
    np.testing.assert_array_equal(counts.sum(0)[1], scores.confusion.sum(1))
    np.testing.assert_array_equal(counts.sum(0)[2], scores.confusion.sum(0))


@pytest.mark.slow
@pytest.mark.parametrize("form", [devices.CPU, devices.GPU])
def test_views_are_averaged_as_probabilities_at_the_size_of_the_image(
    tiny_model, examples, labels, form
):
    """As MMSegmentation's SegTTAModel: softmax of each view at the image's size, then the mean."""
    other = np.random.default_rng(1).normal(size=(len(SIZES), 32, 64, 3)).astype(np.float32)
    batches = batches_of(examples, 5, mask_size=None if form is devices.CPU else (80, 96))
    batches = batches.map(lambda images, masks, sizes: ((images, tf.constant(other)), masks, sizes))
    with devices.asking_for(form):
        evaluator = Evaluator(tiny_model, labels, per_image=True, keeps_maps=True, flips=True)
        scores, _, class_maps = collect(evaluator, batches)
    losses = []
    for class_map, small, (image, mask) in zip(class_maps, other, examples, strict=True):
        views = []
        for view in (image, small):
            views.append(tiny_model.quarter_logits(view[None]))
            views.append(tiny_model.quarter_logits(view[None, :, ::-1])[:, :, ::-1])
        resized = [tf.image.resize(logits, mask.shape)[0] for logits in views]
        mean = np.mean([tf.nn.softmax(logits).numpy() for logits in resized], axis=0)
        assert np.mean(class_map != mean.argmax(-1)) < 1e-3
        rows, columns = np.nonzero(mask != VOID)
        losses.append(-np.log(mean[rows, columns, mask[rows, columns]]))
    assert scores.loss == pytest.approx(np.concatenate(losses).mean(), rel=1e-4)


@pytest.fixture
def own_model(tiny_model_dir, examples):
    """A model that is not shared, so that a test may change it."""
    from tfseg.models import segformer

    return segformer.load_model(tiny_model_dir), batches_of(examples[:2], 2)


def test_an_evaluation_uses_the_current_weights(own_model, labels):
    model, batches = own_model
    evaluator = Evaluator(model, labels)
    before = evaluator.evaluate(batches).confusion
    bias = model.network.decode_head.classifier.bias
    bias.assign([0.0, 0.0, 1e4, 0.0, 0.0])
    after = evaluator.evaluate(batches).confusion
    assert after[:, 2].sum() == after.sum() == before.sum()
    assert before[:, 2].sum() < before.sum()


@pytest.mark.parametrize("count", [3, 0])
def test_a_data_set_without_a_valid_pixel_is_refused(evaluator, examples, count):
    void = [(image, np.full_like(mask, VOID)) for image, mask in examples]
    with pytest.raises(UserError, match=rf"every pixel of the {count} eval examples is void"):
        evaluator.evaluate(batches_of(void, 3).take(1 if count else 0))


def test_a_negative_ignore_index_marks_void(tiny_model, examples):
    labels = LabelSpec(tiny_model.labels.names, ignore_index=-1)
    negative = [(image, np.where(mask == VOID, -1, mask)) for image, mask in examples]
    scores = Evaluator(tiny_model, labels).evaluate(batches_of(negative, 3, void=-1))
    _, losses = score_by_hand(tiny_model, examples)
    assert scores.loss == pytest.approx(losses.mean(), rel=1e-5)
    assert scores.confusion.sum() == len(losses)


def test_scoring_uses_no_dropout_and_updates_no_batch_statistics(evaluator, tiny_model, examples):
    before = [variable.numpy() for variable in tiny_model.non_trainable_variables]
    first, second = (evaluator.evaluate(batches_of(examples, 2)).loss for _ in range(2))
    assert first == second
    for variable, value in zip(tiny_model.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_undefined_metrics_are_null_in_json():
    text = metrics_to_json({"loss": 0.5, "iou_cat": math.nan, "dataset": "pets"})
    assert json.loads(text) == {"loss": 0.5, "iou_cat": None, "dataset": "pets"}
