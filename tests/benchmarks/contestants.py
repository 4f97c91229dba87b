"""The contestants, and what the process of a contestant measures."""

from __future__ import annotations

import importlib
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from tests.benchmarks import comparison, harness
from tests.benchmarks.works import Work, prepare

CONTESTANTS = (
    "tfseg",
    "hf_tensorflow",
    "hf_pytorch/eager",
    "hf_pytorch/channels_last",
    "hf_pytorch/compile",
)
# The second call may trace or compile again, because optimizer slots and gradients exist by then.
WARMUP_CALLS = 3
ROUND_WARMUP_CALLS = 2


def choose(work: Work) -> list[str]:
    """Returns the names of the contestants for a work.

    `tfseg` runs in the precision of the work. In a mixed precision its only peer is
    `tfseg_float32`. The tiny work leaves `torch.compile` out, because compiling takes too long.
    """
    if work.precision != "float32":
        return ["tfseg", "tfseg_float32"]
    return [name for name in CONTESTANTS if not (work.is_tiny and name.endswith("/compile"))]


def compare_calls(
    build: Callable, work: Work, folder: Path, rounds: int, check: Callable[[dict], str]
) -> tuple[list[comparison.Comparison], list[comparison.Comparison]]:
    """Compares seconds per call, with one process per contestant that lives through all rounds.

    Args:
        build: `build_train_timer` or `build_segment_timer`.
        work: What is measured.
        folder: Scratch folder for the weights and the batch.
        rounds: Number of rounds. In each, every contestant measures once.
        check: Takes contestant name -> evidence; returns a line that says how well the contestants
            agree, or raises an AssertionError.

    Returns:
        The comparisons to print, and those with each peer's best variant.
    """
    harness.run_alone(prepare, work, folder)
    builds = {name: (build, _variant(name, work), folder, work.steps) for name in choose(work)}
    workers = harness.start_workers(builds)
    try:
        print(check({name: worker.evidence for name, worker in workers.items()}), flush=True)
        measures = {name: worker.measure for name, worker in workers.items()}
        values = harness.alternate(measures, rounds)
    finally:
        for worker in workers.values():
            worker.close()
    return comparison.compare(work.name, values, "seconds")


def build_train_timer(name: str, folder: Path, steps: int) -> tuple[float, Callable[[], float]]:
    """Returns the first step's loss, and a function that measures seconds per training step."""
    module, variant = _load(name)
    step = module.build_train_step(folder, variant)
    losses = [step() for _ in range(WARMUP_CALLS)]
    return losses[0], lambda: time_calls(step, steps)


def build_segment_timer(
    name: str, folder: Path, steps: int
) -> tuple[np.ndarray, Callable[[], float]]:
    """Returns the class map, and a function that measures seconds per batch."""
    module, variant = _load(name)
    segment = module.build_segment(folder, variant)
    class_maps = [segment() for _ in range(WARMUP_CALLS)]
    return class_maps[0], lambda: time_calls(segment, steps)


def time_calls(call: Callable, count: int) -> float:
    """Returns the seconds per call. A call ends when its result is on the host.

    The first calls of a round are not timed: while the other contestants measured, the memory of
    this process may have left the caches or been swapped out.
    """
    for _ in range(ROUND_WARMUP_CALLS):
        call()
    started = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - started) / count


def peak_memory(name: str, folder: Path, steps: int) -> float:
    """Trains a few steps; returns the peak resident memory of this process in GB."""
    module, variant = _load(name)
    step = module.build_train_step(folder, variant)
    for _ in range(steps):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB


def _variant(name: str, work: Work) -> str:
    return f"tfseg/{work.precision}" if name == "tfseg" else name.replace("tfseg_", "tfseg/")


def _load(name: str) -> tuple[ModuleType, str]:
    module, _, variant = name.partition("/")
    # transformers loads every framework that it finds, and TensorFlow loads Keras 3 in addition to
    # the Keras 2 that all contestants use. What is not used would count as memory.
    os.environ["USE_TF" if module == "hf_pytorch" else "USE_TORCH"] = "0"
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    module = "tfseg_contestant" if module == "tfseg" else module
    return importlib.import_module(f"tests.benchmarks.{module}"), variant or "float32"
