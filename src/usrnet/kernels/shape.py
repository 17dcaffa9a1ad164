"""What is true of any kernel array: its extent, its place on the grid, and whether it is a kernel at all."""

import math
import warnings

import numpy as np

from usrnet.errors import UsrnetError, UsrnetWarning

LOST_MASS = 1e-3  # the share of its mass that a kernel may lose at the border of its array


def extent(kernel: np.ndarray, *, share: float = 1e-4) -> tuple[int, int]:
    """The sides of the smallest centred window that holds all but ``share`` of a kernel's absolute mass.

    ``kernel``: …×kh×kw. A measured PSF often comes with wide margins of nothing, which cost time wherever its side
    counts.
    """
    mass = np.abs(kernel).reshape(-1, *kernel.shape[-2:]).sum(axis=0)
    return _side(mass.sum(axis=1), share), _side(mass.sum(axis=0), share)


def _side(profile: np.ndarray, share: float) -> int:
    length = len(profile)
    distance = np.abs(np.arange(length) - length // 2)
    within = np.cumsum(np.bincount(distance, weights=profile))
    radius = int(np.argmax(within >= (1 - share) * within[-1]))
    return min(2 * radius + 1, length)


def shift(kernel: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """Move a kernel by ``dy`` pixels down and ``dx`` to the right, by bilinear resampling, and renormalise.

    ``kernel``: kh×kw or kh×kw×3. The array keeps its size, unless more than 0.1 % of the kernel would be lost at
    its border: then it grows on all sides, and the centre stays the centre. To place a centred kernel for the
    scale s, move it by −(s−1)/2 both ways.
    """
    kernel = check(kernel)
    moved = _translate(kernel, dy, dx)
    if np.abs(moved).sum() < (1 - LOST_MASS) * np.abs(kernel).sum():
        margin = [(math.ceil(abs(d)),) * 2 for d in (dy, dx)] + [(0, 0)] * (kernel.ndim - 2)
        moved = _translate(np.pad(kernel, margin), dy, dx)
    return moved / moved.sum(axis=(0, 1))


def _translate(kernel: np.ndarray, dy: float, dx: float) -> np.ndarray:
    from scipy.ndimage import shift as spline_shift

    offsets = (dy, dx) + (0,) * (kernel.ndim - 2)
    return spline_shift(kernel, offsets, order=1, mode="grid-constant", cval=0.0)


def align(kernel: np.ndarray, scale: int) -> np.ndarray:
    return shift(kernel, -(scale - 1) / 2, -(scale - 1) / 2) if scale > 1 else kernel


def check(kernel: np.ndarray, *, name: str = "the kernel", quiet: bool = False) -> np.ndarray:
    """The kernel as float64 with every channel's sum 1; a note is given when the sum was more than 1 % off.

    Raises ``UsrnetError`` for what is not kh×kw or kh×kw×3, not real, not finite, or has a sum that is not
    clearly positive.
    """
    if kernel.ndim == 3 and kernel.shape[-1] == 1:
        kernel = kernel[..., 0]
    if kernel.dtype.kind not in "biuf":
        raise UsrnetError(f"{name} holds {kernel.dtype} values: a kernel is made of real numbers")
    if kernel.ndim not in (2, 3) or (kernel.ndim == 3 and kernel.shape[-1] != 3) or not kernel.size:
        shape = "×".join(map(str, kernel.shape)) or "a single number"
        raise UsrnetError(f"{name} has the shape {shape}: a kernel is height×width, or height×width×3 per channel")
    values = kernel.astype(np.float64)
    if not np.isfinite(values).all():
        raise UsrnetError(f"{name} holds values that are not finite (NaN or infinity)")
    total = values.sum(axis=(0, 1))
    if (total <= 1e-3 * np.abs(values).sum(axis=(0, 1))).any():  # all zero as well
        raise UsrnetError(f"{name} has the sum {np.min(total):g}: it must be clearly above zero to be scaled to 1")
    if not quiet and (abs(total - 1) > 0.01).any():
        warnings.warn(f"{name} has the sum {np.mean(total):g}, scaled to 1", UsrnetWarning, stacklevel=3)
    return values / total
