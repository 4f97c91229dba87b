"""Draws the scenes of the `shapes` data set with NumPy: textured shapes in uneven light.

Outlines are signed distances in pixels, negative inside. They give antialiased edges and a void
band of exact width without drawing at a larger size
(https://iquilezles.org/articles/distfunctions2d/). A class differs from the others in outline and
surface, not in colour: all colours come from one distribution.

The canvas is float32 `[3, height, width]`, because NumPy broadcasts over a last axis of three
20 times slower than over the first.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

from tfseg.data.sources import shapes_patterns

CLASS_NAMES = ("background", "disk", "square", "triangle", "star", "ring")
VOID_VALUE = 255
IMAGE_SIZE = 128

# Half the width of the void band in pixels. Diagonal neighbours are 1.41 pixels apart, so with at
# least 0.71 no pixel of an object touches a pixel of what lies behind it.
VOID_HALF_WIDTH = 0.75

# Radius of the middle of the ring's tube, and half the tube's width, in circumradii.
_RING_MIDDLE = 0.7
_RING_HALF_WIDTH = 0.3


@dataclasses.dataclass(frozen=True)
class Light:
    """Where a scene's light comes from."""

    direction: np.ndarray  # float32 [2], unit vector (x, y) in the image towards the light
    shadow_length: float  # offset of the shadows, pixels
    shadow_strength: float  # fraction of the light that a shadow takes away, 0..1


@dataclasses.dataclass(frozen=True)
class Pose:
    """Position of one object."""

    center: tuple[float, float]  # (x, y), pixels
    radius: float  # circumradius, pixels
    rotation: float  # radians


