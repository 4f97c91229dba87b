"""How often each pair of a true and a predicted label occurs, before it is known what they mean."""

from __future__ import annotations

import collections

import numpy as np

_NUM_SMALL = 256  # Labels below it are counted in one array; masks rarely hold others.


class LabelPairs:
    """Counts pairs of labels over any number of images, in memory that the labels alone decide.

    Which label is void and which labels are merged may be said later: both change labels, and the
    pixels of one pair of labels share their fate.
    """

    def __init__(self):
        self.num_images = 0
        self._small = np.zeros(_NUM_SMALL**2, np.int64)
        self._others: collections.Counter[tuple[int, int]] = collections.Counter()

    def add(self, prediction: np.ndarray, reference: np.ndarray) -> None:
        """Counts the pixels of one image.

        Args:
            prediction: Predicted labels, integer `[...]`.
            reference: True labels, integer of the same shape.

        Raises:
            TypeError: One of them does not have an integer dtype.
            ValueError: They differ in size.
        """
        prediction, reference = _check_pair(prediction, reference)
        self.num_images += 1
        if _is_small(prediction) and _is_small(reference):
            pairs = reference.astype(np.uint16) * _NUM_SMALL + prediction.astype(np.uint16)
            self._small += np.bincount(pairs.ravel(), minlength=_NUM_SMALL**2)
        else:
            self._add_others(prediction, reference)

    def _add_others(self, prediction: np.ndarray, reference: np.ndarray) -> None:
        references, reference_index = np.unique(reference, return_inverse=True)
        predictions, prediction_index = np.unique(prediction, return_inverse=True)
        pairs = reference_index.ravel() * len(predictions) + prediction_index.ravel()
        counts = np.bincount(pairs, minlength=len(references) * len(predictions))
        for pair in np.flatnonzero(counts):
            labels = references[pair // len(predictions)], predictions[pair % len(predictions)]
            self._others[tuple(map(int, labels))] += int(counts[pair])

    def counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns true label, predicted label and number of pixels of each pair, int64 `[pairs]`.

        A pair may occur twice.
        """
        small = np.flatnonzero(self._small)
        others = np.array([(*pair, count) for pair, count in self._others.items()], np.int64)
        truth, predicted, counts = others.reshape(-1, 3).T
        return (
            np.concatenate([small // _NUM_SMALL, truth]),
            np.concatenate([small % _NUM_SMALL, predicted]),
            np.concatenate([self._small[small], counts]),
        )


def _check_pair(prediction, reference) -> tuple[np.ndarray, np.ndarray]:
    prediction, reference = np.asarray(prediction), np.asarray(reference)
    for argument, array in (("predictions", prediction), ("references", reference)):
        if array.dtype.kind not in "iub":
            raise TypeError(f"{argument} must be integer class ids, received {array.dtype}")
    if prediction.shape != reference.shape:
        raise ValueError(
            f"a prediction of shape {list(prediction.shape)} does not match its reference of shape "
            f"{list(reference.shape)}"
        )
    return prediction, reference


def _is_small(labels: np.ndarray) -> bool:
    return labels.size == 0 or (labels.min() >= 0 and labels.max() < _NUM_SMALL)
