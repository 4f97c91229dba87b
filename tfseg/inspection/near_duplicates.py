"""Images of one split that come back in another, exactly or nearly.

Two images are nearly the same if at most `MAX_DISTANCE` of the 256 bits of their difference hashes
differ (https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html). The limit
comes from 160 photographs (60 of CamVid, 100 of Oxford-IIIT Pet). Their copies as JPEG of quality
50 differ in up to 16 bits, and their copies at 0.6 of the size in up to 21. Of the pairs of two
different photographs 999 in 1,000 differ in at least 59 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

HASH_SIDE = 16
MAX_DISTANCE = 25
_MIN_SIDE = 64  # pixels that an image keeps of its shorter side before it is hashed
_MIN_BITS = 16  # a hash with fewer set or unset bits is that of a flat image, such as a black one
_MAX_PRODUCTS = 1 << 24  # distances that are computed at a time; 64 MB


class Match(NamedTuple):
    """An image of the first split and one of the second, by position, and their distance in bits.

    A distance of -1 stands for files with the same bytes.
    """

    first: int
    second: int
    distance: int


def hash_image(image: np.ndarray) -> np.ndarray:
    """Returns the difference hash of uint8 `[height, width, 3]`: bool `[HASH_SIDE ** 2]`."""
    import imagehash

    picture = Image.fromarray(image)
    factor = min(picture.size) // _MIN_SIDE
    if factor > 1:
        picture = picture.reduce(factor)  # The hash's own resize of the whole image takes longer.
    return imagehash.dhash(picture, HASH_SIDE).hash.ravel()


def find_near(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> list[Match]:
    """Returns for each hash of `second` its nearest of `first`, if that is near enough.

    Hashes of flat images match nothing. Distances are computed as products of matrices of -1 and 1,
    so 2,000 times 20,000 hashes take about a second.

    Args:
        first: Hashes, bool `[bits]` each.
        second: As `first`.
    """
    if not len(second):
        return []
    signs = _signs(second)
    nearest, largest = np.zeros(len(second), int), np.full(len(second), -np.inf)
    block = max(1, _MAX_PRODUCTS // len(second))
    for start in range(0, len(first), block):
        products = signs @ _signs(first[start : start + block]).T
        is_nearer = products.max(axis=1) > largest
        largest = np.maximum(largest, products.max(axis=1))
        nearest[is_nearer] = start + products.argmax(axis=1)[is_nearer]
    distances = (signs.shape[1] - largest) / 2
    return [
        Match(int(nearest[index]), int(index), round(float(distances[index])))
        for index in np.flatnonzero(distances <= MAX_DISTANCE)
    ]


def _signs(hashes: Sequence[np.ndarray]) -> np.ndarray:
    bits = np.asarray(hashes, np.float32)
    count = bits.sum(axis=1, keepdims=True)
    is_flat = (count < _MIN_BITS) | (count > bits.shape[1] - _MIN_BITS)
    return np.where(is_flat, 0, 2 * bits - 1)


def find_exact(first: Sequence[bytes], second: Sequence[bytes]) -> list[Match]:
    """Returns for each digest of `second` the first position with the same digest in `first`."""
    positions = {digest: index for index, digest in reversed(list(enumerate(first)))}
    return [
        Match(positions[digest], index, -1)
        for index, digest in enumerate(second)
        if digest in positions
    ]
