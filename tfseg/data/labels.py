"""LabelSpec: the classes of a data set, which data, metrics, reports and serving share."""

from __future__ import annotations

import dataclasses
import json
from typing import NamedTuple

import numpy as np

from tfseg.config.defaults import DEFAULT_IGNORE_INDEX
from tfseg.data.palettes import choose_palette

NO_VALUE = -1  # the raw value of pixels of which no list of segments tells the class


@dataclasses.dataclass(frozen=True)
class LabelSpec:
    """The classes of a data set and the mask values that stand for them.

    Class ids run from 0 to `num_classes - 1` in the order of `names`. Every raw mask value
    outside `raw_values` is void: it becomes `ignore_index`, which loss and metrics leave out.

    Attributes:
        names: Class names; the position is the class id.
        raw_values: The value of each class in the mask files; by default its class id.
        palette: The RGB colour of each class, 0..255; by default `choose_palette`.
        ignore_index: The value of void pixels after mapping; it must not be a class id.
        strict: Whether a raw value that is neither a class nor void is an error.
        void_values: Raw values that are void by intent, besides `ignore_index`: 0 if labels are
            reduced.
        merged_values: Further raw values of classes, as pairs of a raw value and a class id.
        has_color_masks: Whether the colours of a mask are its raw values, see `color_value`.
        instance_divisor: If it is above 1, a pixel divided by it, rounded down, is the raw value,
            as in masks of panoptic segmentation.

    Raises:
        ValueError: There are no classes, the lengths differ, names or values repeat, or
            `ignore_index` is a class id.
    """

    names: tuple[str, ...]
    raw_values: tuple[int, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    ignore_index: int = DEFAULT_IGNORE_INDEX
    strict: bool = False
    void_values: tuple[int, ...] = ()
    merged_values: tuple[tuple[int, int], ...] = ()
    has_color_masks: bool = False
    instance_divisor: int = 1

    def __post_init__(self):
        if not self.names:
            raise ValueError("a label spec needs at least one class name, received none")
        if not self.raw_values:
            object.__setattr__(self, "raw_values", tuple(range(len(self.names))))
        if not self.palette:
            object.__setattr__(self, "palette", choose_palette(self.names))
        self._check_lengths()
        if 0 <= self.ignore_index < self.num_classes:
            raise ValueError(
                f"ignore index {self.ignore_index} is the class id of "
                f"{self.names[self.ignore_index]!r}: set --ignore_index to a value of at least "
                f"{self.num_classes}, or a negative one"
            )

    def _check_lengths(self):
        for field in ("raw_values", "palette"):
            if len(getattr(self, field)) != len(self.names):
                raise ValueError(
                    f"{field} has {len(getattr(self, field))} entries for {len(self.names)} classes"
                )
        for field, values in (("names", self.names), ("raw_values", self.class_values)):
            repeated = sorted({str(value) for value in values if values.count(value) > 1})
            if repeated:
                raise ValueError(f"{field} must differ, received twice: {', '.join(repeated)}")
        if min(self.class_values) < 0:
            smallest = min(self.class_values)
            raise ValueError(f"raw mask values must be at least 0, received {smallest}")

    @property
    def num_classes(self) -> int:
        """Number of classes, without void."""
        return len(self.names)

    @property
    def id2label(self) -> dict[int, str]:
        """Class id -> name, as in a Hugging Face config."""
        return dict(enumerate(self.names))

    @property
    def label2id(self) -> dict[str, int]:
        """Name -> class id, as in a Hugging Face config."""
        return {name: class_id for class_id, name in enumerate(self.names)}

    @property
    def class_of_value(self) -> dict[int, int]:
        """Raw value -> class id, in ascending order of the raw values."""
        pairs = zip(self.class_values, self._class_ids, strict=True)
        return dict(sorted(pairs))

    @property
    def class_values(self) -> tuple[int, ...]:
        """The raw values that stand for a class."""
        return (*self.raw_values, *(raw for raw, _ in self.merged_values))

    @property
    def _class_ids(self) -> tuple[int, ...]:
        return (*range(self.num_classes), *(class_id for _, class_id in self.merged_values))

    @property
    def is_reduced(self) -> bool:
        """Whether class ids are the values of the mask files minus one, as for ADE20K."""
        is_shifted = self.raw_values == tuple(range(1, self.num_classes + 1))
        return is_shifted and not self.merged_values and not self.takes_colors

    @property
    def takes_colors(self) -> bool:
        """Whether a mask of three channels has a meaning: colours of classes, or ids."""
        return self.has_color_masks or self.instance_divisor > 1

    @property
    def known_values(self) -> tuple[int, ...]:
        """Raw values that a mask may hold if labels are strict."""
        return (*self.class_values, *self.void_values, self.ignore_index, NO_VALUE)

    def to_json(self) -> str:
        """Returns names, mask values and palette as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def lookup_table(self) -> np.ndarray:
        """Returns int32 `[max(class_values) + 2]`, the class id of each raw value.

        The last entry is `ignore_index`; larger raw values must be clipped to its position.
        """
        table = np.full(max(self.class_values) + 2, self.ignore_index, np.int32)
        table[list(self.class_values)] = self._class_ids
        return table


class ObjectClass(NamedTuple):
    """Where the class of the one object of an image stands, if the mask only shows the object.

    Attributes:
        key: Feature that holds the class, from 0.
        mask_value: Value of the object's pixels in the mask.
        first_value: Raw value that stands for class 0 of the feature; class i has i more.
    """

    key: str
    mask_value: int
    first_value: int


def color_value(red: int, green: int, blue: int) -> int:
    """Returns the raw value of a colour, red + 256 green + 65,536 blue.

    COCO's panoptic masks and Segments.ai write the ids of instances as such colours:
    https://cocodataset.org/#format-results
    """
    return red + 256 * green + 65_536 * blue
