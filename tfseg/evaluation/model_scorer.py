"""Scores a SegFormer on all devices of this machine."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfseg import devices
from tfseg.config.views import Views
from tfseg.data import evaluation_batches
from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split
from tfseg.evaluation import class_names
from tfseg.evaluation.evaluator import Evaluator, ScoredImages, Scores
from tfseg.models import class_order, segformer


class ModelScorer:
    """A SegFormer whose classes are in the order of a data set's.

    Several GPUs share each batch, as do several logical CPU devices where a program has set up
    some. A caller's own strategy is taken as it is.

    Attributes:
        apply_exif: Whether the model expects images to be turned upright.

    Args:
        model: The value of --model: a folder or a Hub id.
        labels: The data set's classes.
        dataset: The flag that names the data set, for messages.
        image_size: (height, width) in pixels to which images are resized; None for the model's own.
        batch_size: Examples per step, over all devices.
        views: Test-time augmentation; None to see each image once.
        keeps_maps: Whether the class maps are kept for `on_step`.

    Raises:
        UserError: The model cannot be read, or has other classes than the data set.
    """

    def __init__(
        self,
        model: str,
        labels: LabelSpec,
        *,
        dataset: str,
        image_size: tuple[int, int] | None,
        batch_size: int,
        views: Views | None,
        keeps_maps: bool,
    ):
        self._labels, self._batch_size, self._views = labels, batch_size, views
        self._strategy = _find_strategy()
        with self._strategy.scope():
            self._model = segformer.load_model(model, image_size=image_size)
            names = self._model.labels.names
            class_names.check_same(names, labels.names, model=f"--model={model}", dataset=dataset)
            class_order.reorder_classes(self._model, labels)
            self._evaluator = Evaluator(
                self._model,
                labels,
                per_image=True,
                keeps_maps=keeps_maps,
                flips=views is not None and views.flips,
            )
        self.apply_exif = self._model.preprocessing.apply_exif

    def score(self, split: Split, on_step: Callable[[ScoredImages], None]) -> Scores:
        """Scores every example of a split, at the size of its mask.

        Raises:
            UserError: Every pixel is void.
        """
        with self._strategy.scope():
            mask_size = evaluation_batches.choose_mask_size(split)
            batches = self._strategy.distribute_datasets_from_function(
                lambda share: evaluation_batches.build_evaluation(
                    split,
                    self._model.preprocessing,
                    self._labels,
                    batch_size=self._batch_size,
                    mask_size=mask_size,
                    share=share,
                    scales=self._views.scales if self._views else (),
                )
            )
            return self._evaluator.evaluate(batches, on_step)


def _find_strategy() -> tf.distribute.Strategy:
    names = [device.name for device in tf.config.list_logical_devices(devices.device_kind())]
    if tf.distribute.has_strategy() or len(names) < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy(names)
