"""Training in mixed precision and under XLA gives what float32 without XLA gives."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from transformers import SegformerConfig

from tfseg import devices
from tfseg.config import DataConfig, TrainDataConfig
from tfseg.data import evaluation_batches, pipeline
from tfseg.data.labels import LabelSpec
from tfseg.data.transforms import Preprocessing
from tfseg.evaluation import evaluator
from tfseg.losses.cross_entropy import SegmentationCrossEntropy
from tfseg.models import checkpoint, initializers, segformer
from tfseg.training import learning_rate, optimizers
from tfseg.training.state import TrainingState, restore_newest

LABELS = LabelSpec(("dark", "red", "green", "blue"))
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SIZE = 32
STEPS = 50


def build(precision="float32", **rates):
    """Builds a tiny SegFormer of two stages, because XLA needs half a minute to compile four."""
    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        hidden_sizes=[16, 24],
        num_attention_heads=[1, 2],
        sr_ratios=[2, 1],
        mlp_ratios=[4, 4],
        patch_sizes=[7, 3],
        strides=[4, 2],
        decoder_hidden_size=32,
        **{"drop_path_rate": 0.0, "classifier_dropout_prob": 0.0, **rates},
    )
    checkpoint.set_labels(config, LABELS)
    model = segformer.Segformer(config, LABELS, Preprocessing((SIZE, SIZE)), precision=precision)
    initializers.initialize(model.network, seed=0)
    return model


def draw_batch(seed, count=8):
    """Draws noisy images of tiles whose colours tell their classes; the top row is void."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(0, 4, (count, 4, 4)).astype(np.int32)
    masks = tiles.repeat(SIZE // 4, 1).repeat(SIZE // 4, 2)
    colors = np.concatenate([np.zeros((1, 3)), np.eye(3)]).astype(np.float32)
    images = colors[masks] + rng.normal(0, 0.5, (*masks.shape, 3)).astype(np.float32)
    masks[:, 0] = LABELS.ignore_index
    return images, masks


def compile_for_training(model, *, steps=STEPS, jit_compile=False):
    schedule = learning_rate.build_schedule("polynomial", learning_rate=3e-3, total_steps=steps)
    optimizer = optimizers.build_optimizer(schedule, weight_decay=0.01, gradient_clip_norm=1.0)
    loss = SegmentationCrossEntropy(LABELS.ignore_index)
    model.compile(optimizer, loss, jit_compile=jit_compile)


def train(model, *, steps, jit_compile=False):
    """Returns the loss of each step."""
    compile_for_training(model, steps=steps, jit_compile=jit_compile)
    batches = [draw_batch(seed) for seed in range(steps)]
    images, masks = (np.stack(part) for part in zip(*batches, strict=True))
    data = tf.data.Dataset.from_tensor_slices((images, masks))
    # One step per epoch, because Keras reports the mean loss of an epoch.
    history = model.fit(data.repeat(), steps_per_epoch=1, epochs=steps, verbose=0)
    return history.history["loss"]


@pytest.fixture(scope="module")
def trained():
    """For each precision a model after `STEPS` steps, and the loss of each step."""
    models = {precision: build(precision) for precision in PRECISIONS}
    return {name: (model, train(model, steps=STEPS)) for name, model in models.items()}


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_fifty_steps_end_within_two_percent_of_float32(trained, precision):
    expected, losses = trained["float32"][1], trained[precision][1]
    assert np.isfinite(losses).all()
    assert np.mean(expected[-10:]) < 0.8 * expected[0]
    assert np.mean(losses[-10:]) == pytest.approx(np.mean(expected[-10:]), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_and_logits_stay_float32(trained, precision):
    model, _ = trained[precision]
    images, _ = draw_batch(STEPS)
    assert {variable.dtype for variable in model.variables} == {tf.float32}
    assert {slot.dtype for slot in model.optimizer.variables if slot.shape.rank} == {tf.float32}
    assert model.quarter_logits(images).dtype == tf.float32
    assert model(images).dtype == tf.float32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", tf.float32), ("mixed_bfloat16", tf.bfloat16), ("mixed_float16", tf.float16)],
)
def test_features_have_the_policys_dtype(trained, precision, dtype):
    images, _ = draw_batch(STEPS)
    encoder = trained[precision][0].network.segformer.encoder
    assert {each.dtype for each in encoder(images, output_hidden_states=True).hidden_states} == {
        dtype
    }


def test_a_policy_ends_with_the_models_making():
    build("mixed_bfloat16")
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    assert tf.keras.layers.Dense(1).compute_dtype == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_a_saved_model_loads_in_float32_with_the_same_weights(trained, precision, tmp_path):
    model, _ = trained[precision]
    segformer.save_model(model, str(tmp_path))
    loaded = segformer.load_model(str(tmp_path))
    assert loaded.compute_dtype == "float32"
    assert loaded.network.decode_head.classifier.compute_dtype == "float32"
    for mine, theirs in zip(loaded.variables, model.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    images, _ = draw_batch(STEPS)
    expected = loaded.quarter_logits(images).numpy()
    received = model.quarter_logits(images).numpy()
    np.testing.assert_allclose(received, expected, atol=0.1 * expected.std())


@pytest.mark.slow
def test_float16_scales_the_loss_and_clips_the_true_gradient(trained):
    optimizer = trained["mixed_float16"][0].optimizer
    assert isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer)
    assert float(optimizer.loss_scale) > 1
    assert optimizer.inner_optimizer.global_clipnorm == 1.0
    assert int(optimizer.iterations) == STEPS


@pytest.mark.slow
def test_float16_resumes_with_its_loss_scale(trained, tmp_path):
    model, _ = trained["mixed_float16"]
    restore = functools.partial(
        restore_newest, state=TrainingState(), folder=tmp_path, keep_checkpoints=1
    )
    manager = restore(model)
    model.optimizer.dynamic_counter.assign(17)
    manager.save(checkpoint_number=1)
    other = build("mixed_float16")
    compile_for_training(other)
    restore(other)
    assert int(other.optimizer.dynamic_counter) == 17
    assert float(other.optimizer.loss_scale) == float(model.optimizer.loss_scale)
    for mine, theirs in zip(other.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    for mine, theirs in zip(other.variables, model.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rates_act_in_every_precision(precision):
    model = build(precision, drop_path_rate=0.5, classifier_dropout_prob=0.5)
    images, _ = draw_batch(0)
    first, second = (model.quarter_logits(images, training=True).numpy() for _ in range(2))
    assert np.isfinite(first).all()
    assert (first != second).any()


def test_the_form_of_an_accelerator_rounds_no_more_than_that_of_a_cpu():
    images, _ = draw_batch(0)
    exact = build().quarter_logits(images).numpy()
    model = build("mixed_bfloat16")
    errors = []
    for form in (devices.CPU, devices.TPU):
        with devices.asking_for(form):
            logits = tf.function(model.quarter_logits)(images)
        assert logits.dtype == tf.float32
        errors.append(np.sqrt(np.mean((logits - exact) ** 2)) / exact.std())
    assert 0 < errors[0] < 0.05
    assert errors[1] < 1.3 * errors[0]


@pytest.mark.parametrize("form", [devices.GPU, devices.TPU])
@pytest.mark.slow
def test_training_in_the_form_of_an_accelerator_gives_the_same_losses(form):
    expected = train(build(), steps=5)
    with devices.asking_for(form):
        received = train(build(), steps=5)
    np.testing.assert_allclose(received, expected, rtol=1e-4)


@pytest.mark.slow
def test_an_xla_compiled_step_gives_the_same_losses():
    expected = train(build(), steps=3)
    model = build()
    received = train(model, steps=3, jit_compile=True)
    assert model.jit_compile
    np.testing.assert_allclose(received, expected, rtol=1e-4)
    assert expected[0] != expected[1]


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_xla_compiles_every_precision_with_its_rates(precision):
    rates = {"drop_path_rate": 0.1, "classifier_dropout_prob": 0.1}
    assert np.isfinite(train(build(precision, **rates), steps=3, jit_compile=True)).all()


def loss_on_shapes(precision):
    """Returns the eval loss of a B0 without dropout after 50 steps on `shapes`."""
    data = DataConfig(dataset="shapes")
    spec, preprocessing = pipeline.get_spec(data), Preprocessing((128, 128))
    train_split, eval_split = (
        pipeline.load_split(spec, data, split, count)
        for split, count in (("train", 400), ("test", 40))
    )
    config = SegformerConfig(drop_path_rate=0.0, classifier_dropout_prob=0.0)
    checkpoint.set_labels(config, spec.labels)
    model = segformer.Segformer(config, spec.labels, preprocessing, precision=precision)
    initializers.initialize(model.network, seed=0)
    # With a larger learning rate, any rounding would change the loss by several percent.
    schedule = learning_rate.build_schedule("polynomial", learning_rate=2e-4, total_steps=STEPS)
    optimizer = optimizers.build_optimizer(schedule, weight_decay=0.01, gradient_clip_norm=1.0)
    model.compile(optimizer, SegmentationCrossEntropy(spec.labels.ignore_index))
    settings = TrainDataConfig(augmentation="none")
    batches = pipeline.build_training(
        train_split, settings, preprocessing, spec.labels, batch_size=8, seed=0
    )
    model.fit(batches, steps_per_epoch=STEPS, verbose=0)
    eval_batches = evaluation_batches.build_evaluation(
        eval_split, preprocessing, spec.labels, batch_size=8
    )
    return evaluator.Evaluator(model, spec.labels).evaluate(eval_batches).loss


@pytest.mark.slow
def test_fifty_steps_on_shapes_end_within_two_percent_of_float32():
    losses = {precision: loss_on_shapes(precision) for precision in PRECISIONS}
    assert losses["float32"] < 1.4  # 1.78 at the start
    assert losses == pytest.approx(dict.fromkeys(PRECISIONS, losses["float32"]), rel=0.02)
    assert len(set(losses.values())) == 3
