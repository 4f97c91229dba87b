"""A mask and a class map whose metrics are counted by hand, and random ones."""

import numpy as np

VOID = 255

# Counted by hand. Each pixel as true class -> predicted class:
#   0->0  0->0  0->1
#   1->1  2->1  void
# Class 0: 3 true pixels, 2 predicted, 2 correct. Class 1: 1 true, 3 predicted, 1 correct.
# Class 2: 1 true, 0 predicted, 0 correct. Class 3: 0 true, 0 predicted.
MASK = np.array([[0, 0, 0], [1, 2, VOID]], np.int32)
CLASS_MAP = np.array([[0, 0, 1], [1, 1, 3]], np.int32)
CONFUSION = np.array([[2, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
IOU = [2 / (3 + 2 - 2), 1 / (1 + 3 - 1), 0 / (1 + 0 - 0), np.nan]
ACCURACY = [2 / 3, 1 / 1, 0 / 1, np.nan]
DICE = [4 / (3 + 2), 2 / (1 + 3), 0 / (1 + 0), np.nan]
NAMES = ["cat", "dog", "grass", "sky"]


def random_batch(seed, shape, num_classes=4):
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, num_classes, shape)
    masks[rng.random(shape) < 0.2] = VOID
    return masks.astype(np.int32), rng.integers(0, num_classes, shape).astype(np.int32)
