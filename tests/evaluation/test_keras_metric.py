"""KerasMeanIoU gives `evaluate`'s figures, and works where Keras uses metrics."""

import subprocess
import sys

import numpy as np
import pytest

from tests.evaluation.test_mean_iou import CASES, REFERENCE, reference_maps
from tfseg.evaluation import KerasMeanIoU, MeanIoU
from tfseg.losses.cross_entropy import SegmentationCrossEntropy
from tfseg.models import load_model

import tensorflow as tf  # isort: skip  (after tfseg)

VOID = 255


@pytest.mark.parametrize(
    "name", ["void_pixels", "absent_classes", "predicted_never_true", "all_images_void"]
)
def test_equals_evaluate(name):
    metric = KerasMeanIoU(CASES[name]["num_labels"], CASES[name]["ignore_index"])
    sides = (reference_maps(name, side) for side in ("references", "predictions"))
    for mask, class_map in zip(*sides, strict=True):
        metric.update_state(mask[None], class_map[None])
    for key, value in metric.result().items():
        np.testing.assert_allclose(value, REFERENCE[f"{name}/{key}"], rtol=0, atol=1e-6)


def test_logits_are_resized_to_the_masks_and_counts_start_anew(rng):
    masks = rng.integers(0, 3, (2, 8, 12))
    logits = rng.normal(size=(2, 4, 6, 3)).astype(np.float32)
    metric = KerasMeanIoU(3, VOID)
    class_maps = tf.argmax(tf.image.resize(logits, (8, 12)), -1).numpy()
    expected = MeanIoU().compute(
        predictions=class_maps, references=masks, num_labels=3, ignore_index=VOID
    )
    for _ in range(2):
        metric.reset_state()
        metric.update_state(masks, logits)
        assert metric.result()["mean_iou"].numpy() == pytest.approx(expected["mean_iou"], abs=1e-6)


def test_a_copy_of_its_configuration_counts_the_same():
    copy = KerasMeanIoU.from_config(KerasMeanIoU(4, -1, name="score").get_config())
    copy.update_state([[[0, -1]]], [[[0, 3]]])
    assert copy.name == "score"
    assert copy.result()["overall_accuracy"] == 1
    with pytest.raises(ValueError, match="no sample weights"):
        copy.update_state([[[0]]], [[[0]]], sample_weight=[1.0])


@pytest.fixture
def batches(rng):
    images = rng.normal(size=(4, 64, 96, 3)).astype(np.float32)
    masks = rng.integers(0, 5, (4, 64, 96)).astype(np.int32)
    masks[:, :3] = VOID
    return tf.data.Dataset.from_tensor_slices((images, masks)).batch(2)


@pytest.mark.slow
def test_keras_and_transformers_callbacks_work_in_fit(plain_model_dir, batches, tmp_path):
    from transformers.keras_callbacks import KerasMetricCallback

    def compute_metrics(predictions):
        logits, labels = predictions
        scores = MeanIoU()._compute(
            predictions=logits.argmax(-1), references=labels, num_labels=5, ignore_index=VOID
        )
        return {"guide_mean_iou": scores["mean_iou"]}

    model = load_model(plain_model_dir)
    model.compile(
        optimizer=tf.keras.optimizers.Adam(1e-3),
        loss=SegmentationCrossEntropy(VOID),
        metrics=[KerasMeanIoU(5, VOID)],
    )
    history = model.fit(
        batches,
        epochs=2,
        validation_data=batches,
        verbose=0,
        callbacks=[
            KerasMetricCallback(compute_metrics, batches),
            tf.keras.callbacks.ModelCheckpoint(
                str(tmp_path / "best"), monitor="val_mean_iou", mode="max", save_best_only=True
            ),
        ],
    ).history
    np.testing.assert_allclose(history["val_mean_iou"], history["guide_mean_iou"], atol=1e-6)
    best = load_model(str(tmp_path / "best"))
    metric = KerasMeanIoU(5, VOID)
    for images, masks in batches:
        metric.update_state(masks, best(images))
    assert metric.result()["mean_iou"].numpy() == pytest.approx(
        max(history["val_mean_iou"]), abs=1e-6
    )


# Its own process, because logical devices must be set up before TensorFlow uses any.
ON_TWO_DEVICES = """
import tfseg, numpy as np, tensorflow as tf
from tfseg.evaluation import KerasMeanIoU
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
rng = np.random.default_rng(0)
masks, class_maps = rng.integers(0, 3, (2, 6, 5, 7))
with strategy.scope():
    metric = KerasMeanIoU(3, 255)
alone = KerasMeanIoU(3, 255)
alone.update_state(masks, class_maps)
data = tf.data.Dataset.from_tensor_slices((masks, class_maps)).batch(4)
@tf.function
def step(batch):
    strategy.run(metric.update_state, batch)
for batch in strategy.experimental_distribute_dataset(data):
    step(batch)
for key, value in alone.result().items():
    assert abs(value - metric.result()[key]) < 1e-6, key
assert 0 < float(value) < 1
"""


@pytest.mark.slow
def test_two_devices_count_what_one_counts():
    subprocess.run([sys.executable, "-c", ON_TWO_DEVICES], check=True, timeout=300)
