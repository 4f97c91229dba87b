"""What the values of the masks mean and how often they occur, and signs that it is not so.

The table is printed at the start of a training, so that a wrong list of classes shows at once.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Mapping

from tfseg.data.labels import LabelSpec
from tfseg.data.sources import checks
from tfseg.data.split import Split
from tfseg.errors import UserError

_logger = logging.getLogger(__name__)
_SAMPLE = 64  # masks, of sources that do not decode all of them before a training
_MOST_VOID = 10  # values of void that are listed


def log_labels(split: Split, labels: LabelSpec, *, reduce_labels: bool) -> None:
    """Prints the table of a split, and warns of values that have no name.

    Args:
        split: The training split.
        labels: The data set's classes.
        reduce_labels: Whether --reduce_labels was given.

    Raises:
        UserError: The labels seem to be reduced already, see `check_reduction`.
    """
    pixels = split.pixels
    if pixels is None:
        pixels = _count_sample(split, labels)
        _logger.info("labels, by the pixels of the first %d masks of %s:", _SAMPLE, split.name)
    else:
        _logger.info("labels, by the pixels of all masks of %s:", split.name)
    if reduce_labels:
        _check_reduction(split, labels, pixels)
    for row in rows(labels, pixels):
        _logger.info("%s", row)
    warning = warn_unnamed(labels, pixels)
    if warning is not None:
        _logger.warning("%s", warning)


def _check_reduction(split: Split, labels: LabelSpec, pixels: Mapping[int, int]) -> None:
    """Refuses or, where only some of the masks were seen, warns of a second reduction."""
    try:
        check_reduction(labels, pixels, split.name)
    except UserError as error:
        if split.pixels is not None or split.num_examples <= _SAMPLE:
            raise
        _logger.warning("%s", error)


def _count_sample(split: Split, labels: LabelSpec) -> Counter[int]:
    pixels = Counter()
    if split.read is None:
        return pixels
    for record in itertools.islice(split.records.as_numpy_iterator(), _SAMPLE):
        mask = checks.raw_values(split.read(record), labels)
        pixels.update(checks.count_values(mask))
    return pixels


def rows(labels: LabelSpec, pixels: Mapping[int, int]) -> list[str]:
    """Returns the lines of the table: raw value, class id, name, and share of all pixels.

    Classes come in the order of their ids, then the most frequent values that are void.
    """
    total = max(sum(pixels.values()), 1)
    class_of_value = labels.class_of_value
    by_class = sorted(class_of_value, key=lambda raw: (class_of_value[raw], raw))
    others = sorted(pixels.keys() - class_of_value.keys(), key=lambda raw: -pixels[raw])
    void = sorted(others[:_MOST_VOID])
    lines = [("value", "class", "share", "name")]
    for raw in (*by_class, *void):
        class_id = class_of_value.get(raw)
        name = "(void)" if class_id is None else labels.names[class_id]
        share = f"{pixels.get(raw, 0) / total:.2%}"
        lines.append(
            (spell_value(raw, labels), "-" if class_id is None else str(class_id), share, name)
        )
    if len(others) > _MOST_VOID:
        rest = sum(pixels[raw] for raw in others[_MOST_VOID:])
        lines.append(("other", "-", f"{rest / total:.2%}", "(void)"))
    width = max(len(line[0]) for line in lines)
    return [
        f"  {raw:>{width}}  {number:>5}  {share:>7}  {name}" for raw, number, share, name in lines
    ]


def spell_value(raw: int, labels: LabelSpec) -> str:
    """Returns a raw mask value as --id2label writes it: a number, or a colour as `128,64,0`."""
    if not labels.has_color_masks:
        return str(raw)
    return ",".join(str(raw >> shift & 255) for shift in (0, 8, 16))


def warn_unnamed(labels: LabelSpec, pixels: Mapping[int, int]) -> str | None:
    """Returns a warning of values that are void only because nobody names them, or None."""
    total = max(sum(pixels.values()), 1)
    unnamed = {raw: pixels[raw] for raw in sorted(pixels.keys() - set(labels.known_values))}
    if not unnamed:
        return None
    values = ", ".join(spell_value(raw, labels) for raw in itertools.islice(unnamed, _MOST_VOID))
    more = " and others" if len(unnamed) > _MOST_VOID else ""
    text = (
        f"{sum(unnamed.values()) / total:.2%} of the pixels are void because no class has their "
        f"value ({values}{more})"
    )
    is_shifted = labels.raw_values == tuple(range(labels.num_classes))
    if is_shifted and labels.num_classes in unnamed:
        text += "; if 0 is void and the first class has value 1, set --reduce_labels"
    return text


def check_classes(labels: LabelSpec) -> None:
    """Refuses a single class, which a model could not tell from anything.

    Raises:
        UserError: The data set has one class.
    """
    if labels.num_classes == 1:
        raise UserError(
            f"the data set has one class, {labels.names[0]!r}, and a model needs two to tell "
            "apart; name the mask value of the background in --id2label too"
        )


def check_reduction(labels: LabelSpec, pixels: Mapping[int, int], split: str) -> None:
    """Refuses --reduce_labels for masks that look as if their labels were reduced before.

    Masks whose labels are reduced run from 0 to one below the number of classes, and void is the
    ignore index. Reducing them again would make the first class void and shift all others. So the
    masks of a split must show what only unreduced ones have: the last class's value, which is the
    number of classes, or 0 without the ignore index.

    Args:
        labels: The data set's classes.
        pixels: Number of pixels by raw mask value, in all masks of the split.
        split: Name of the split, for the message.

    Raises:
        UserError: They show neither.
    """
    last = max(*labels.class_values, *labels.void_values)
    if last in pixels or (0 in pixels and labels.ignore_index not in pixels):
        return
    seen = (
        f"hold the ignore index {labels.ignore_index} but never {last}, the value of the last class"
        if labels.ignore_index in pixels
        else f"hold neither 0, which it makes void, nor {last}, the value of the last class"
    )
    raise UserError(
        f"--reduce_labels: the masks of split {split} {seen}, as if their labels were reduced "
        "already; leave it out, or name the classes from 1 in --id2label without it"
    )
