"""Copies are found, flat images and different ones are not."""

import io

import numpy as np
from PIL import Image

from tfseg.inspection import near_duplicates
from tfseg.inspection.near_duplicates import MAX_DISTANCE, Match


def worsened(image):
    """A smaller copy, saved as a JPEG of low quality."""
    buffer = io.BytesIO()
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((width * 3 // 5, height * 3 // 5))
    small.save(buffer, "JPEG", quality=50)
    return np.asarray(Image.open(buffer))


def test_a_worsened_copy_is_near_and_another_image_is_not(make_image):
    images = [make_image(300, 400, seed) for seed in range(4)]
    hashes = [near_duplicates.hash_image(image) for image in images]
    copies = [near_duplicates.hash_image(worsened(images[index])) for index in (2, 0)]
    other = near_duplicates.hash_image(make_image(300, 400, seed=9))
    matches = near_duplicates.find_near(hashes, [copies[0], other, copies[1]])
    assert [(match.first, match.second) for match in matches] == [(2, 0), (0, 2)]
    for match in matches:
        bits = int((hashes[match.first] != [copies[0], other, copies[1]][match.second]).sum())
        assert match.distance == bits <= MAX_DISTANCE


def test_the_limit_is_exact():
    first = np.arange(256) % 2 == 0
    second, third = first.copy(), first.copy()
    second[:MAX_DISTANCE] ^= True
    third[: MAX_DISTANCE + 1] ^= True
    assert near_duplicates.find_near([first], [second, third]) == [Match(0, 0, MAX_DISTANCE)]


def test_flat_images_match_nothing():
    black = near_duplicates.hash_image(np.zeros((80, 90, 3), np.uint8))
    white = near_duplicates.hash_image(np.full((80, 90, 3), 255, np.uint8))
    assert near_duplicates.find_near([black], [white, black]) == []
    assert near_duplicates.find_near([], [black]) == []


def test_an_image_of_one_pixel_has_a_hash():
    assert near_duplicates.hash_image(np.zeros((1, 1, 3), np.uint8)).shape == (256,)


def test_many_hashes_are_compared_block_by_block(monkeypatch):
    monkeypatch.setattr(near_duplicates, "_MAX_PRODUCTS", 3000 * 700)
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, (3000, 256)).astype(bool)
    second = first[rng.permutation(3000)]
    matches = near_duplicates.find_near(first, second)
    assert len(matches) == 3000
    assert all((first[m.first] == second[m.second]).all() and m.distance == 0 for m in matches)


def test_equal_files_are_found_once_each():
    assert near_duplicates.find_exact([b"a", b"b", b"a"], [b"a", b"c", b"b"]) == [
        Match(0, 0, -1),
        Match(1, 2, -1),
    ]
