"""Draws the pictures of `ShapesDataset`: a texture that fills the scene, lit objects on it, and what is where.

Lengths are in units of the short side of the picture, so that the same draws give the same scene at any size. `u` and
`v` are the column and row positions of the pixel centres, broadcast against each other; a pattern is an array (H, W)
in [-1, 1] whose two ends become the two colours of the texture.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import cv2
import numpy as np
from numpy.random import Generator

Array = np.ndarray
TURN = 2 * math.pi
OVERSAMPLING = 4  # outlines are filled at this multiple of the size and averaged down, for smooth edges
FRACTION_BITS = 4  # cv2.fillPoly takes fixed-point corners
MIN_VISIBLE = 0.4  # an object of which less than this fraction is in sight is not part of the scene
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Scene:
    """One picture and what is in it; N objects, the later ones over the earlier ones.

    Attributes:
        image: uint8 RGB (H, W, 3).
        label: class of the texture.
        boxes: float32 (N, 4), left, top, right, bottom of the visible parts in pixels; right and bottom are exclusive.
        box_labels: int64 (N,), classes of the objects.
        masks: bool (N, H, W), True where an object is visible; no two overlap.
        semantic: uint8 (H, W), 0 where the texture is visible and i + 1 on objects of class i.
    """

    image: Array
    label: int
    boxes: Array
    box_labels: Array
    masks: Array
    semantic: Array


@dataclass(frozen=True)
class Object:
    """One object: its class, form and colour, how much of each pixel it covers, and where it is visible."""

    label: int
    contours: list[Array]  # each (corners, 2), column and row
    centre: Array  # (2,)
    radius: float
    colour: Array  # (3,)
    cover: Array  # float32 (H, W) in [0, 1]
    visible: Array  # bool (H, W)


# ---------------------------------------------------------------------------------------------------------- textures


def _crisp(x: Array) -> Array:
    """Flatten the crests of a wave in [-1, 1]: clear bands whose edges stay smooth, so that nothing aliases."""
    x = x * (1.5 - 0.5 * x * x)
    return x * (1.5 - 0.5 * x * x)


def _wave_number(rng: Generator) -> float:
    return TURN / rng.uniform(0.25, 0.42)  # eight to thirteen of 32 pixels a period


def _rotated(u: Array, v: Array, angle: float) -> tuple[Array, Array]:
    c, s = math.cos(angle), math.sin(angle)
    return c * u + s * v, c * v - s * u


def _around_a_centre(u: Array, v: Array, rng: Generator) -> tuple[Array, Array]:
    short = min(u.size, v.size)
    return u - rng.uniform(0.2, 0.8) * u.size / short, v - rng.uniform(0.2, 0.8) * v.size / short


def _stripes(u: Array, v: Array, rng: Generator, angle: float) -> Array:
    across, _ = _rotated(u, v, angle + rng.uniform(-0.33, 0.33))
    return _crisp(np.sin(_wave_number(rng) * across + rng.uniform(0, TURN)))


def _checks(u: Array, v: Array, rng: Generator, angle: float) -> Array:
    across, along = _rotated(u, v, angle + rng.uniform(-0.25, 0.25))
    k = 0.8 * _wave_number(rng)
    return _crisp(_crisp(np.sin(k * across + rng.uniform(0, TURN)) * np.sin(k * along + rng.uniform(0, TURN))))


def _dots(u: Array, v: Array, rng: Generator) -> Array:
    # Three waves at 60 degrees have their crests on a hexagonal lattice: -1.5 between the dots, 3 at their centres.
    k, angle = 0.9 * _wave_number(rng), rng.uniform(-0.25, 0.25)
    x, y = u - rng.uniform(0, 1), v - rng.uniform(0, 1)
    waves = sum(np.cos(k * _rotated(x, y, angle + i * TURN / 6)[0]) for i in range(3))
    return _crisp(np.clip(waves - 0.3, -1, 1))


def _rings(u: Array, v: Array, rng: Generator) -> Array:
    x, y = _around_a_centre(u, v, rng)
    return _crisp(np.sin(_wave_number(rng) * np.sqrt(x * x + y * y) + rng.uniform(0, TURN)))


TEXTURES: dict[str, Callable[[Array, Array, Generator], Array]] = {
    "horizontal stripes": partial(_stripes, angle=TURN / 4),
    "vertical stripes": partial(_stripes, angle=0.0),
    "rising stripes": partial(_stripes, angle=TURN / 8),
    "falling stripes": partial(_stripes, angle=-TURN / 8),
    "checks": partial(_checks, angle=0.0),
    "diamonds": partial(_checks, angle=TURN / 8),
    "rings": _rings,
    "dots": _dots,
}


# ---------------------------------------------------------------------------------------------------------- outlines


def _polar(corners: int, radius: float | tuple[float, ...] = 1.0, start: float = -TURN / 4) -> Array:
    """Return `corners` points (corners, 2) around the origin, whose radii alternate through `radius`."""
    angles = start + np.arange(corners) * (TURN / corners)
    return np.resize(radius, corners)[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)


def _heart(corners: int = 48) -> Array:
    t = np.arange(corners) * (TURN / corners)
    x, y = 16 * np.sin(t) ** 3, 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y - 2], 1) / 15.5


_ARM = 0.34
_CROSS = [(-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM)]

# Each is a list of contours of radius about 1; what lies inside two contours is outside: the hole of a ring.
OUTLINES: dict[str, list[Array]] = {
    "disc": [_polar(48, 0.9)],
    "rectangle": [np.array([(-1.0, -0.62), (1, -0.62), (1, 0.62), (-1, 0.62)])],
    "triangle": [_polar(3, 1.15)],
    "star": [_polar(10, (1.2, 0.5))],
    "ring": [_polar(48), _polar(48, 0.52)],
    "cross": [np.array(_CROSS + [(-x, -y) for x, y in _CROSS])],
    "heart": [_heart()],
}
_CONTOURS = list(OUTLINES.values())


def _coverage(contours: list[Array], size: tuple[int, int], oversampling: int = OVERSAMPLING) -> Array:
    """Return how much of each pixel (H, W) the contours cover, float32 in [0, 1]."""
    height, width = size
    scale = min(size) * oversampling
    canvas = np.zeros((height * oversampling, width * oversampling), dtype=np.uint8)
    # fillPoly counts from pixel centres, hence the half pixel.
    corners = [np.round((c * scale - 0.5) * (1 << FRACTION_BITS)).astype(np.int32) for c in contours]
    cv2.fillPoly(canvas, corners, 255, shift=FRACTION_BITS)
    if oversampling > 1:
        canvas = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return canvas * np.float32(1 / 255)


def draw_object(size: tuple[int, int], rng: Generator) -> Object:
    """Return an object of any class, form and colour, all of it in a picture of `size`, (H, W), drawn by `rng`."""
    label, radius, angle = int(rng.integers(len(_CONTOURS))), rng.uniform(0.12, 0.19), rng.uniform(-0.4, 0.4)
    centre = extent_of(size) * rng.uniform(0.1, 0.9, 2)
    colour = _colour(rng.uniform(0.4, 0.75), rng.uniform(0.3, 0.45), rng.uniform())
    c, s = radius * math.cos(angle), radius * math.sin(angle)
    contours = [contour @ np.array([(c, s), (-s, c)]) + centre for contour in _CONTOURS[label]]
    cover = _coverage(contours, size)
    return Object(label, contours, centre, radius, colour, cover, cover >= 0.5)


def moved_to(thing: Object, centre: Array, size: tuple[int, int]) -> Object:
    """Return an object, `thing`, at another centre (2,), column and row, in a picture of `size`; it may lie outside."""
    contours = [contour + (centre - thing.centre) for contour in thing.contours]
    cover = _coverage(contours, size)
    return replace(thing, contours=contours, centre=centre, cover=cover, visible=cover >= 0.5)


def extent_of(size: tuple[int, int]) -> Array:
    """Return width and height of `size`, (H, W), in short sides, (2,)."""
    return np.array([size[1], size[0]]) / min(size)


def _place_objects(size: tuple[int, int], rng: Generator) -> list[Object]:
    """Return two or three objects, less those that the others hide; later ones lie over earlier ones."""
    objects: list[Object] = []
    taken = np.zeros(size, dtype=bool)
    for _ in range(rng.integers(2, 4)):  # from the top one down, so that what is in sight is known at once
        thing = draw_object(size, rng)
        visible = thing.visible & ~taken
        if np.count_nonzero(visible) > MIN_VISIBLE * np.count_nonzero(thing.visible):
            taken |= thing.visible
            objects.append(replace(thing, visible=visible))
    return objects[::-1]


# ------------------------------------------------------------------------------------------------------------ picture


def _colour(lightness: float, chroma: float, hue: float) -> Array:
    """Return RGB (3,), float32 in [0, 1], of the lightness given, whatever the hue (in turns)."""
    tint = np.cos(TURN * (hue - np.array([0, 1 / 3, 2 / 3], dtype=np.float32)))
    return np.clip(lightness + chroma * (tint - tint @ LUMA), 0, 1).astype(np.float32)


@lru_cache(maxsize=8)
def positions(size: tuple[int, int]) -> tuple[Array, Array]:
    """Return the columns (1, W) and rows (H, 1) of the pixel centres of `size`, (H, W), in short sides."""
    u, v = (((np.arange(n) + 0.5) / min(size)).astype(np.float32) for n in (size[1], size[0]))
    return u[None], v[:, None]


def _paint_background(label: int, u: Array, v: Array, rng: Generator) -> Array:
    dark, light = rng.uniform(0.15, 0.38), rng.uniform(0.68, 0.9)
    first = _colour(dark, rng.uniform(0.1, 0.35), rng.uniform())
    second = _colour(light, rng.uniform(0.1, 0.35), rng.uniform())
    if rng.uniform() < 0.5:
        first, second = second, first
    return first + draw_pattern(label, u, v, rng)[..., None] * (second - first)


def draw_pattern(label: int, u: Array, v: Array, rng: Generator) -> Array:
    """Return a texture, float32 (H, W): the share of the second of its two colours, in [0, 1]; see `draw_image`.

    Args:
        label: its class.
        u, v: columns (1, W) and rows (H, 1) of the pixel centres, in short sides.
        rng: draws the texture.
    """
    return 0.5 + 0.5 * _PATTERNS[label](u, v, rng).astype(np.float32)


def glow(u: Array, v: Array, light: Array, rng: Generator) -> Array:
    """Return the brightness (H, W) under a lamp off the middle, in the direction `light` (2,); as in `draw_pattern`."""
    x, y = u - 0.5 - rng.uniform(0.2, 0.7) * light[0], v - 0.5 - rng.uniform(0.2, 0.7) * light[1]
    return 0.4 + 0.85 * np.exp(-rng.uniform(0.5, 3) * (x * x + y * y)).astype(np.float32)


def _paint_object(image: Array, thing: Object, u: Array, v: Array, light: Array) -> None:
    """Paint one object and its shadow into `image` (H, W, 3); `light` (2,) points to where the light comes from."""
    size = image.shape[:2]
    shift = 0.3 * thing.radius * light
    shadow = _coverage([contour - shift for contour in thing.contours], size, oversampling=1)
    blur = 2 * int(0.03 * min(size)) + 3
    image *= 1 - 0.5 * cv2.blur(shadow, (blur, blur))[..., None]
    across = ((u - thing.centre[0]) * light[0] + (v - thing.centre[1]) * light[1]) / thing.radius
    shaded = (1 + 0.25 * across)[..., None].astype(np.float32) * thing.colour
    image += thing.cover[..., None] * (shaded - image)


def draw_ground(label: int, size: tuple[int, int], rng: Generator, moved: Array | None = None) -> tuple[Array, Array]:
    """Return a lit texture, float32 RGB (H, W, 3), and the way to its light (2,); arguments as in `draw_image`.

    By `moved` (2,), columns and rows in short sides, it is displaced.
    """
    u, v = positions(size) if moved is None else (at - way for at, way in zip(positions(size), moved, strict=True))
    angle = rng.uniform(0, TURN)
    light = np.array([math.cos(angle), math.sin(angle)])
    image = _paint_background(label, u, v, rng)
    return image * glow(u, v, light, rng)[..., None], light


def paint(ground: Array, objects: Sequence[Object], light: Array) -> Array:
    """Return the picture, uint8 RGB (H, W, 3), of a `ground`, its `light`, and objects, the topmost one last."""
    image, (u, v) = ground.copy(), positions(ground.shape[:2])
    for thing in objects:
        _paint_object(image, thing, u, v, light)
    return np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)


def draw_image(label: int, size: tuple[int, int], rng: Generator) -> tuple[Array, list[Object]]:
    """Return the picture, uint8 RGB (H, W, 3), of a texture class, and its objects from the lowest to the topmost.

    Args:
        label: the texture class.
        size: (H, W).
        rng: draws everything else.
    """
    ground, light = draw_ground(label, size, rng)
    objects = _place_objects(size, rng)
    return paint(ground, objects, light), objects


def draw_scene(label: int, size: tuple[int, int], rng: Generator) -> Scene:
    """Return the picture of `draw_image` from the same draws, with boxes and masks; arguments as in `draw_image`."""
    image, objects = draw_image(label, size, rng)
    masks = np.stack([thing.visible for thing in objects])
    box_labels = np.array([thing.label for thing in objects], dtype=np.int64)
    semantic = (masks * (box_labels[:, None, None] + 1)).sum(0).astype(np.uint8)
    boxes = np.array([_box_of(mask) for mask in masks], dtype=np.float32)
    return Scene(image, label, boxes, box_labels, masks, semantic)


def _box_of(mask: Array) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


_PATTERNS = list(TEXTURES.values())
