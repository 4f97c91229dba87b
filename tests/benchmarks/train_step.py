"""Seconds per training step of SegFormer-B0 with AdamW: `python -m tests.benchmarks.train_step`.

The loss is the mean cross-entropy over the valid pixels, with logits upsampled to the masks' size.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from tests.benchmarks import contestants, harness
from tests.benchmarks.works import Work

WORKS = (
    Work("b4_224_c3", batch_size=4, image_size=224, num_classes=3, steps=20),
    Work("b2_512_c150", batch_size=2, image_size=512, num_classes=150, steps=5),
    Work(
        "bfloat16",
        batch_size=2,
        image_size=512,
        num_classes=150,
        steps=5,
        precision="mixed_bfloat16",
    ),
    Work("tiny", batch_size=1, image_size=64, num_classes=5, steps=3),
)
LOSS_TOLERANCE = {"float32": 1e-3, "mixed_bfloat16": 0.05}


def measure(work, folder, rounds):
    check = functools.partial(check_losses, tolerance=LOSS_TOLERANCE[work.precision])
    return contestants.compare_calls(contestants.build_train_timer, work, folder, rounds, check)


def check_losses(losses: Mapping[str, float], tolerance: float) -> str:
    differences = [abs(loss - losses["tfseg"]) for loss in losses.values()]
    if not all(difference <= tolerance for difference in differences):  # NaN fails too
        raise AssertionError(f"the losses of the contestants differ; first losses: {losses}")
    return (
        f"first loss {losses['tfseg']:.4f}; those of the peers differ by at most "
        f"{max(differences):.1e}"
    )


if __name__ == "__main__":
    harness.run(measure, WORKS)
