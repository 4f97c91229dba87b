"""Images per second of the doctor: `python -m tests.benchmarks.doctor_rate`.

The peer decodes the same files with tf.data and does nothing else: the image and the mask of each
pair, with parallel calls as tf.data chooses them. The doctor also hashes, counts the values of the
masks and compares; a ratio below 1 is the price of that. The files are JPEG photographs of 500x375
and PNG masks. Doctor and peer take turns, each on all cores, and read from the page cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import comparison, harness
from tests.benchmarks.works import Work, write_photographs

# `steps` is the number of photographs.
WORKS = (
    Work("photographs", batch_size=1, image_size=0, num_classes=3, steps=1000),
    Work("tiny", batch_size=1, image_size=0, num_classes=5, steps=8),
)


def measure(work, folder, rounds):
    harness.run_alone(write_photographs, folder, work.num_classes, {"train": work.steps})
    workers = {
        "tfseg": harness.Worker(build_meter, work, folder, scan),
        "decoding": harness.Worker(build_meter, work, folder, decode),
    }
    values = harness.alternate_workers(workers, rounds)
    rate = comparison.Comparison(
        work.name, "decoding", values["tfseg"], values["decoding"], "images/s", True
    )
    return [rate], [rate]


def build_meter(
    work: Work, folder: Path, read: Callable[..., None]
) -> tuple[None, Callable[[], float]]:
    from tfseg.config import DataConfig
    from tfseg.data import pipeline

    data = DataConfig(dataset=f"folder:{folder}")
    spec = pipeline.get_spec(data)
    split = pipeline.open_unchecked(spec, data, "train", None)
    read(split, spec.labels)  # The first pass traces functions and fills the page cache.

    def images_per_second() -> float:
        started = time.perf_counter()
        read(split, spec.labels)
        return work.steps / (time.perf_counter() - started)

    return None, images_per_second


def scan(split, labels) -> None:
    from tfseg.inspection.scan import scan_split

    found = scan_split(split, labels, "train", num_thumbnails=6, show_progress=False)
    assert len(found.good) == split.num_examples


def decode(split, labels) -> None:
    assert sum(1 for _ in split.examples) == split.num_examples


if __name__ == "__main__":
    harness.run(measure, WORKS)
