"""Pictures as what restoring works on: colour H×W×{1,3} and alpha H×W, float32 in the unit range."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from usrnet.io.levels import Levels, full_scale


@dataclass(frozen=True)
class Planes:
    """Colour H×W×{1,3} and alpha H×W (or None), float32; 0 is black and 1 is full scale."""

    colour: np.ndarray
    alpha: np.ndarray | None


def split(pixels: np.ndarray, levels: Levels | None = None) -> Planes:
    """Colour and alpha of ``pixels``, H×W, H×W×1 or H×W×{2,3,4}, float32 in the unit range.

    ``levels``: which values are black and full scale, None for what the type means. Alpha runs from nothing to all of
    the type in any case.
    """
    usual = full_scale(pixels.dtype)
    if pixels.ndim == 2:
        return Planes((levels or usual).unit(pixels)[..., None], None)
    if pixels.shape[-1] not in (2, 4):
        return Planes((levels or usual).unit(pixels), None)
    alpha = pixels[..., -1].clip(0, 1) if pixels.dtype.kind == "f" else pixels[..., -1]
    return Planes((levels or usual).unit(pixels[..., :-1]), usual.unit(alpha))


def join(
    colour: np.ndarray, alpha: np.ndarray | None, *, like: np.ndarray, levels: Levels | None = None
) -> np.ndarray:
    """The inverse of ``split``, with the type and layout of ``like``; whole numbers are clipped and rounded.

    Floats are not clipped: what lies below 0 or above 1 in a measured picture means something.
    """
    usual = full_scale(like.dtype)
    values = (levels or usual).stored(colour, like.dtype)
    if alpha is not None:
        values = np.concatenate([values, usual.stored(alpha.clip(0, 1), like.dtype)[..., None]], axis=-1)
    return np.ascontiguousarray(values[..., 0] if like.ndim == 2 else values)


def upscale_alpha(alpha: np.ndarray, scale: int) -> np.ndarray:
    """Alpha H×W in [0,1] enlarged by bicubic interpolation, clipped."""
    size = alpha.shape[1] * scale, alpha.shape[0] * scale
    enlarged = Image.fromarray(alpha.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(enlarged).clip(0, 1)


def bleed(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Give pixels that cannot be seen the colour of the nearest one that can, so that none enters the edges."""
    from scipy.ndimage import distance_transform_edt

    hidden = alpha < 1 / 255
    if not hidden.any() or hidden.all():
        return colour
    nearest = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    assert nearest is not None
    return colour[nearest[0], nearest[1]]


def groups(shape: Sequence[int], extra: int) -> list[slice | int]:
    """What of an array H×W or H×W×C is restored together: the colour with its alpha, then each extra band alone.

    ``extra``: how many of the last channels are neither colour nor alpha. To be used as ``pixels[..., group]``.
    """
    if len(shape) == 2:
        return [slice(None)]
    first = shape[2] - extra
    return [0 if first == 1 else slice(0, first), *range(first, shape[2])]


def has_alpha(shape: Sequence[int], extra: int) -> bool:
    """Whether the pixels have a channel that says how opaque they are."""
    return len(shape) == 3 and shape[2] - extra in (2, 4)


def together(strips: Sequence[Iterator[np.ndarray]]) -> Iterator[list[np.ndarray]]:
    """Strips of rows of several planes, cut differently, as strips of equal height: one of each at a time."""
    waiting: list[np.ndarray | None] = [None] * len(strips)
    while True:
        for index, part in enumerate(waiting):
            if part is None or not len(part):
                waiting[index] = next(strips[index], None)
        ready = [part for part in waiting if part is not None]
        if len(ready) < len(strips):
            return
        rows = min(len(part) for part in ready)
        yield [part[:rows] for part in ready]
        waiting = [part[rows:] for part in ready]


def enlarge_nearest(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Every pixel as ``scale``×``scale`` equal ones."""
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)
