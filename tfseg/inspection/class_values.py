"""Classes for a data set that does not name any: each value of its training masks becomes one."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfseg.config.commands import DoctorConfig
from tfseg.data import masks, pipeline
from tfseg.data.catalog import DatasetSpec, NoClassNames
from tfseg.data.labels import LabelSpec
from tfseg.data.sources import checks
from tfseg.data.split import Split
from tfseg.inspection.findings import Finding
from tfseg.inspection.scan import map_in_order, with_bar

_MAX_CLASSES = 1000  # more values are ids of instances, or a picture that is no mask


def find_spec(config: DoctorConfig) -> tuple[DatasetSpec, list[Finding]]:
    """Returns the facts about the data set, and the problem that its classes have no names.

    Raises:
        UserError: The data set is unknown, or its masks hold no values that could be classes.
    """
    try:
        return pipeline.get_spec(config.data), []
    except NoClassNames as error:
        spec = error.spec
        split = pipeline.open_unchecked(
            spec,
            config.data,
            config.train_data.train_split or spec.train_split,
            config.train_data.max_train_examples,
        )
        void = {config.data.ignore_index, *spec.labels.void_values}
        values = sorted(_read_values(split, spec.labels) - void)
        if not 0 < len(values) <= _MAX_CLASSES:
            raise
        names = tuple(f"class_{value}" for value in values)
        labels = dataclasses.replace(
            spec.labels,
            names=names,
            raw_values=tuple(values),
            palette=(),
            ignore_index=config.data.ignore_index,
            strict=config.data.strict_labels,
        )
        return dataclasses.replace(spec, labels=labels), [Finding("no_names", True, str(error))]


def _read_values(split: Split, labels: LabelSpec) -> set[int]:
    """Returns the raw values of all masks that can be read."""

    def read(record: Any) -> list[int]:
        try:
            mask = checks.raw_values(split.read(record), labels)
        except (OSError, masks.MaskError):  # The scan that follows reports it.
            return []
        return list(checks.count_values(mask))

    found = map_in_order(read, split.records.as_numpy_iterator())
    return {value for values in with_bar(found, split, True) for value in values}
