"""Tells in a sentence whether one evaluation beats another on the same images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfseg.evaluation import bootstrap


class Difference(NamedTuple):
    """The mean IoU of an evaluation minus that of another one.

    Attributes:
        value: The difference, in [-1, 1].
        low: Lower end of its 95 % paired bootstrap interval over images.
        high: Upper end.
        sentence: What follows from it.
    """

    value: float
    low: float
    high: float
    sentence: str


def compare(own: np.ndarray, other: np.ndarray, *, own_name: str, other_name: str) -> Difference:
    """Compares two evaluations of the same images.

    Args:
        own: int64 `[num_images, 3, num_classes]`, see `image_counts`.
        other: The same of the other evaluation, in the same order.
        own_name: What the sentence calls the first one.
        other_name: What it calls the other one.
    """
    means = [float(bootstrap.mean_iou(counts.sum(axis=0))) for counts in (own, other)]
    low, high = bootstrap.difference_interval(other, own)
    value = means[0] - means[1]
    verdict = "beats" if low > 0 else "is worse than" if high < 0 else "neither beats nor loses to"
    if low > 0 or high < 0:
        reason = "which does not contain 0"
    else:
        reason = "which contains 0, so the images do not decide"
    sentence = (
        f"{own_name} (mean IoU {means[0]:.4f}) {verdict} {other_name} ({means[1]:.4f}): the "
        f"difference is {value:+.4f} with a 95 % interval of {low:+.4f} to {high:+.4f} over the "
        f"same {len(own)} images, {reason}"
    )
    return Difference(value, low, high, sentence)
