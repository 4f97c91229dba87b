"""Scores a SavedModel that tfseg exported, by the signature that serves it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split
from tfseg.errors import UserError
from tfseg.evaluation import class_names, image_counts
from tfseg.evaluation.confusion_matrix import ConfusionMatrix
from tfseg.evaluation.evaluator import ScoredImages, Scores

PREFIX = "saved_model:"
_SIGNATURES = ("predict_images", "describe")


class SavedModelScorer:
    """A SavedModel with the signatures of `tfseg.export`.

    Images are predicted one at a time, at their own sizes, as the server would be asked.

    Attributes:
        apply_exif: Whether the model expects images to be turned upright.

    Args:
        model: The value of --model: `saved_model:` and the folder of a version, or the folder of
            all versions, of which the newest counts.
        labels: The data set's classes.
        dataset: The flag that names the data set, for messages.

    Raises:
        UserError: There is no such model, it lacks a signature, or it has other classes.
    """

    def __init__(self, model: str, labels: LabelSpec, *, dataset: str):
        self._labels = labels
        folder = _find_version(epath.Path(model.removeprefix(PREFIX)).expanduser(), model)
        self._loaded = tf.saved_model.load(os.fspath(folder))  # owns the weights
        self._predict = _find_signatures(self._loaded, folder)
        description = _describe(self._loaded)
        names = description["classes"]
        class_names.check_same(names, labels.names, model=f"--model={model}", dataset=dataset)
        self._class_ids = tf.constant([labels.label2id[name] for name in names])
        self.apply_exif = description["preprocessing"].get("apply_exif", True)
        self._matrix = ConfusionMatrix(
            num_classes=labels.num_classes, ignore_index=labels.ignore_index
        )

    def score(self, split: Split, on_step: Callable[[ScoredImages], None]) -> Scores:
        """Scores every example of a split; without a loss, because class maps have no logits.

        Raises:
            UserError: Every pixel is void.
        """
        num_classes = self._labels.num_classes
        total, num_examples = np.zeros(num_classes**2, np.int64), 0
        for example in split.examples.prefetch(tf.data.AUTOTUNE):
            class_map, counts = self._score_one(example["image"], example["mask"])
            total += counts.numpy()
            num_examples += 1
            per_image = image_counts.from_confusions(counts[None], num_classes).numpy()
            on_step(ScoredImages(per_image.astype(np.int64), [class_map.numpy()]))
        if not total.any():
            raise UserError(image_counts.all_void(num_examples))
        return Scores(None, total.reshape(num_classes, num_classes), num_examples)

    @tf.function(reduce_retracing=True)
    def _score_one(self, image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        class_map = self._predict(images=image[None])["class_map"][0]
        class_map = tf.gather(self._class_ids, class_map)
        counts = self._matrix.count(mask, class_map)[:-1]
        return tf.cast(class_map, image_counts.map_dtype(self._labels.num_classes)), counts


def _find_version(folder: epath.Path, model: str) -> epath.Path:
    versions = [folder, *_list_versions(folder)]
    found = next((path for path in versions if (path / "saved_model.pb").exists()), None)
    if found is None:
        raise UserError(
            f"--model={model}: no saved_model.pb is there, nor in a folder of a version; "
            "python -m tfseg.export writes one"
        )
    return found


def _list_versions(folder: epath.Path) -> list[epath.Path]:
    """Returns the folders of versions, the newest first, as TF Serving finds them."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in inside if path.name.isdecimal()), key=_version, reverse=True)


def _version(path: epath.Path) -> int:
    return int(path.name)


def _find_signatures(loaded: Any, folder: epath.Path) -> Callable[..., dict[str, tf.Tensor]]:
    missing = [name for name in _SIGNATURES if name not in loaded.signatures]
    if missing:
        raise UserError(
            f"{folder} has no signature {missing[0]} (it has {', '.join(loaded.signatures)}); "
            "--model=saved_model:DIR takes a SavedModel that python -m tfseg.export wrote"
        )
    return loaded.signatures["predict_images"]


def _describe(loaded: Any) -> dict[str, Any]:
    return json.loads(loaded.signatures["describe"]()["description_json"].numpy()[0])
