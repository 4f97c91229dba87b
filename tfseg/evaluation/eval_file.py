"""The JSON file of an evaluation: its figures, and the counts of each image for a comparison."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from tfseg.errors import UserError
from tfseg.evaluation.evaluator import without_nan
from tfseg.evaluation.image_counts import TRUE


@dataclasses.dataclass(frozen=True)
class ImageRecord:
    """Which images were scored, and what was counted in each.

    Attributes:
        classes: Names of the classes.
        names: Names of the images, see `example_names`.
        counts: int64 `[num_images, 3, num_classes]`, see `image_counts`.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    counts: np.ndarray

    def to_json(self, facts: Mapping[str, Any]) -> str:
        """Returns `facts`, `classes` and `images` as JSON, with one line per image.

        `images` maps the name of an image to its classes: id -> pixels that are rightly predicted,
        that are true, and that are predicted. Classes that are neither true nor predicted are left
        out. A nan of the facts becomes null, because JSON has no nan.
        """
        head = {**without_nan(facts), "classes": list(self.classes)}
        lines = json.dumps(head, indent=2)
        images = ",\n".join(
            f"    {json.dumps(name)}: {json.dumps(_present(counts), separators=(',', ':'))}"
            for name, counts in zip(self.names, self.counts, strict=True)
        )
        return f'{lines[:-2]},\n  "images": {{\n{images}\n  }}\n}}\n'

    def check_images(self, names: Sequence[str], classes: Sequence[str], path: str) -> None:
        """Checks that an evaluation that is about to start has the same images and classes.

        Args:
            names: Names of the images.
            classes: Names of the classes.
            path: File of this record, for the message.

        Raises:
            UserError: They differ.
        """
        if tuple(classes) != self.classes:
            raise UserError(
                f"--compare={path} has the classes {', '.join(self.classes)}, but this evaluation "
                f"has {', '.join(classes)}; compare evaluations of the same data set"
            )
        here, there = set(names), set(self.names)
        only_here = [name for name in names if name not in there]
        only_there = [name for name in self.names if name not in here]
        if only_here or only_there:
            first = (only_here or only_there)[0]
            raise UserError(
                f"--compare={path} scored other images: {len(only_there)} are only there and "
                f"{len(only_here)} only here, such as {first}; evaluate both models on the same "
                "split, with the same --max_eval_examples"
            )

    def in_order_of(self, other: ImageRecord, path: str) -> np.ndarray:
        """Returns the counts of the images of another record, in its order.

        Raises:
            UserError: The masks of an image differ, so the two did not score the same.
        """
        place = {name: index for index, name in enumerate(self.names)}
        counts = self.counts[[place[name] for name in other.names]]
        differ = (counts[:, TRUE] != other.counts[:, TRUE]).any(axis=1)
        if differ.any():
            raise UserError(
                f"--compare={path} scored {other.names[int(np.argmax(differ))]} against another "
                f"mask, as {int(differ.sum())} of {len(differ)} images; evaluate both models on "
                "the same data set"
            )
        return counts


def read(path: str) -> ImageRecord:
    """Reads what `ImageRecord.to_json` wrote.

    Raises:
        UserError: There is no such file, or it is no such JSON file.
    """
    try:
        values = json.loads(epath.Path(path).expanduser().read_text())
        classes, images = values["classes"], values["images"]
        counts = np.zeros((len(images), 3, len(classes)), np.int64)
        for row, own in zip(counts, images.values(), strict=True):
            for class_id, numbers in own.items():
                row[:, int(class_id)] = numbers
    except OSError as error:
        raise UserError(f"--compare={path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f"--compare={path} holds no counts of images; it takes a JSON file that "
            "python -m tfseg.eval --output=FILE wrote"
        ) from error
    return ImageRecord(tuple(classes), tuple(images), counts)


def _present(counts: np.ndarray) -> dict[int, list[int]]:
    present = np.flatnonzero(counts.any(axis=0))
    return {int(class_id): counts[:, class_id].tolist() for class_id in present}
