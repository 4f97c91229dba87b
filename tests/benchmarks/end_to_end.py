"""Seconds per epoch of a whole training: `python -m tests.benchmarks.end_to_end`.

The training reads image files and updates the weights. tfseg's training also computes the mean IoU
and saves a checkpoint after each epoch. The peer is transformers' TensorFlow model in the loop of
its Keras example, which computes the validation loss and saves nothing. Neither uses augmentation.
The first epoch is not timed, because it traces graphs and fills caches.
https://keras.io/examples/vision/segformer/
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.benchmarks import comparison, harness
from tests.benchmarks.works import LEARNING_RATE, Work, prepare, write_photographs

WORKS = (
    Work("b4_224_c3", batch_size=4, image_size=224, num_classes=3, steps=3),
    Work("tiny", batch_size=2, image_size=64, num_classes=5, steps=2),
)
COUNTS = {"train": 32, "val": 8}
TINY_COUNTS = {"train": 4, "val": 2}


def measure(work, folder, rounds):
    weights, photographs = folder / "weights", folder / "photographs"
    harness.run_alone(prepare, work, weights)
    counts = TINY_COUNTS if work.is_tiny else COUNTS
    write_photographs(photographs, work.num_classes, counts)
    values = harness.alternate_alone(
        {
            "tfseg": (train_tfseg, work, weights, photographs),
            "hf_tensorflow": (train_hf_tensorflow, work, weights, photographs),
        },
        rounds,
    )
    return comparison.compare(work.name, values, "seconds")


def train_tfseg(work: Work, weights: Path, photographs: Path) -> float:
    import tempfile

    from tfseg import config as configs
    from tfseg.training import fitting
    from tfseg.training.preparation import prepare_run

    with tempfile.TemporaryDirectory() as model_dir:
        config = configs.TrainConfig(
            data=configs.DataConfig(
                dataset=f"folder:{photographs}", image_size=(work.image_size, work.image_size)
            ),
            train_data=configs.TrainDataConfig(augmentation="none"),
            model=configs.ModelConfig(init_from=str(weights)),
            training=configs.TrainingConfig(
                train_batch_size=work.batch_size,
                eval_batch_size=work.batch_size,
                epochs=work.steps + 1,
                learning_rate=LEARNING_RATE,
            ),
            run=configs.RunConfig(model_dir=model_dir, keep_checkpoints=work.steps + 1),
        )
        run = prepare_run(config)
        fitting.fit(fitting.build_model(run), run)
        # Each epoch ends with writing its checkpoint, so these times are the ends of the epochs.
        ends = sorted(
            path.stat().st_mtime_ns / 1e9 for path in Path(model_dir).glob("checkpoints/*.index")
        )
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def train_hf_tensorflow(work: Work, weights: Path, photographs: Path) -> float:
    import tensorflow as tf

    from tests.benchmarks import hf_tensorflow

    ends = []
    model = hf_tensorflow.load_model(weights)
    model.compile(tf.keras.optimizers.Adam(LEARNING_RATE))
    model.fit(
        hf_tensorflow.load_examples(photographs, "train", work, is_shuffled=True),
        validation_data=hf_tensorflow.load_examples(photographs, "val", work, is_shuffled=False),
        epochs=work.steps + 1,
        verbose=0,
        callbacks=[
            tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.time()))
        ],
    )
    return (ends[-1] - ends[0]) / (len(ends) - 1)


if __name__ == "__main__":
    harness.run(measure, WORKS)
