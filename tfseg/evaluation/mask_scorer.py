"""Scores predicted masks that lie in a folder, whoever predicted them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from etils import epath

from tfseg import files
from tfseg.data import masks
from tfseg.data.labels import LabelSpec
from tfseg.data.masks import MaskError
from tfseg.data.split import Split
from tfseg.errors import UserError
from tfseg.evaluation import image_counts
from tfseg.evaluation.evaluator import ScoredImages, Scores

_SUFFIX = ".png"
_LARGEST_VALUE = 65_535  # of a raw value; a table of all colours would be too large
_TOGETHER = 16  # images whose counts are handed on at a time


def find_masks(folder: str, names: Sequence[str]) -> list[epath.Path]:
    """Returns the predicted mask of each example.

    It is called `<name>.png`. If there is no such file, the last part of the name is enough, so
    that masks of images in several folders may lie in one.

    Args:
        folder: The value of --predictions; folders inside it belong to the names.
        names: See `example_names.name_examples`.

    Raises:
        UserError: There is no such folder, or a mask is missing, or is there for two images.
    """
    root = epath.Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"--predictions={folder}: there is no such folder")
    paths = [root / f"{name}{_SUFFIX}" for name in names]
    if not all(path.exists() for path in paths):
        paths = [root / f"{name.rpartition('/')[2]}{_SUFFIX}" for name in names]
    missing = [path for path in paths if not path.exists()]
    if missing or len(set(paths)) < len(paths):
        where = files.printable(root / f"{names[0]}{_SUFFIX}")
        raise UserError(
            f"--predictions={folder} lacks masks of {len(missing) or 'some'} of {len(names)} "
            f"images; each must be called as its image, such as {where}; --max_eval_examples "
            "scores the first images only"
        )
    return paths


def score_masks(
    split: Split,
    paths: Sequence[epath.Path],
    labels: LabelSpec,
    on_step: Callable[[ScoredImages], None],
) -> Scores:
    """Scores predicted masks against the masks of a split.

    Args:
        split: The examples.
        paths: The predicted mask of each, PNG files of class ids.
        labels: The data set's classes.
        on_step: See `Evaluator.evaluate`.

    Returns:
        The scores; without a loss, because masks have no logits.

    Raises:
        UserError: A predicted mask is damaged, has another size than its image, or holds a value
            that is no class id at a pixel that is not void; or every pixel is void.
    """
    num_classes = labels.num_classes
    truth = _Truth(split, labels)

    def count(record, path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        prediction = masks.decode_mask_tensor(tf.io.read_file(path))
        return truth.count(truth.decode(record), prediction)

    files_of_masks = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    pairs = tf.data.Dataset.zip(split.records, files_of_masks)
    # Without autograph, which the decoders of masks do not need, half a second is saved.
    count = tf.autograph.experimental.do_not_convert(count) if truth.is_raw else count
    counted = pairs.map(count, num_parallel_calls=tf.data.AUTOTUNE).batch(_TOGETHER)
    total, done = np.zeros((num_classes, num_classes), np.int64), 0
    for counts, sizes in _naming_damaged_masks(counted, paths):
        for matrix, its_sizes, path in zip(counts, sizes, paths[done:], strict=False):
            _check(matrix, its_sizes, path)
        matrices = counts[:, :, :num_classes]
        total += matrices.sum(0)
        done += len(counts)
        flat = matrices.reshape(len(counts), -1)
        per_image = image_counts.from_confusions(flat, num_classes).numpy()
        on_step(ScoredImages(per_image.astype(np.int64), []))
    if not total.any():
        raise UserError(image_counts.all_void(done))
    return Scores(None, total, done)


class _Truth:
    """The masks of a split, in the form in which they are counted fastest.

    Where masks are decoded alone, pairs of a raw value and a prediction are counted, and the counts
    instead of the pixels are mapped to classes. That takes half the time.
    """

    def __init__(self, split: Split, labels: LabelSpec):
        self._num_classes = labels.num_classes
        has_values = split.decode_values is not None
        self.is_raw = has_values and max(labels.class_values) <= _LARGEST_VALUE
        if self.is_raw:
            self.decode, classes = split.decode_values, labels.class_of_value
        else:
            self.decode = lambda record: split.decode(record)["mask"]
            classes = dict(enumerate(range(self._num_classes)))
        self._class_of_value = np.full(max(classes) + 2, -1)
        self._class_of_value[list(classes)] = list(classes.values())

    def count(self, mask: tf.Tensor, prediction: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Counts the pixels of one image.

        Args:
            mask: Of `decode`.
            prediction: Predicted class ids, int32 `[height, width]`.

        Returns:
            int32 `[num_classes, num_classes + 1]`: the pixels by class and by predicted class; the
            last column counts other values. And the sizes of mask and prediction, int32 `[2, 2]`;
            what is wrong is told so, because a graph knows no names of files.
        """
        num_columns, num_rows = self._num_classes + 1, len(self._class_of_value)
        sizes = tf.stack([tf.shape(mask), tf.shape(prediction)])
        is_same = tf.reduce_all(sizes[0] == sizes[1])
        prediction = tf.cond(is_same, lambda: prediction, lambda: tf.zeros_like(mask))
        cells = _cap(mask, num_rows - 1) * num_columns + _cap(prediction, num_columns - 1)
        counts = tf.raw_ops.DenseBincount(
            input=tf.reshape(cells, [-1]),
            size=num_rows * num_columns,
            weights=tf.zeros([0], tf.int32),
            binary_output=False,
        )
        by_value = tf.reshape(counts, (num_rows, num_columns))
        # Void values have the class -1, which is left out.
        return tf.math.unsorted_segment_sum(
            by_value, self._class_of_value, self._num_classes
        ), sizes


def _cap(values: tf.Tensor, largest: int) -> tf.Tensor:
    """Replaces values that are negative or above the largest one by that."""
    positive = tf.bitcast(values, tf.uint32)  # makes negative values huge
    return tf.bitcast(tf.minimum(positive, tf.constant(largest, tf.uint32)), tf.int32)


def _check(counts: np.ndarray, sizes: np.ndarray, path: epath.Path) -> None:
    (height, width), (own_height, own_width) = sizes.tolist()
    if (height, width) != (own_height, own_width):
        raise UserError(
            f"{files.printable(path)} has {own_height}x{own_width} pixels (height x width), but "
            f"the mask of the data set has {height}x{width}; --predictions takes masks of the "
            "size of the images"
        )
    if counts[:, -1].any():
        largest = masks.decode_mask(path.read_bytes()).max()
        raise UserError(
            f"{files.printable(path)} holds values up to {largest}; --predictions takes masks of "
            f"class ids, 0 to {len(counts) - 1}, in the order of the data set's classes"
        )


def _naming_damaged_masks(counted: tf.data.Dataset, paths: Sequence[epath.Path]):
    """Yields the counts; if the graph fails, tries the files one by one to tell which it was."""
    try:
        yield from counted.as_numpy_iterator()
    except tf.errors.OpError:
        for path in paths:
            try:
                masks.decode_mask(path.read_bytes())
            except MaskError as error:
                raise UserError(f"{files.printable(path)} of --predictions: {error}") from error
        raise