def draw_scene(
    rng: np.random.Generator, image_size: int = IMAGE_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one scene of three to six objects, later ones in front of earlier ones.

    Args:
        rng: The only source of randomness, so the same state gives the same scene.
        image_size: Height and width of the scene, pixels.

    Returns:
        The image, uint8 `[image_size, image_size, 3]`, and the mask, uint8
        `[image_size, image_size]`: positions in `CLASS_NAMES`, `VOID_VALUE` along outlines.
    """
    light = _draw_light(rng)
    canvas = shapes_patterns.draw_background(rng, image_size)
    mask = np.zeros((image_size, image_size), np.uint8)
    for _ in range(rng.integers(3, 7)):
        class_id = int(rng.integers(1, len(CLASS_NAMES)))
        _draw_object(canvas, mask, class_id, light, rng)
    return _photograph(canvas, light, rng), mask


def star_distance(
    x: np.ndarray, y: np.ndarray, radius: float, points: int, inner_ratio: float
) -> np.ndarray:
    """Signed distance to a star, or to a regular polygon if `inner_ratio` is cos(pi / points).

    Args:
        x: Coordinates from the centre, pixels; one tip lies on the positive x axis.
        y: Coordinates from the centre, pixels; broadcast with `x`.
        radius: Distance of the tips from the centre, pixels.
        points: Number of tips.
        inner_ratio: Distance of the inner corners from the centre, in radii.

    Returns:
        Pixels, negative inside, shape of `x` and `y` broadcast.
    """
    half_sector = math.pi / points
    angle = np.arctan2(y, x)
    folded = np.abs(angle - 2 * half_sector * np.rint(angle / (2 * half_sector)))
    from_center = _length(x, y)
    from_tip = from_center * np.cos(folded) - radius, from_center * np.sin(folded)
    inner_radius = radius * inner_ratio
    edge = inner_radius * math.cos(half_sector) - radius, inner_radius * math.sin(half_sector)
    along = (from_tip[0] * edge[0] + from_tip[1] * edge[1]) / (edge[0] ** 2 + edge[1] ** 2)
    along = np.clip(along, 0, 1)
    distance = _length(from_tip[0] - along * edge[0], from_tip[1] - along * edge[1])
    inside = edge[0] * from_tip[1] > edge[1] * from_tip[0]
    return np.where(inside, -distance, distance)


def _length(x, y):
    return np.sqrt(x * x + y * y)  # takes a quarter of the time of np.hypot


def _disk_distance(x, y, radius):
    return _length(x, y) - radius


def _ring_distance(x, y, radius):
    return np.abs(_length(x, y) - _RING_MIDDLE * radius) - _RING_HALF_WIDTH * radius


def _rounded_distance(x, y, radius, points, inner_ratio):
    rounding = 0.08 * radius
    return star_distance(x, y, radius - rounding, points, inner_ratio) - rounding


def _dome(x, y, radius, light):
    return _relief(x / radius, y / radius, light)


def _tube(x, y, radius, light):
    from_center = np.maximum(_length(x, y), 1e-3)
    slope = (from_center / radius - _RING_MIDDLE) / _RING_HALF_WIDTH / from_center
    return _relief(slope * x, slope * y, light)


def _flat(x, y, radius, light):
    return 1 + 0.2 * (x * light.direction[0] + y * light.direction[1]) / radius, 0.0


def _relief(normal_x, normal_y, light):
    """Returns the diffuse factor (Lambert) and the white highlight (Phong) of a round surface."""
    normal_z = np.sqrt(np.maximum(1 - normal_x**2 - normal_y**2, 0))
    towards = normal_x * light.direction[0] + normal_y * light.direction[1]
    lit = np.clip(0.7 * towards + 0.7 * normal_z, 0, 1)
    return 0.3 + 0.85 * lit, 0.3 * lit**24


@dataclasses.dataclass(frozen=True)
class _ShapeStyle:
    distance: Callable  # (x, y, radius) -> signed distance, pixels
    pattern: Callable  # (x, y, rng) -> fraction of the second colour, 0..1
    shading: Callable  # (x, y, radius, light) -> diffuse factor, highlight
    scale: float  # circumradius relative to a disk's, so that areas are similar


def _polygon(points):
    return functools.partial(
        _rounded_distance, points=points, inner_ratio=math.cos(math.pi / points)
    )


_STAR = functools.partial(_rounded_distance, points=5, inner_ratio=0.5)

# In the order of CLASS_NAMES, without the background.
_STYLES = (
    _ShapeStyle(_disk_distance, shapes_patterns.plain, _dome, 1.0),
    _ShapeStyle(_polygon(4), shapes_patterns.stripes, _flat, 1.2),
    _ShapeStyle(_polygon(3), shapes_patterns.dots, _flat, 1.45),
    _ShapeStyle(_STAR, shapes_patterns.speckle, _flat, 1.4),
    _ShapeStyle(_ring_distance, shapes_patterns.sectors, _tube, 1.2),
)


def _draw_object(canvas, mask, class_id, light, rng):
    """Draws one object on `canvas` and on `mask`, uint8 `[height, width]`, both in place."""
    style = _STYLES[class_id - 1]
    pose = _draw_pose(rng, style.scale, mask.shape[0])
    window, x, y = _window_around(pose, light.shadow_length, mask.shape[0])
    _cast_shadow(canvas[:, *window], style, pose, light, x, y)
    distance = style.distance(*shapes_patterns.rotate(x, y, pose.rotation), pose.radius)
    patch = canvas[:, *window]
    surface = _paint_surface(style, pose, light, x, y, rng)
    patch += np.clip(0.5 - distance, 0, 1) * (surface - patch)
    mask[window][distance < VOID_HALF_WIDTH] = VOID_VALUE
    mask[window][distance < -VOID_HALF_WIDTH] = class_id


def _draw_pose(rng, scale, image_size):
    center = tuple(rng.uniform(0.06, 0.94, 2) * image_size)
    radius = scale * image_size * rng.uniform(0.11, 0.21)
    return Pose(center, radius, rng.uniform(0, 2 * math.pi))


def _window_around(pose, margin, image_size):
    reach = pose.radius + margin + 2
    slices, coordinates = [], []
    for middle in pose.center:
        start = max(0, int(middle - reach))
        stop = min(image_size, int(middle + reach) + 1)
        slices.append(slice(start, stop))
        coordinates.append(np.arange(start, stop, dtype=np.float32) - np.float32(middle))
    return (slices[1], slices[0]), coordinates[0][None, :], coordinates[1][:, None]


def _cast_shadow(patch, style, pose, light, x, y):
    """Darkens `patch` in place where the object blocks the light, with a soft edge."""
    offset = light.shadow_length * light.direction
    x, y = shapes_patterns.rotate(x + offset[0], y + offset[1], pose.rotation)
    distance = style.distance(x, y, pose.radius)
    softness = 2 + light.shadow_length / 2
    shadow = np.clip(0.5 - distance / softness, 0, 1)
    patch *= 1 - light.shadow_strength * shadow


def _paint_surface(style, pose, light, x, y, rng):
    first, second = shapes_patterns.draw_color_pair(rng)
    pattern = style.pattern(*shapes_patterns.rotate(x, y, rng.uniform(0, 2 * math.pi)), rng)
    diffuse, highlight = style.shading(x, y, pose.radius, light)
    color = first + pattern * (second - first)
    return color * diffuse + highlight


def _draw_light(rng):
    angle = rng.uniform(0, 2 * math.pi)
    direction = np.array([math.cos(angle), math.sin(angle)], np.float32)
    return Light(direction, rng.uniform(2, 8), rng.uniform(0.2, 0.6))


def _photograph(canvas, light, rng):
    """Returns a uint8 photograph of the scene: uneven light, then blur, then sensor noise."""
    image_size = canvas.shape[-1]
    x = np.linspace(-1, 1, image_size, dtype=np.float32)[None, :]
    y = x.T
    exposure = 1 + rng.uniform(0, 0.3) * (light.direction[0] * x + light.direction[1] * y)
    exposure = exposure - rng.uniform(0, 0.18) * (x**2 + y**2)
    exposure = exposure + 0.12 * shapes_patterns.value_noise(rng, image_size, cells=2, octaves=1)
    tint = rng.uniform(0.8, 1.1) * rng.uniform(0.9, 1.1, (3, 1, 1)).astype(np.float32)
    picture = _blur(canvas * exposure * tint, rng.uniform(0, 0.25))
    picture += rng.uniform(0.005, 0.03) * rng.standard_normal(picture.shape, np.float32)
    return (255 * np.clip(picture, 0, 1) + 0.5).astype(np.uint8).transpose(1, 2, 0).copy()


def _blur(image, side_weight):
    """Blurs over three pixels along both axes; a `side_weight` of 0.25 is the binomial kernel."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, 1:-1]
    rows = rows + side_weight * (padded[:, :-2] + padded[:, 2:] - 2 * rows)
    middle = rows[:, :, 1:-1]
    return middle + side_weight * (rows[:, :, :-2] + rows[:, :, 2:] - 2 * middle)
