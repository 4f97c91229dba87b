"""Images per second that tfseg.eval scores from masks: `python -m tests.benchmarks.eval_rate`.

The peer is mean_iou of Hugging Face's `evaluate`, on the same PNG masks: it is fetched from the
Hub, or read from the script that --evaluate_module names (`metrics/mean_iou/mean_iou.py` of
github.com/huggingface/evaluate). It reads the masks with PIL. Of its two ways, `compute`, which
passes the masks through a table of Arrow, and `_compute`, which Hugging Face's guides call because
it is faster, the better one counts. tfseg scores with `--predictions`, from the start of
`run_evaluation` to its figures, the bootstrap among them. Each takes all the cores that it knows
how to use, and all read from the page cache.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from PIL import Image

from tests.benchmarks import comparison, harness
from tests.benchmarks.works import Work, write_photographs

# `steps` is the number of images.
WORKS = (
    Work("3 classes", batch_size=1, image_size=0, num_classes=3, steps=1000),
    Work("150 classes", batch_size=1, image_size=0, num_classes=150, steps=1000),
    Work("tiny", batch_size=1, image_size=0, num_classes=5, steps=8),
)
_VARIANTS = ("compute", "_compute")


def measure(work, folder, rounds):
    harness.run_alone(write_photographs, folder, work.num_classes, {"train": 1, "val": work.steps})
    write_predictions(folder, work.num_classes)
    module = flags.FLAGS.evaluate_module
    builds = {"tfseg": (build_tfseg, work, folder)}
    for variant in _VARIANTS:
        builds[f"evaluate/{variant}"] = (build_evaluate, work, folder, variant, module)
    workers = harness.start_workers(builds)
    for name, worker in workers.items():
        error = abs(worker.evidence - workers["tfseg"].evidence)
        assert error < 1e-9, f"mean IoU of {name} is {error} off"
    values = harness.alternate_workers(workers, rounds)
    rows = [
        comparison.Comparison(work.name, name, values["tfseg"], values[name], "images/s", True)
        for name in values
        if name != "tfseg"
    ]
    return rows, [max(rows, key=lambda row: sum(row.peer_values))] if rows else []


def write_predictions(folder: Path, num_classes: int) -> None:
    """Writes a predicted mask for each image: its mask, with a third of the rows drawn anew."""
    rng = np.random.default_rng(1)
    (folder / "predictions").mkdir()
    for path in sorted((folder / "annotations" / "val").iterdir()):
        mask = np.array(Image.open(path))
        mask[: len(mask) // 3] = rng.integers(0, num_classes)
        Image.fromarray(mask).save(folder / "predictions" / path.name)


def build_tfseg(work: Work, folder: Path) -> tuple[float, Any]:
    from tfseg.config import DataConfig, EvalConfig, EvalRunConfig
    from tfseg.evaluation.run import run_evaluation

    config = EvalConfig(
        EvalRunConfig(predictions=str(folder / "predictions")),
        DataConfig(dataset=f"folder:{folder}"),
    )

    def images_per_second() -> float:
        started = time.perf_counter()
        run_evaluation(config)
        return work.steps / (time.perf_counter() - started)

    return run_evaluation(config)["mean_iou"], images_per_second


def build_evaluate(work: Work, folder: Path, variant: str, module: str) -> tuple[float, Any]:
    import evaluate

    metric = evaluate.load(module)
    names = sorted(path.name for path in (folder / "predictions").iterdir())

    def score() -> float:
        maps = {
            side: [np.array(Image.open(folder / part / name)) for name in names]
            for side, part in (("predictions", "predictions"), ("references", "annotations/val"))
        }
        options = {"num_labels": work.num_classes, "ignore_index": 255, "reduce_labels": False}
        return getattr(metric, variant)(**maps, **options)["mean_iou"]

    def images_per_second() -> float:
        started = time.perf_counter()
        score()
        return work.steps / (time.perf_counter() - started)

    return score(), images_per_second


if __name__ == "__main__":
    flags.DEFINE_string("evaluate_module", "mean_iou", "name on the Hub, or path, of the peer")
    harness.run(measure, WORKS)
