"""The model computes what PyTorch's computes, has the published sizes and trains with Keras."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.losses.cross_entropy import SegmentationCrossEntropy
from tfseg.models import checkpoint, network, segformer, weights

LABELS = LabelSpec(("sky", "road", "tree", "car", "person"))
# Weights of Hugging Face's SegformerForSemanticSegmentation for 150 classes; the paper's table 2
# gives 3.8, 13.7, 27.5, 47.3, 64.1 and 84.7 million.
WEIGHT_COUNTS = {
    "mit-b0": 3_752_694,
    "mit-b1": 13_715_798,
    "mit-b2": 27_461_974,
    "mit-b3": 47_337_814,
    "mit-b4": 64_108_374,
    "mit-b5": 84_708_694,
}
CASES = ("even", "odd")


@pytest.fixture(scope="module")
def model(reference_dir):
    return segformer.load_model(str(reference_dir))


def case_of(reference, case):
    images = reference[f"{case}/images"].astype(np.float32)
    return images, reference[f"{case}/masks"].astype(np.int32)


@pytest.mark.parametrize("case", CASES)
def test_quarter_logits_equal_pytorchs(model, reference, case):
    images, _ = case_of(reference, case)
    expected = reference[f"{case}/logits"]
    received = model.quarter_logits(images).numpy()
    assert expected.std() > 0.5
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_loss_with_void_pixels_equals_pytorchs(model, reference, case):
    images, masks = case_of(reference, case)
    assert 0.1 < np.mean(masks == 255) < 0.3
    loss = SegmentationCrossEntropy(ignore_index=255)
    expected = float(reference[f"{case}/loss"])
    assert float(loss(masks, model(images))) == pytest.approx(expected, abs=1e-4)
    assert float(loss(masks, model.quarter_logits(images))) == pytest.approx(expected, abs=1e-4)


def test_gradients_of_the_loss_equal_pytorchs(model, reference):
    images, masks = case_of(reference, "even")
    variables = model.network.trainable_variables
    with tf.GradientTape() as tape:
        loss = SegmentationCrossEntropy(ignore_index=255)(masks, model(images))
    largest = max(np.abs(reference[name]).max() for name in reference if "gradient/" in name)
    compared = set()
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        name, transpose = weights.pytorch_name(variable.name, variable.shape)
        array = weights.pytorch_layout.apply_transpose(
            transpose, tf.convert_to_tensor(gradient).numpy(), pt_to_tf=False
        )
        expected = reference[f"gradient/{name}"]
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-4 * largest, err_msg=name)
        compared.add(f"gradient/{name}")
    assert compared == {name for name in reference if name.startswith("gradient/")}


@pytest.mark.parametrize("case", CASES)
def test_a_call_gives_logits_at_the_images_size(model, reference, case):
    images, _ = case_of(reference, case)
    logits = model(images, training=False)
    assert logits.dtype == tf.float32
    assert logits.shape == (*images.shape[:3], 5)
    quarter = model.quarter_logits(images)
    assert quarter.shape[1:3] == tuple(-(-size // 4) for size in images.shape[1:3])
    resized = tf.image.resize(quarter, images.shape[1:3])
    np.testing.assert_allclose(logits.numpy(), resized.numpy(), atol=1e-6)


def count_weights(backbone):
    labels = LabelSpec(tuple(f"class {index}" for index in range(150)))
    model = segformer.build_model(labels, (64, 64), backbone=backbone)
    return sum(variable.shape.num_elements() for variable in model.trainable_variables)


@pytest.mark.parametrize("backbone", ["mit-b0", "mit-b1", "mit-b2"])
def test_number_of_weights(backbone):
    assert count_weights(backbone) == WEIGHT_COUNTS[backbone]


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["mit-b3", "mit-b4", "mit-b5"])
def test_number_of_receivedof_the_large_backbones(backbone):
    assert count_weights(backbone) == WEIGHT_COUNTS[backbone]


@pytest.mark.parametrize("backbone", WEIGHT_COUNTS)
def test_pytorch_builds_the_same_size_from_our_config(backbone):
    torch = pytest.importorskip("torch")
    from transformers import SegformerForSemanticSegmentation

    config = network.config_for_backbone(backbone)
    checkpoint.set_labels(config, LabelSpec(tuple(f"class {index}" for index in range(150))))
    with torch.device("meta"):
        model = SegformerForSemanticSegmentation(config)
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted == WEIGHT_COUNTS[backbone]


def test_an_unknown_backbone_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"--backbone=mit-b6 .*mit-b0.*mit-b5"):
        segformer.build_model(LABELS, (64, 64), backbone="mit-b6")


@pytest.mark.parametrize(
    ("rate", "expected"), [(None, 0.1), (0.0, 0.0), (0.3, 0.3)], ids=["default", "0", "0.3"]
)
def test_drop_path_from_scratch_is_transformers_default_unless_given(rate, expected):
    model = segformer.build_model(LABELS, (32, 32), drop_path_rate=rate)
    assert model.network.config.drop_path_rate == expected
    last = model.network.segformer.encoder.block[-1][-1].drop_path
    assert getattr(last, "drop_path", 0.0) == pytest.approx(expected)


@pytest.mark.parametrize("freeze_encoder", [False, True])
def test_a_frozen_encoder_leaves_the_head_trainable(reference_dir, freeze_encoder):
    model = segformer.build_model(
        LABELS, (32, 64), init_from=str(reference_dir), freeze_encoder=freeze_encoder
    )
    parts = {variable.name.split("/")[1] for variable in model.trainable_variables}
    assert parts == ({"decode_head"} if freeze_encoder else {"decode_head", "segformer"})


def test_a_saved_model_loads_with_equal_logits_and_facts(reference_dir, reference, tmp_path):
    labels = LabelSpec(
        LABELS.names, palette=tuple((10 * index, 5, 200) for index in range(5)), ignore_index=-1
    )
    model = segformer.build_model(labels, (32, 64), init_from=str(reference_dir))
    segformer.save_model(model, str(tmp_path / "saved"))
    loaded = segformer.load_model(str(tmp_path / "saved"))
    assert loaded.labels == labels
    assert loaded.preprocessing == model.preprocessing
    images, _ = case_of(reference, "even")
    np.testing.assert_array_equal(loaded(images).numpy(), model(images).numpy())
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["architectures"] == [
        "SegformerForSemanticSegmentation"
    ]


def test_saving_over_a_folder_replaces_its_weights(reference_dir, reference, tmp_path):
    model = segformer.build_model(LABELS, (32, 64), init_from=str(reference_dir))
    segformer.save_model(model, str(tmp_path))
    model.network.decode_head.classifier.bias.assign_add(tf.ones(5))
    segformer.save_model(model, str(tmp_path))
    images, _ = case_of(reference, "odd")
    loaded = segformer.load_model(str(tmp_path))
    np.testing.assert_array_equal(loaded(images).numpy(), model(images).numpy())
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.json", "preprocessor_config.json", "model.safetensors"}


def test_keras_fit_learns(reference_dir, reference):
    model = segformer.build_model(LABELS, (32, 64), init_from=str(reference_dir))
    images, _ = case_of(reference, "even")
    masks = np.where(images[..., 0] > 0, 3, 1).astype(np.int32)
    masks[:, ::5] = LABELS.ignore_index
    model.compile(tf.keras.optimizers.Adam(1e-2), SegmentationCrossEntropy(LABELS.ignore_index))
    before = {variable.name: variable.numpy() for variable in model.variables}
    history = model.fit(images, masks, batch_size=2, epochs=12, verbose=0)
    losses = history.history["loss"]
    assert np.all(np.isfinite(losses))
    assert losses[-1] < 0.7 * losses[0]
    moved = {
        name.split("/", 1)[1]
        for name, value in before.items()
        for variable in model.variables
        if variable.name == name and np.abs(variable.numpy() - value).max() > 0
    }
    assert "decode_head/batch_norm/moving_mean:0" in moved
    assert "segformer/encoder/patch_embeddings.0/proj/kernel:0" in moved


def fit_one_step(model, data):
    model.compile(tf.keras.optimizers.SGD(0.1), SegmentationCrossEntropy(LABELS.ignore_index))
    history = model.fit(data, epochs=1, verbose=0)
    return history.history["loss"][0], [variable.numpy() for variable in model.variables]


class DefaultStep(segformer.Segformer):
    """Trains as Keras does by default, from logits at the size of the images."""

    train_step = tf.keras.Model.train_step


@pytest.mark.parametrize("factor", [None, pytest.param(3.0, marks=pytest.mark.slow)])
def test_a_training_step_is_kerass_own_from_quarter_logits(plain_model_dir, make_image, factor):
    model = segformer.load_model(plain_model_dir)
    other = DefaultStep(model.network.config, model.labels, model.preprocessing)
    for mine, theirs in zip(other.variables, model.variables, strict=True):
        mine.assign(theirs)
    images = np.stack([make_image(64, 96), make_image(64, 96, seed=1)]) / np.float32(255)
    masks = np.random.default_rng(0).integers(0, 5, (2, 64, 96)).astype(np.int32)
    # The loss is one number, so a sample weight is one number too.
    arrays = (images, masks) if factor is None else (images, masks, np.array([factor], np.float32))
    data = tf.data.Dataset.from_tensors(arrays)
    before = [variable.numpy() for variable in model.variables]
    loss, received = fit_one_step(model, data)
    expected_loss, expected_weights = fit_one_step(other, data)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for mine, theirs in zip(received, expected_weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    moves = [np.abs(mine - old).max() for mine, old in zip(received, before, strict=True)]
    assert max(moves) > 0.01


@pytest.mark.slow
def test_logits_have_the_images_size_after_a_fit_and_in_metrics(plain_model_dir, make_image):
    model = segformer.load_model(plain_model_dir)
    images = make_image(64, 96)[None] / np.float32(255)
    masks = np.argmax(model(images), -1).astype(np.int32)
    model.compile(
        tf.keras.optimizers.SGD(0.0),
        SegmentationCrossEntropy(LABELS.ignore_index),
        metrics=[tf.keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    history = model.fit(images, masks, verbose=0)
    assert history.history["accuracy"][0] > 0.2  # below 1, because training uses batch statistics
    assert model(images).shape == (1, 64, 96, 5)
    assert model.evaluate(images, masks, verbose=0, return_dict=True)["accuracy"] > 0.9


def test_keras_model_checkpoint_saves_the_best_weights(plain_model_dir, make_image, tmp_path):
    model = segformer.load_model(plain_model_dir)
    images = make_image(64, 96)[None] / np.float32(255)
    masks = np.zeros((1, 64, 96), np.int32)
    scores = iter([0.3, 0.5, 0.4])
    biases = []

    class Score(tf.keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_mean_iou"] = next(scores)
            biases.append(model.network.decode_head.classifier.bias.numpy())

    keep_best = tf.keras.callbacks.ModelCheckpoint(
        str(tmp_path / "run" / "best"), monitor="val_mean_iou", mode="max", save_best_only=True
    )
    model.compile(tf.keras.optimizers.SGD(0.1), SegmentationCrossEntropy(LABELS.ignore_index))
    model.fit(images, masks, epochs=3, verbose=0, callbacks=[Score(), keep_best])
    loaded = segformer.load_model(str(tmp_path / "run" / "best"))
    np.testing.assert_array_equal(loaded.network.decode_head.classifier.bias.numpy(), biases[1])
    assert not np.array_equal(biases[1], biases[2])
    assert loaded.labels == model.labels


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("best.keras", {}),
        ("best.h5", {}),
        ("best", {"save_format": "tf"}),
        ("best", {"options": tf.saved_model.SaveOptions(save_debug_info=True)}),
        ("full", {"overwrite": False}),
    ],
)
def test_what_a_save_cannot_honour_is_refused(plain_model_dir, tmp_path, name, arguments):
    model = segformer.load_model(plain_model_dir)
    model.save(str(tmp_path / "full"))
    with pytest.raises(UserError) as error:
        model.save(str(tmp_path / name), **arguments)
    assert "\n" not in str(error.value)
    assert name in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    with pytest.raises(TypeError, match="include_optimizer"):
        model.save(str(tmp_path / "best"), include_optimizer=True)
