"""Seconds per batch of inference: `python -m tests.benchmarks.inference`.

The time covers everything from uint8 images to class maps of the same size.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tests.benchmarks import contestants, harness
from tests.benchmarks.works import Work

WORKS = (
    Work("b1_512_c150", batch_size=1, image_size=512, num_classes=150, steps=10),
    Work("tiny", batch_size=1, image_size=64, num_classes=5, steps=3),
)
LEAST_AGREEMENT = 0.999


def measure(work, folder, rounds):
    return contestants.compare_calls(
        contestants.build_segment_timer, work, folder, rounds, check_class_maps
    )


def check_class_maps(class_maps: Mapping[str, np.ndarray]) -> str:
    own = class_maps["tfseg"]
    agreement = {name: np.mean(other == own) for name, other in class_maps.items()}
    if min(agreement.values()) < LEAST_AGREEMENT:
        raise AssertionError(f"the class maps of the contestants differ; agreement: {agreement}")
    return (
        f"{len(np.unique(own))} classes in the class map; "
        f"the peers agree with tfseg in at least {min(agreement.values()):.3%} of the pixels"
    )


if __name__ == "__main__":
    harness.run(measure, WORKS)
