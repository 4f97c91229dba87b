"""A whole inspection: `run_inspection` is the table of contents."""

from __future__ import annotations

import dataclasses
import functools
import logging
import shlex
from collections.abc import Sequence

import numpy as np
from etils import epath

from tfseg.config.commands import DoctorConfig
from tfseg.data import pipeline
from tfseg.data.catalog import DatasetSpec
from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split, choose_eval_split
from tfseg.files import write_atomically
from tfseg.inspection import class_values, gallery, page, record, suggestions, verdicts
from tfseg.inspection import findings as findings_lib
from tfseg.inspection.example import Thumbnail
from tfseg.inspection.scan import Scan, scan_split
from tfseg.inspection.verdicts import Examples

_logger = logging.getLogger(__name__)
_NUM_EXAMPLES = {"train": 6, "eval": 3}  # in the gallery; with a batch, the page stays below 2 MB
_MAX_AUGMENTED = 8


def run_inspection(config: DoctorConfig) -> bool:
    """Reads both splits of a data set, writes the findings and prints the verdict.

    Args:
        config: The data set, and the flags with which a training would start.

    Returns:
        Whether a training with these flags would start and get through its data.

    Raises:
        UserError: The data set cannot be opened at all.
    """
    spec, unfit = class_values.find_spec(config)
    splits = _open_splits(config, spec)
    scans = _scan(config, spec, splits)
    findings = unfit + findings_lib.judge(
        scans,
        spec.labels,
        on_bad_example=config.data.on_bad_example,
        batch_size=config.run.train_batch_size,
        reduce_labels=config.data.reduce_labels,
    )
    verdict = findings_lib.verdict(findings, scans, spec.labels)
    augmented = _draw_batch(config, spec, splits[0], scans[0])
    _remember(config, spec, verdict, findings, scans)
    _write(config, spec.labels, verdict, findings, scans, augmented)
    return not any(finding.is_problem for finding in findings)


def _open_splits(config: DoctorConfig, spec: DatasetSpec) -> tuple[Split, Split]:
    data, train_data = config.data, config.train_data
    train_split = train_data.train_split or spec.train_split
    eval_split = choose_eval_split(
        spec.eval_split,
        train_split=train_split,
        eval_split=data.eval_split,
        eval_fraction=data.eval_fraction,
    )
    open_unchecked = functools.partial(
        pipeline.open_unchecked, spec, data, apply_exif=train_data.apply_exif
    )
    return (
        open_unchecked(train_split, train_data.max_train_examples),
        open_unchecked(eval_split, data.max_eval_examples, is_held_out=True),
    )


def _scan(config: DoctorConfig, spec: DatasetSpec, splits: Sequence[Split]) -> list[Scan]:
    parts = ("", "") if config.data.eval_fraction is None else (", part to train on", ", held out")
    return [
        scan_split(
            split,
            spec.labels,
            purpose,
            title=split.name + part,
            apply_exif=config.train_data.apply_exif,
            num_thumbnails=_NUM_EXAMPLES[purpose],
            show_progress=True,
        )
        for split, purpose, part in zip(splits, _NUM_EXAMPLES, parts, strict=True)
    ]


def _draw_batch(
    config: DoctorConfig, spec: DatasetSpec, split: Split, scan: Scan
) -> list[Thumbnail]:
    if not config.run.gallery_augmented or not scan.good:
        return []
    augmentation = config.train_data.augmentation or spec.augmentation
    train_data = dataclasses.replace(
        config.train_data, augmentation=augmentation, cache="none", data_service=None
    )
    count = min(_MAX_AUGMENTED, config.run.train_batch_size, len(scan.good))
    places = np.linspace(0, len(scan.good) - 1, count).astype(int)
    positions = [scan.good[place] for place in places]
    image_size = config.data.image_size or spec.image_size
    return gallery.draw_batch(split, positions, spec.labels, train_data, image_size)


def _suggest(config: DoctorConfig, scans: list[Scan], labels: LabelSpec) -> dict[str, str]:
    """Returns flags as text for a shell; writes id2label.json if there are names to fill in."""
    flags = suggestions.suggest_flags(scans[0], labels)
    template = suggestions.id2label_template(scans, labels)
    if template and not config.data.label_map:  # which has other names
        path = epath.Path(config.run.output_dir).expanduser() / "id2label.json"
        write_atomically(path, template)
        flag = shlex.quote(f"--id2label={path}")
        flags["id2label"] = f"{flag}  # after you fill in the names"
    return flags


def _write(
    config: DoctorConfig,
    labels: LabelSpec,
    verdict: str,
    findings: Sequence[findings_lib.Finding],
    scans: list[Scan],
    augmented: list[Thumbnail],
) -> None:
    folder = epath.Path(config.run.output_dir).expanduser()
    flags = _suggest(config, scans, labels)
    facts = (config.data.dataset, verdict, findings, scans, labels, flags)
    write_atomically(folder / "doctor.json", record.to_json(*facts))
    write_atomically(folder / "doctor.html", page.render(*facts, augmented))
    for finding in findings:
        _logger.info("%s: %s", "problem" if finding.is_problem else "note", finding.text)
    for flag in flags.values():
        _logger.info("suggestion: %s", flag)
    _logger.info("all findings are in %s", folder / "doctor.html")
    _logger.info("%s", verdict)


def _remember(
    config: DoctorConfig,
    spec: DatasetSpec,
    verdict: str,
    findings: Sequence[findings_lib.Finding],
    scans: Sequence[Scan],
) -> None:
    """Keeps the verdict for trainings, unless it is about a batch size that they may not have."""
    if not any(finding.kind == "batch" for finding in findings):
        digests = (scan.digest for scan in scans)
        how = (config.data.on_bad_example, config.train_data.apply_exif)
        verdicts.remember(verdict, Examples(*digests, spec.labels, *how))
