"""Images per second of the input pipeline: `python -m tests.benchmarks.input_pipeline`.

They are compared to the images per second that the training of SegFormer-B0 consumes; a ratio above
1 means that the pipeline is fast enough. The pipeline reads JPEG photographs of 500x375 and PNG
masks and applies the standard augmentation to 512x512. Pipeline and training are measured one after
the other, each on all cores. The work `cached_512` keeps decoded examples in memory, as tfseg does
up to 2 GiB; `files_512` decodes the files in every epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import comparison, contestants, harness
from tests.benchmarks.works import Work, prepare, write_photographs

WORKS = (
    Work("files_512", batch_size=2, image_size=512, num_classes=3, steps=100, cache="none"),
    Work("cached_512", batch_size=2, image_size=512, num_classes=3, steps=100, cache="memory"),
    Work("tiny", batch_size=2, image_size=64, num_classes=5, steps=4),
)
NUM_PHOTOGRAPHS = 64
TRAINING_STEPS = 5
WARMUP_BATCHES = 40  # more than one pass over the photographs, so that the cache is full


def measure(work, folder, rounds):
    harness.run_alone(prepare, work, folder)
    write_photographs(folder, work.num_classes, {"train": NUM_PHOTOGRAPHS})
    workers = {
        "tfseg": harness.Worker(build_pipeline_meter, work, folder),
        "training": harness.Worker(build_training_meter, work, folder),
    }
    values = harness.alternate_workers(workers, rounds)
    rows = [
        comparison.Comparison(
            work.name,
            "training",
            values["tfseg"],
            values["training"],
            "images/s",
            larger_is_better=True,
        )
    ]
    return rows, rows


def build_training_meter(work: Work, folder: Path) -> tuple[None, Callable[[], float]]:
    _, seconds_per_step = contestants.build_train_timer("tfseg", folder, TRAINING_STEPS)
    return None, lambda: work.batch_size / seconds_per_step()


def build_pipeline_meter(work: Work, folder: Path) -> tuple[None, Callable[[], float]]:
    from tfseg.config import DataConfig, TrainDataConfig
    from tfseg.data import pipeline
    from tfseg.data.transforms import Preprocessing

    data = DataConfig(dataset=f"folder:{folder}")
    spec = pipeline.get_spec(data)
    batches = pipeline.build_training(
        pipeline.load_split(spec, data, "train", None),
        TrainDataConfig(augmentation="standard", cache=work.cache),
        Preprocessing((work.image_size, work.image_size)),
        spec.labels,
        batch_size=work.batch_size,
        seed=0,
    )
    return None, harness.batch_meter(batches, work, WARMUP_BATCHES)


if __name__ == "__main__":
    harness.run(measure, WORKS)
