"""Values for flags that the figures of a data set suggest."""

from __future__ import annotations

import json
import math
import shlex

import numpy as np

from tfseg.config.defaults import SIZE_MULTIPLE
from tfseg.data.label_table import spell_value
from tfseg.data.labels import LabelSpec
from tfseg.inspection.findings import unnamed_values
from tfseg.inspection.scan import Scan

MAX_AREA = 512 * 512  # pixels; what a SegFormer-B0 trains on by default


def suggest_flags(train: Scan, labels: LabelSpec) -> dict[str, str]:
    """Returns flags that can be pasted into a shell, by the name of the flag."""
    suggested = {}
    weights = balance_classes(train)
    named = {name: f"{weight:.3g}" for name, weight in zip(labels.names, weights, strict=True)}
    pairs = [f"{name}={weight}" for name, weight in named.items() if weight != "nan"]
    if len(pairs) > 1:
        suggested["class_weights"] = "--class_weights=" + shlex.quote(",".join(pairs))
    if train.sizes:
        height, width = fitting_size(np.median(train.sizes, axis=0))
        suggested["image_size"] = f"--image_size={height},{width}"
    return suggested


def balance_classes(train: Scan) -> np.ndarray:
    """Returns a weight for each class by median frequency balancing.

    The frequency of a class is its number of pixels, divided by the number of pixels that are not
    void in the images in which it occurs. Its weight is the median of all frequencies divided by
    its own. See Eigen and Fergus 2015, section 6.3.2, https://arxiv.org/abs/1411.4734.

    Returns:
        float64 `[num_classes]`; NaN for a class without a pixel.
    """
    frequency = np.full(len(train.class_pixels), np.nan)
    occurs = train.class_pixels > 0
    frequency[occurs] = train.class_pixels[occurs] / train.class_support[occurs]
    return np.median(frequency[occurs]) / frequency if occurs.any() else frequency


def fitting_size(size: tuple[float, float]) -> tuple[int, int]:
    """Returns (height, width) in multiples of 32 near a size, of an area of about `MAX_AREA`.

    A larger size is reduced in proportion to `MAX_AREA`; then each length goes to the nearest
    multiple.
    """
    scale = min(1.0, math.sqrt(MAX_AREA / (size[0] * size[1])))
    height, width = (
        max(1, round(length * scale / SIZE_MULTIPLE)) * SIZE_MULTIPLE for length in size
    )
    return height, width


def id2label_template(scans: list[Scan], labels: LabelSpec) -> str | None:
    """Returns a JSON object to fill in, if some values have no name or only made-up ones.

    It names every class by its raw value, and adds `class_<value>` for values without a name.
    """
    unnamed = {value for scan in scans for value in unnamed_values(scan, labels)}
    names = dict(zip(labels.raw_values, labels.names, strict=False))
    is_made_up = all(name == _made_up_name(value) for value, name in names.items())
    if not unnamed and not is_made_up:
        return None
    names |= {value: _made_up_name(value) for value in unnamed}
    ordered = {spell_value(value, labels): names[value] for value in sorted(names)}
    return json.dumps(ordered, indent=2, ensure_ascii=False) + "\n"


def _made_up_name(value: int) -> str:
    return f"class_{value}"
