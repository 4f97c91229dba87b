"""Patterns, colours and backgrounds of the `shapes` data set.

A pattern gives the fraction of the second of two colours at each point, 0..1.
"""

from __future__ import annotations

import math

import numpy as np


def plain(x, y, rng):
    """Returns 0 everywhere, float32 of the grid's shape: only the first colour."""
    return np.zeros(np.broadcast(x, y).shape, np.float32)


def stripes(x, y, rng):
    """Returns stripes that are 5 to 9 pixels apart."""
    return _sharpen(np.sin(2 * math.pi * x / rng.uniform(5, 9) + rng.uniform(0, 6)), 3)


def dots(x, y, rng):
    """Returns a square grid of dots that are 6 to 9 pixels apart."""
    wave_number = 2 * math.pi / rng.uniform(6, 9)
    return _sharpen(np.cos(wave_number * x) + np.cos(wave_number * y) - 0.6, 3)


def speckle(x, y, rng):
    """Returns irregular spots, made of four waves in random directions."""
    waves = 0.0
    for angle in rng.uniform(0, math.pi, 4).tolist():
        along = rotate(x, y, angle)[0]
        waves = waves + np.sin(2 * math.pi / rng.uniform(3, 6) * along + rng.uniform(0, 6))
    return _sharpen(waves, 1.5)


def sectors(x, y, rng):
    """Returns four to six pairs of sectors around the centre."""
    return _sharpen(np.sin(int(rng.integers(4, 7)) * np.arctan2(y, x)), 4)


def _sharpen(wave, gain):
    return 0.5 + 0.5 * np.tanh(gain * wave)


def rotate(x, y, angle):
    """Rotates the coordinates by `angle` radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * x + sin * y, cos * y - sin * x


def _draw_color(rng):
    """Returns a colour of any hue, from gray to saturated: float32 `[3, 1, 1]`, 0..1."""
    color = rng.uniform(0.1, 0.9, (3, 1, 1))
    gray = color.mean()
    return (gray + rng.uniform(0.1, 0.9) * (color - gray)).astype(np.float32)


def draw_color_pair(rng):
    """Returns two colours, float32 `[3, 1, 1]`, whose brightness differs visibly."""
    first, second = _draw_color(rng), _draw_color(rng)
    # The brightness differs by at least 0.2, so that every pattern is visible.
    step = rng.uniform(0.2, 0.5) * (1 if first.mean() < 0.5 else -1)
    second = second + np.float32(first.mean() + step - second.mean())
    return first, np.clip(second, 0.03, 0.97)


def value_noise(rng, image_size, cells, octaves):
    """Sums random grids, each twice as fine and about half as strong; deviation about 0.5."""
    noise = np.zeros((image_size, image_size), np.float32)
    for octave in range(octaves):
        position = np.linspace(0, cells << octave, image_size, endpoint=False, dtype=np.float32)
        left = position.astype(int)
        share = position - left
        share = share * share * (3 - 2 * share)
        grid = rng.standard_normal(((cells << octave) + 1,) * 2, np.float32)
        # Interpolates along the first axis and transposes, twice. This avoids BLAS, whose threads
        # cost more than they save on grids of this size.
        for _ in range(2):
            grid = (grid[left] + share[:, None] * (grid[left + 1] - grid[left])).T
        noise += 0.6 * 0.55**octave * grid
    return noise


def _clouds(x, y, noise, rng):
    return _sharpen(noise, rng.uniform(0.6, 2))


def _wood(x, y, noise, rng):
    period = rng.uniform(14, 30)
    return _sharpen(np.sin(2 * math.pi * x / period + rng.uniform(1, 4) * noise), 1)


def _wide_stripes(x, y, noise, rng):
    return _sharpen(np.sin(2 * math.pi * x / rng.uniform(18, 40)) + 0.4 * noise, 3)


def _tiles(x, y, noise, rng):
    wave_number = 2 * math.pi / rng.uniform(30, 60)
    board = np.sin(wave_number * x) * np.sin(wave_number * y)
    return _sharpen(board + 0.2 * noise, 4)


def _grain(x, y, noise, rng):
    fine = rng.standard_normal(noise.shape, np.float32)
    return _sharpen(0.5 * noise + rng.uniform(0.2, 0.5) * fine, 1)


_BACKGROUNDS = (_clouds, _wood, _wide_stripes, _tiles, _grain)


def draw_background(rng, image_size):
    """Returns a textured background, float32 `[3, image_size, image_size]`, about 0..1."""
    noise = value_noise(rng, image_size, cells=int(rng.integers(2, 5)), octaves=5)
    axis = np.arange(image_size, dtype=np.float32)
    x, y = rotate(axis[None, :], axis[:, None], rng.uniform(0, 2 * math.pi))
    texture = _BACKGROUNDS[rng.integers(len(_BACKGROUNDS))]
    share = texture(x, y, noise, rng)
    first, second = draw_color_pair(rng)
    return (first + share * (second - first)) * (1 + 0.1 * noise)
