"""What the report of a run shows: its predictions, and tables of what the run was."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import NamedTuple

import numpy as np

import tfseg
from tfseg import devices
from tfseg.config import serialization
from tfseg.data.split import Split
from tfseg.evaluation import bootstrap
from tfseg.models.segformer import Segformer
from tfseg.report.gallery import Prediction
from tfseg.report.history import read_history
from tfseg.report.page import Content
from tfseg.serving.module import ServingModule
from tfseg.training.preparation import Run

_PER_GROUP = 2  # images of each of best, median and worst
_PACKAGES = ("tensorflow", "tf-keras", "transformers", "numpy")


class Effort(NamedTuple):
    """What this process did.

    Attributes:
        steps: Training steps; 0 if the training was done already.
        train_seconds: Time that they took, with the evaluations between them and all compilation.
        eval_examples: Images of the final evaluation.
        eval_seconds: Time that it took, with its compilation.
    """

    steps: int
    train_seconds: float
    eval_examples: int = 0
    eval_seconds: float = 0.0


def build_content(
    model: Segformer,
    run: Run,
    metrics: dict[str, float],
    confusion: np.ndarray,
    counts: np.ndarray | None,
    effort: Effort,
) -> Content:
    """Returns what the report of a run shows.

    Args:
        model: The best weights, on one device.
        run: The run.
        metrics: As in `metrics.json`.
        confusion: Pixel counts, int64 `[num_classes, num_classes]`.
        counts: Of each eval image, int64 `[num_images, 3, num_classes]`, see `image_counts`; None
            if other workers have some.
        effort: What this process did.
    """
    return Content(
        title=f"{run.config.data.dataset}, {run.eval.name}",
        labels=run.spec.labels,
        metrics=metrics,
        confusion=confusion,
        history=read_history(run.model_dir / "history.csv"),
        predictions=predict_examples(model, run.eval, counts),
        iou_intervals=None if counts is None else bootstrap.class_intervals(counts),
        facts={
            "Data": _describe_data(run),
            "Speed": _describe_speed(run, effort),
            "Environment": _describe_environment(run),
            "Configuration": _describe_configuration(run),
        },
    )


def predict_examples(model: Segformer, split: Split, counts: np.ndarray | None) -> list[Prediction]:
    """Returns the best, median and worst examples of a split; any few if their scores are unknown.

    Args:
        model: A model on one device.
        split: The split that was scored.
        counts: See `build_content`.
    """
    served = ServingModule(model)
    captions = dict(choose_examples(counts, split.num_examples))
    positions = sorted(captions)  # in the order in which the split is read
    predictions = {}
    examples = split.select(positions).examples.as_numpy_iterator()
    for position, example in zip(positions, examples, strict=True):
        class_map = served.predict_images(example["image"][None])["class_map"][0].numpy()
        caption = f"{example['name'].decode(errors='replace')} {captions[position]}".strip()
        predictions[position] = Prediction(example["image"], example["mask"], class_map, caption)
    return [predictions[position] for position in captions]


def choose_examples(counts: np.ndarray | None, num_examples: int) -> list[tuple[int, str]]:
    """Returns positions in the split, and what to write beside the name of each example.

    Images without any valid pixel are never chosen by their score, because they have none.

    Args:
        counts: See `build_content`.
        num_examples: Size of the split.
    """
    if counts is None:
        spread = np.linspace(0, num_examples - 1, min(3 * _PER_GROUP, num_examples))
        return [(int(position), "") for position in spread]
    scores = bootstrap.mean_iou(counts)
    order = [int(position) for position in np.argsort(-scores, kind="stable")]
    order = [position for position in order if not np.isnan(scores[position])]
    middle = max(0, len(order) // 2 - _PER_GROUP // 2)
    groups = {
        "best": order[:_PER_GROUP],
        "median": order[middle : middle + _PER_GROUP],
        "worst": order[-_PER_GROUP:],
    }
    chosen = {}
    for group, positions in groups.items():
        for position in positions:
            chosen.setdefault(position, f"({group}, mean IoU {scores[position]:.3f})")
    return list(chosen.items())


def _describe_data(run: Run) -> dict[str, str]:
    facts = {"data set": run.config.data.dataset}
    for purpose, split in run.splits.items():
        facts[f"{purpose} split"] = f"{split.name}, {split.num_examples} examples"
        facts[f"{purpose} digest"] = split.digest
    facts["void"] = f"mask value {run.spec.labels.ignore_index} after mapping"
    return facts


def _describe_speed(run: Run, effort: Effort) -> dict[str, str]:
    facts = {}
    if effort.steps:
        examples = effort.steps * run.config.training.train_batch_size
        facts["training, with its evaluations and compilation"] = _rate(
            examples, effort.train_seconds
        )
    facts["final evaluation, with its compilation"] = _rate(
        effort.eval_examples, effort.eval_seconds
    )
    return facts


def _rate(images: int, seconds: float) -> str:
    return f"{images} images in {seconds:.0f} s, {images / max(seconds, 1e-9):.1f} images/s"


def _describe_environment(run: Run) -> dict[str, str]:
    with run.strategy.scope():
        kind = devices.device_kind()
    return {
        "tfseg": tfseg.__version__,
        "Python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}",
        "devices": f"{run.strategy.num_replicas_in_sync} x {kind}",
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # a wheel of another name, as on a TPU
        return "-"


def _describe_configuration(run: Run) -> dict[str, str]:
    _, *flags = serialization.flagfile_text(run.config, "").splitlines()
    return dict(flag.split("=", 1) for flag in flags)
