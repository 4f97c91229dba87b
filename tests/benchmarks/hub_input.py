"""The input of a Hugging Face data set: `python -m tests.benchmarks.hub_input`.

It measures images per second, and the peak resident memory of one shuffled epoch in a process of
its own. The data set is a parquet file with 2,000 JPEG photographs of 500x375 (coloured clouds with
sensor noise, 57 kB each; 250 different ones, each stored 8 times) and PNG masks. Both contestants
decode, resize to 512x512, flip at random, normalise, shuffle and batch.

`hf_guide` is the way of transformers' guide for TensorFlow: `Dataset.set_transform` with PIL and
`SegformerImageProcessor`, and `Dataset.to_tf_dataset` with `DefaultDataCollator`. The peer
`hf_workers` is the same with one worker process per core, which the guide does not use; its memory
is spread over processes and not compared.
https://huggingface.co/docs/transformers/v4.53.3/tasks/semantic_segmentation
"""

from __future__ import annotations

import io
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks import comparison, harness
from tests.benchmarks.works import PHOTO_SIZE, Work, draw_example

WORKS = (
    Work("hub_512", batch_size=8, image_size=512, num_classes=3, steps=60),
    Work("tiny", batch_size=2, image_size=64, num_classes=5, steps=2),
)
NUM_IMAGES, NUM_DIFFERENT, NUM_TINY = 2000, 250, 16
WARMUP_BATCHES = 10
# Mean pixel values after resizing by TensorFlow and by PIL, which rounds to whole grey levels.
MEAN_TOLERANCE = 0.02


def measure(work, folder, rounds):
    harness.run_alone(write_table, work, folder)
    contestants = {"tfseg": build_tfseg, "hf_guide": build_guide, "hf_workers": build_workers}
    rates = measure_rates(contestants, work, folder, rounds)
    rows = [
        comparison.Comparison(
            work.name, peer, rates["tfseg"], rates[peer], "images/s", larger_is_better=True
        )
        for peer in list(rates)[1:]
    ]
    memory = harness.alternate_alone(
        {name: (epoch_memory, contestants[name], work, folder) for name in ("tfseg", "hf_guide")},
        rounds,
    )
    rows += comparison.compare(work.name, memory, "GB")[0]
    return rows, rows


def measure_rates(
    contestants: dict[str, Callable], work: Work, folder: Path, rounds: int
) -> dict[str, list[float]]:
    """Measures images per second in turn, and checks that all prepare the same images."""
    workers = harness.start_workers(
        {name: (build_meter, build, work, folder) for name, build in contestants.items()}
    )
    try:
        means = {name: worker.evidence for name, worker in workers.items()}
        print("mean pixel value, mean class:", json.dumps(means), flush=True)
        for mean in means.values():
            np.testing.assert_allclose(mean, means["tfseg"], atol=MEAN_TOLERANCE)
        measures = {name: worker.measure for name, worker in workers.items()}
        return harness.alternate(measures, rounds)
    finally:
        for worker in workers.values():
            worker.close()


def write_table(work: Work, folder: Path) -> None:
    """Writes `train.parquet` and `id2label.json`."""
    import datasets

    datasets.disable_progress_bars()
    rng = np.random.default_rng(0)
    count = NUM_TINY if work.is_tiny else NUM_DIFFERENT
    images, masks = [], []
    for _ in range(count):
        image, mask = draw_example(rng, PHOTO_SIZE, work.num_classes)
        images.append(encode(image, "JPEG", quality=90))
        masks.append(encode(mask.astype(np.uint8), "PNG"))
    repeats = 1 if work.is_tiny else NUM_IMAGES // count
    table = datasets.Dataset.from_dict({"image": images * repeats, "label": masks * repeats})
    for column in ("image", "label"):
        table = table.cast_column(column, datasets.Image())
    table.to_parquet(folder / "train.parquet")
    names = {str(index): f"class {index}" for index in range(work.num_classes)}
    (folder / "id2label.json").write_text(json.dumps(names))


def encode(array: np.ndarray, file_format: str, **options) -> dict[str, bytes | None]:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, file_format, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def build_tfseg(work: Work, folder: Path, split: str = "train"):
    """Returns endless batches of tfseg, and the positions of image and mask in them."""
    from tfseg.config import DataConfig, TrainDataConfig
    from tfseg.data import pipeline
    from tfseg.data.transforms import Preprocessing

    names = str(folder / "id2label.json")
    data = DataConfig(dataset=f"hf:{folder / 'train.parquet'}", id2label=names)
    spec = pipeline.get_spec(data)
    batches = pipeline.build_training(
        pipeline.load_split(spec, data, split, None),
        TrainDataConfig(augmentation="flip", cache="none"),
        Preprocessing((work.image_size, work.image_size)),
        spec.labels,
        batch_size=work.batch_size,
        seed=0,
    )
    return batches, (0, 1)


def build_guide(work: Work, folder: Path, split: str = "train", num_workers: int = 0):
    """Returns endless batches of the guide, and the keys of image and mask in them."""
    os.environ["USE_TORCH"] = "0"  # otherwise PyTorch would count as memory
    import datasets
    from transformers import DefaultDataCollator, SegformerImageProcessor

    size = {"height": work.image_size, "width": work.image_size}
    processor, rng = SegformerImageProcessor(size=size), np.random.default_rng(0)

    def transform(batch: dict) -> dict:
        images, masks = [], []
        for image, mask in zip(batch["image"], batch["label"], strict=True):
            image = image.convert("RGB")
            if rng.random() < 0.5:
                image, mask = (
                    picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in (image, mask)
                )
            images.append(image)
            masks.append(mask)
        return processor(images, masks)

    table = datasets.load_dataset("parquet", data_files=str(folder / "train.parquet"), split=split)
    table.set_transform(transform)
    batches = table.to_tf_dataset(
        columns=["pixel_values", "labels"],
        shuffle=True,
        batch_size=work.batch_size,
        drop_remainder=True,
        collate_fn=DefaultDataCollator(return_tensors="tf"),
        num_workers=num_workers,
    )
    return batches.repeat(), ("pixel_values", "labels")


def build_workers(work: Work, folder: Path, split: str = "train"):
    return build_guide(work, folder, split, num_workers=os.cpu_count())


def build_meter(build: Callable, work: Work, folder: Path) -> tuple[list, Callable[[], float]]:
    """Returns the means of the first images and masks, and what measures images per second."""
    first, keys = build(work, folder, f"train[:{work.batch_size}]")
    batch = next(iter(first))
    means = [float(np.mean(batch[key], dtype=np.float64)) for key in keys]
    del first, batch
    batches, _ = build(work, folder)
    return means, harness.batch_meter(batches, work, WARMUP_BATCHES)


def epoch_memory(build: Callable, work: Work, folder: Path) -> float:
    """Reads one epoch; returns the peak resident memory of this process in GB."""
    batches, _ = build(work, folder)
    num_images = NUM_TINY if work.is_tiny else NUM_IMAGES
    harness.consume(iter(batches), num_images // work.batch_size)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB


if __name__ == "__main__":
    harness.run(measure, WORKS)
