"""Collages: shapes and lines cut out of one photo and laid on another.

Photos have few edges that are as sharp as the grid allows, and fewer thin lines between flat colours, which is where
restoring goes wrong most. Paper cut-outs have nothing else (A. B. Lee, D. Mumford, J. Huang, "Occlusion models for
natural images", IJCV 41, 2001). Their colours and textures are those of the photos.
"""

import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

FINER = 4  # masks are drawn so many times larger and averaged
LAYERS = (1, 12)
RADII = (0.03, 0.7)  # of a shape, of the side of the patch
LINES = (0.7, 3.0)  # widths in pixels
SOFTEST = 0.8  # pixels: standard deviation of the blur of an edge

Points = list[tuple[float, float]]


def collages(sharp: Tensor, chosen: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Patches N×3×P×P in [0,1], those at ``chosen`` (N, true or false) with shapes of the others laid on them."""
    result = sharp.clone()
    count, _, side, _ = sharp.shape
    for index in np.flatnonzero(chosen):
        for _ in range(round(math.exp(rng.uniform(*np.log(LAYERS))))):
            fill, outline = draw_masks(rng, side)
            colour = _colours(sharp, rng) if rng.random() < 0.6 else sharp[int(rng.integers(count))]
            result[index] = _laid(result[index], fill, colour)
            if outline is not None:
                result[index] = _laid(result[index], outline, _colours(sharp, rng))
    return result


def _laid(below: Tensor, mask: np.ndarray, above: Tensor) -> Tensor:
    return torch.lerp(below, above, torch.from_numpy(mask).to(below.device))


def draw_masks(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Where a shape covers a patch of ``side``², side×side in [0,1], and where its outline does, if it has one."""
    radius = side * math.exp(rng.uniform(*np.log(RADII)))
    centre = rng.uniform(0, side, 2)
    softness = rng.uniform(0, SOFTEST)
    kind = rng.choice(("ellipse", "polygon", "blob", "stroke", "stripes"), p=(0.2, 0.25, 0.2, 0.2, 0.15))
    if kind == "stroke":
        return _mask(side, softness, lines=[_bent(rng, radius, centre)], width=_width(rng)), None
    if kind == "stripes":
        width = _width(rng)
        apart = width * rng.uniform(1.5, 4)
        bend = rng.normal(0, 0.2)
        angle = rng.uniform(0, 2 * math.pi)
        lines = [
            _bent(rng, radius, centre + number * apart * np.array([-math.sin(angle), math.cos(angle)]), angle, bend)
            for number in range(int(rng.integers(2, 9)))
        ]
        return _mask(side, softness, lines=lines, width=width), None
    path = _closed(rng, kind, radius, centre)
    outline = None
    if rng.random() < 0.4:
        outline = _mask(side, softness, lines=[[*path, path[0]]], width=_width(rng))
    return _mask(side, softness, areas=[path]), outline


def _width(rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(*np.log(LINES)))


def _closed(rng: np.random.Generator, kind: str, radius: float, centre: np.ndarray) -> Points:
    """The rim of an ellipse, a polygon or a blob."""
    if kind == "polygon":
        angles = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 9))))
        distances = radius * rng.uniform(0.4, 1.2, len(angles))
    else:
        angles = np.linspace(0, 2 * math.pi, 64, endpoint=False)
        distances = np.full(64, radius)
        if kind == "blob":
            for order in range(1, 7):
                distances = distances + radius * rng.normal(0, 0.2 / order) * np.cos(
                    order * angles + rng.uniform(0, 6.3)
                )
    points = np.stack((distances * np.cos(angles), distances * np.sin(angles)), 1)
    if kind == "ellipse":
        points[:, 1] *= rng.uniform(0.3, 1)
        turn = rng.uniform(0, math.pi)
        points = points @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return [(float(x), float(y)) for x, y in points + centre]


def _bent(
    rng: np.random.Generator,
    radius: float,
    centre: np.ndarray,
    angle: float | None = None,
    bend: float | None = None,
) -> Points:
    """A line of the length 3 radii, bent to a parabola."""
    angle = rng.uniform(0, 2 * math.pi) if angle is None else angle
    bend = rng.normal(0, 0.4) if bend is None else bend
    along = np.linspace(-1.5, 1.5, 24)
    x, y = radius * along, radius * bend * along**2
    cosine, sine = math.cos(angle), math.sin(angle)
    return [
        (float(u), float(v))
        for u, v in zip(centre[0] + cosine * x - sine * y, centre[1] + sine * x + cosine * y, strict=True)
    ]


def _mask(
    side: int,
    softness: float,
    *,
    areas: list[Points] | None = None,
    lines: list[Points] | None = None,
    width: float = 1,
) -> np.ndarray:
    canvas = Image.new("L", (side * FINER, side * FINER))
    draw = ImageDraw.Draw(canvas)
    for path in areas or []:
        draw.polygon([(FINER * x, FINER * y) for x, y in path], fill=255)
    for path in lines or []:
        draw.line(
            [(FINER * x, FINER * y) for x, y in path], fill=255, width=max(1, round(FINER * width)), joint="curve"
        )
    soft = canvas.filter(ImageFilter.GaussianBlur(FINER * softness))
    return np.asarray(soft.resize((side, side), Image.Resampling.BOX), np.float32) / 255


def _colours(sharp: Tensor, rng: np.random.Generator) -> Tensor:
    """A colour of the photos, made dark or bright at times, or a gradient between two: 3×P×P."""
    count, _, side, _ = sharp.shape

    def one() -> Tensor:
        row, column = rng.integers(side, size=2)
        colour = sharp[int(rng.integers(count)), :, int(row), int(column)]
        share, strength = rng.random(), rng.uniform(0, 0.3)
        if share < 0.25:
            colour = strength * colour
        elif share < 0.35:
            colour = 1 - strength * (1 - colour)
        return colour[:, None, None]

    first = one()
    last = first if rng.random() < 0.7 else one()
    ramp = torch.linspace(0, 1, side, device=sharp.device).expand(3, side, side)
    return torch.lerp(first, last, ramp if rng.random() < 0.5 else ramp.mT)
