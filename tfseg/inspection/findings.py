"""From what was read to findings and a verdict: what stops a training, and what is odd."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from tfseg.data.label_table import check_classes, check_reduction, spell_value
from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.inspection import near_duplicates
from tfseg.inspection.near_duplicates import Match
from tfseg.inspection.scan import Scan

# Kind of a fault or note -> what the heading of its list says.
HEADINGS = {
    "missing": "files that do not exist",
    "empty": "empty files",
    "unreadable": "images that cannot be decoded",
    "mask": "masks that cannot be read",
    "size": "masks of another size than their image",
    "format": "files whose format is not the one of their suffix",
    "exif": "images with an EXIF orientation",
    "void": "masks that hold nothing but void",
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing to know about the data set.

    Attributes:
        kind: A key of `HEADINGS`, or `no_names`, `one_class`, `unnamed`, `reduction`, `absent`,
            `all_void`, `duplicate`, `near_duplicate`, `batch`, `no_example`.
        is_problem: Whether it stops a training with the given flags; otherwise it is a note.
        text: A sentence in one line; line breaks, which a file's name may hold, become spaces.
        files: What it is about, one line for each file.
    """

    kind: str
    is_problem: bool
    text: str
    files: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "text", " ".join(self.text.split()))


def judge(
    scans: Sequence[Scan],
    labels: LabelSpec,
    *,
    on_bad_example: str,
    batch_size: int,
    reduce_labels: bool = False,
) -> list[Finding]:
    """Returns all findings, problems first.

    Args:
        scans: The training split and the eval split.
        labels: The data set's classes.
        on_bad_example: With `skip`, bad examples are notes.
        batch_size: Number of examples that the training split must hold.
        reduce_labels: Whether --reduce_labels was given.
    """
    found = _catch("one_class", check_classes, labels)
    for scan in scans:
        found += _find_empty_split(scan, batch_size)
        found += _group(scan, on_bad_example)
        found += _find_unnamed(scan, labels, on_bad_example)
        found += _find_absent(scan, labels)
    if reduce_labels:
        pixels, split = scans[0].value_pixels, scans[0].split
        found += _catch("reduction", check_reduction, labels, pixels, split)
    found += _find_duplicates(*scans)
    return sorted(found, key=lambda finding: not finding.is_problem)


def verdict(findings: Sequence[Finding], scans: Sequence[Scan], labels: LabelSpec) -> str:
    """Returns the verdict in one line; it begins with `fit` or `not fit`."""
    problems = [finding for finding in findings if finding.is_problem]
    if problems:
        others = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return f"not fit: {problems[0].text}{others}"
    counts = fit_line(*(len(scan.good) for scan in scans), labels)
    return f"{counts}, {_count(len(findings), 'note')}"


def fit_line(num_train: int, num_eval: int, labels: LabelSpec) -> str:
    """Returns the verdict on data in which nothing stops a training, without a count of notes."""
    examples = f"{num_train} train and {_count(num_eval, 'eval example')}"
    return f"fit: {examples}, {_count(labels.num_classes, 'class', 'classes')}, 0 problems"


def _count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def _find_empty_split(scan: Scan, batch_size: int) -> list[Finding]:
    if not scan.good:
        return [Finding("no_example", True, f"split {scan.split} has no usable example")]
    if scan.purpose == "train" and len(scan.good) < batch_size:
        text = (
            f"--train_batch_size={batch_size} is larger than the {len(scan.good)} usable examples "
            f"of split {scan.split}"
        )
        return [Finding("batch", True, text)]
    if not scan.class_pixels.any():
        text = f"split {scan.split} has no pixel of any class, nothing but void"
        return [Finding("all_void", True, text)]
    return []


def _group(scan: Scan, on_bad_example: str) -> list[Finding]:
    """Returns one finding for each kind of fault and of note that occurs in a split."""
    found = []
    for faults, is_fault in ((scan.faults, True), (scan.notes, False)):
        for kind, heading in HEADINGS.items():
            files = tuple(fault.text for fault in faults if fault.kind == kind)
            if files:
                text = f"split {scan.split}, {heading}: {len(files)}, first: {files[0]}"
                found.append(Finding(kind, is_fault and on_bad_example == "error", text, files))
    return found


def unnamed_values(scan: Scan, labels: LabelSpec) -> list[int]:
    """Returns the raw mask values of a split that are neither a class nor void by intent."""
    return sorted(set(scan.value_pixels) - set(labels.known_values))


def _find_unnamed(scan: Scan, labels: LabelSpec, on_bad_example: str) -> list[Finding]:
    lines = tuple(
        f"value {spell_value(value, labels)} has no name: {scan.value_pixels[value]} pixels in "
        f"{_count(scan.value_images[value], 'mask')}, first in {scan.value_example[value]}"
        for value in unnamed_values(scan, labels)
    )
    if not lines:
        return []
    text = f"split {scan.split}, {lines[0]}"
    if len(lines) > 1:
        text += f" ({_count(len(lines) - 1, 'other value')} in the list)"
    is_problem = labels.strict and on_bad_example == "error"
    return [Finding("unnamed", is_problem, text, lines)]


def _catch(kind: str, check: Callable[..., None], *arguments: Any) -> list[Finding]:
    """Returns what a check of the training raises."""
    try:
        check(*arguments)
    except UserError as error:
        return [Finding(kind, True, str(error))]
    return []


def _find_absent(scan: Scan, labels: LabelSpec) -> list[Finding]:
    names = [name for name, count in zip(labels.names, scan.class_images, strict=True) if not count]
    if not names or not scan.good:
        return []
    text = f"split {scan.split}, classes without a pixel: {len(names)}, first: {names[0]}"
    return [Finding("absent", False, text, tuple(names))]


def _find_duplicates(train: Scan, evaluation: Scan) -> list[Finding]:
    exact = near_duplicates.find_exact(train.image_digests, evaluation.image_digests)
    known = {match.second for match in exact}
    near = near_duplicates.find_near(train.hashes, evaluation.hashes)
    near = [match for match in near if match.second not in known]
    found = []
    if exact:
        lines = tuple(f"{evaluation.names[m.second]} is {train.names[m.first]}" for m in exact)
        text = f"{_count(len(exact), 'eval image')} also in the training split: {lines[0]}"
        found.append(Finding("duplicate", False, text, lines))
    if near:
        lines = tuple(_describe_near(match, train, evaluation) for match in near)
        text = f"{_count(len(near), 'eval image')} nearly as in the training split: {lines[0]}"
        found.append(Finding("near_duplicate", False, text, lines))
    return found


def _describe_near(match: Match, train: Scan, evaluation: Scan) -> str:
    first, second = train.names[match.first], evaluation.names[match.second]
    return f"{second} is nearly {first} ({match.distance} of 256 bits differ)"
