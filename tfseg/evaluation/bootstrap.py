"""How far the mean IoU depends on which images happen to be in the eval split.

A bootstrap draws as many images as there are, with replacement, and computes the figures of what
was drawn; it does so many times. The middle 95 % of these figures are the interval. All pixels of
an image are drawn together, because they depend on one another.
Efron, Bootstrap methods: another look at the jackknife, https://doi.org/10.1214/aos/1176344552
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfseg.evaluation.image_counts import INTERSECTION, PREDICTED, TRUE

NUM_RESAMPLES = 1000
LEVEL = 0.95
_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
_CHUNK = 1 << 22  # draws at a time, which take 64 MB


def mean_iou(sums: np.ndarray) -> np.ndarray:
    """Computes the mean IoU, by the rules of `compute_mean_iou`.

    Args:
        sums: Counts `[..., 3, num_classes]`, summed over images, see `image_counts`.

    Returns:
        float64 `[...]`: the mean over the classes that are true or predicted somewhere; nan if
        there is none.
    """
    iou = class_iou(sums)
    present = np.count_nonzero(~np.isnan(iou), axis=-1)
    means = np.full(present.shape, np.nan)
    return np.divide(np.nansum(iou, -1), present, out=means, where=present > 0)


def class_iou(sums: np.ndarray) -> np.ndarray:
    """Computes the IoU of each class.

    Args:
        sums: Counts `[..., 3, num_classes]`, summed over images.

    Returns:
        float64 `[..., num_classes]`: nan for a class that is neither true nor predicted.
    """
    intersection = sums[..., INTERSECTION, :]
    union = sums[..., TRUE, :] + sums[..., PREDICTED, :] - intersection
    return np.divide(intersection, union, out=np.full(union.shape, np.nan), where=union > 0)


def mean_iou_interval(
    counts: np.ndarray, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of the mean IoU over images, by the percentile method.

    Args:
        counts: int64 `[num_images, 3, num_classes]`, see `image_counts`.
        num_resamples: How often images are drawn.
        seed: Seed of the draws; the same one gives the same interval.

    Returns:
        The lower and the upper end, in [0, 1].
    """
    resampled = [mean_iou(sums) for sums in _resample(counts, num_resamples, seed)]
    return _middle(np.concatenate(resampled))


def class_intervals(
    counts: np.ndarray, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Returns the 95 % bootstrap interval of the IoU of each class.

    Args:
        counts: int64 `[num_images, 3, num_classes]`, see `image_counts`.
        num_resamples: How often images are drawn.
        seed: Seed of the draws.

    Returns:
        float64 `[2, num_classes]`: lower and upper ends, in [0, 1]. They are nan for a class that
        is neither true nor predicted anywhere; draws without the class are left out.
    """
    resampled = np.concatenate([class_iou(sums) for sums in _resample(counts, num_resamples, seed)])
    ends = np.full((2, counts.shape[-1]), np.nan)
    known = ~np.isnan(resampled).all(axis=0)
    ends[:, known] = np.nanquantile(resampled[:, known], _ENDS, axis=0)
    return ends


def difference_interval(
    before: np.ndarray, after: np.ndarray, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Returns the 95 % paired bootstrap interval of a difference of mean IoU.

    Each resample draws the same images for both, so what makes an image hard for both cancels out.

    Args:
        before: int64 `[num_images, 3, num_classes]`.
        after: The counts of the same images in the same order.
        num_resamples: How often images are drawn.
        seed: Seed of the draws.

    Returns:
        The lower and the upper end of the mean IoU of `after` minus that of `before`.
    """
    both = np.stack([before, after], axis=1)
    differences = []
    for sums in _resample(both, num_resamples, seed):
        means = mean_iou(sums)
        differences.append(means[:, 1] - means[:, 0])
    return _middle(np.concatenate(differences))


def _resample(counts: np.ndarray, num_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yields the sums of resampled images `[some resamples, ...]`, in chunks of bounded memory."""
    rng = np.random.default_rng(seed)
    num_images = len(counts)
    flat = counts.reshape(num_images, -1).astype(np.float64)  # exact below 2**53
    size = max(1, _CHUNK // num_images)
    for start in range(0, num_resamples, size):
        rows = min(size, num_resamples - start)
        draws = rng.integers(0, num_images, (rows, num_images))
        draws += num_images * np.arange(rows)[:, None]
        times = np.bincount(draws.ravel(), minlength=rows * num_images)
        times = times.reshape(rows, num_images).astype(np.float64)
        yield (times @ flat).reshape(rows, *counts.shape[1:])


def _middle(values: np.ndarray) -> tuple[float, float]:
    low, high = np.nanquantile(values, _ENDS)
    return float(low), float(high)
