"""The content of `doctor.json`.

    version       1
    verdict       the line that was printed
    fit           whether a training would start
    dataset       the value of --dataset
    splits        by purpose (train, eval): split, examples, usable, digest, sizes, and
                  values: raw mask value -> pixels, images, first mask
      sizes       smallest, median and largest [height, width] in pixels, by area; null if none
    classes       in the order of the class ids: name, raw_values, and by purpose pixels and images
    findings      kind, problem (whether it stops a training), text, files
    suggestions   flag -> text for the shell

Numbers are counts of pixels, of images or of examples.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from tfseg.data.labels import LabelSpec
from tfseg.inspection.findings import Finding
from tfseg.inspection.scan import Scan


def to_json(
    dataset: str,
    verdict: str,
    findings: Sequence[Finding],
    scans: Sequence[Scan],
    labels: LabelSpec,
    suggestions: Mapping[str, str],
) -> str:
    """Returns everything that is known, as the module describes it."""
    content = {
        "version": 1,
        "verdict": verdict,
        "fit": not any(finding.is_problem for finding in findings),
        "dataset": dataset,
        "splits": {scan.purpose: _split(scan) for scan in scans},
        "classes": [_class(class_id, scans, labels) for class_id in range(labels.num_classes)],
        "findings": [
            {"kind": f.kind, "problem": f.is_problem, "text": f.text, "files": list(f.files)}
            for f in findings
        ],
        "suggestions": dict(suggestions),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _split(scan: Scan) -> dict:
    return {
        "split": scan.split,
        "examples": scan.num_examples,
        "usable": len(scan.good),
        "digest": scan.digest,
        "sizes": size_range(scan),
        "values": {
            str(value): {
                "pixels": scan.value_pixels[value],
                "images": scan.value_images[value],
                "first": scan.value_example[value],
            }
            for value in sorted(scan.value_pixels)
        },
    }


def size_range(scan: Scan) -> dict[str, list[int]] | None:
    """Returns the smallest, the median and the largest size by area, each as [height, width]."""
    if not scan.sizes:
        return None
    ordered = sorted(scan.sizes, key=lambda size: (int(np.prod(size)), size))
    places = {"smallest": 0, "median": len(ordered) // 2, "largest": -1}
    return {word: list(map(int, ordered[place])) for word, place in places.items()}


def _class(class_id: int, scans: Sequence[Scan], labels: LabelSpec) -> dict:
    return {
        "name": labels.names[class_id],
        "raw_values": [raw for raw, own in labels.class_of_value.items() if own == class_id],
        **{
            scan.purpose: {
                "pixels": int(scan.class_pixels[class_id]),
                "images": int(scan.class_images[class_id]),
            }
            for scan in scans
        },
    }
