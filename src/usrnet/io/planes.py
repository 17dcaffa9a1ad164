"""Pictures as what restoring works on: colour H×W×{1,3} and alpha H×W, float32 in [0,1]."""

from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Planes:
    """Colour H×W×{1,3} and alpha H×W (or None), float32 in [0,1]."""

    colour: np.ndarray
    alpha: np.ndarray | None


def split(pixels: np.ndarray) -> Planes:
    """Colour and alpha of ``pixels``, float32 in [0,1]."""
    values = pixels.astype(np.float32)
    if pixels.dtype.kind == "u":
        values /= np.iinfo(pixels.dtype).max
    if values.ndim == 2:
        return Planes(values[..., None], None)
    if values.shape[-1] in (2, 4):
        return Planes(values[..., :-1], values[..., -1])
    return Planes(values, None)


def join(colour: np.ndarray, alpha: np.ndarray | None, *, like: np.ndarray) -> np.ndarray:
    """The inverse of ``split``, with the type and layout of ``like``; clipped to [0,1] and rounded."""
    values = colour if alpha is None else np.concatenate([colour, alpha[..., None]], axis=-1)
    if like.ndim == 2:
        values = values[..., 0]
    values = values.clip(0, 1)
    if like.dtype.kind == "u":
        values = (values * np.iinfo(like.dtype).max).round()
    return np.ascontiguousarray(values.astype(like.dtype))


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


def enlarge_nearest(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Every pixel as ``scale``×``scale`` equal ones."""
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)
