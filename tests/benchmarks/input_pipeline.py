"""Images a second that the input pipeline makes, against those that training takes.

`python -m tests.benchmarks.input_pipeline`: JPEG photographs of 500x375 with PNG masks, standard
augmentation to 512x512, on all cores; the training of SegFormer-B0 has them to itself as well.
`cached` keeps decoded examples in memory, as tfseg does up to 2 GiB; `files` decodes each time.
"""

from __future__ import annotations

import itertools
import time
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
WARMUP_BATCHES = 40  # more than a pass over the photographs, so that the cache is full


def measure(work, folder, rounds):
    harness.run_alone(prepare, work, folder)
    write_photographs(folder, work.num_classes, {"train": NUM_PHOTOGRAPHS})
    workers = {
        "tfseg": harness.Worker(build_pipeline_meter, work, folder),
        "training": harness.Worker(build_training_meter, work, folder),
    }
    try:
        values = harness.alternate(
            {name: worker.measure for name, worker in workers.items()}, rounds
        )
    finally:
        for worker in workers.values():
            worker.close()
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
    _, seconds_a_step = contestants.build_train_timer("tfseg", folder, TRAINING_STEPS)
    return None, lambda: work.batch_size / seconds_a_step()


def build_pipeline_meter(work: Work, folder: Path) -> tuple[None, Callable[[], float]]:
    from tfseg.config.sections import DataConfig, TrainDataConfig
    from tfseg.data import pipeline
    from tfseg.data.transforms import Preprocessing

    data = DataConfig(dataset=f"folder:{folder}")
    spec = pipeline.get_spec(data)
    batches = pipeline.build_training(
        pipeline.load_split(spec, data, "train", None).examples,
        TrainDataConfig(augmentation="standard", cache=work.cache),
        Preprocessing((work.image_size, work.image_size)),
        spec.labels,
        batch_size=work.batch_size,
        seed=0,
    )

    def images_a_second() -> float:
        iterator = iter(batches)  # a new one, whose buffer did not fill while others measured
        consume(iterator, WARMUP_BATCHES)
        started = time.perf_counter()
        consume(iterator, work.steps)
        return work.batch_size * work.steps / (time.perf_counter() - started)

    return None, images_a_second


def consume(iterator, count: int) -> None:
    for _ in itertools.islice(iterator, count):
        pass


if __name__ == "__main__":
    harness.run(measure, WORKS)
