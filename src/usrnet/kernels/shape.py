"""What is true of any kernel array: its extent, its place on the grid, and whether it is a kernel at all."""

import math
import warnings

import numpy as np

from usrnet.errors import UsrnetError, UsrnetWarning

LOST_MASS = 1e-3  # the share of its mass that a kernel may lose at the border of its array


def extent(kernel: np.ndarray, *, share: float = 1e-4) -> tuple[int, int]:
    """The sides of the smallest centred window that holds all but ``share`` of a kernel's absolute mass.

    A measured PSF often comes with wide margins of nothing, which cost time wherever its side counts.

    Parameters
    ----------
    kernel : ndarray, …×kh×kw
        One kernel, or several that share the window.
    share : float
        How much of the mass may lie outside, 0 to 1.

    Returns
    -------
    tuple of int
        Height and width in pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import kernels
    >>> kernels.extent(np.pad(np.ones((3, 5)), 10))
    (3, 5)
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
    """Move a kernel by bilinear resampling, and renormalise it.

    The array keeps its size, unless more than 0.1 % of the kernel would be lost at its border: then it grows on all
    sides, and the centre stays the centre.

    Parameters
    ----------
    kernel : ndarray, kh×kw or kh×kw×3
        The kernel, or one for each colour channel.
    dy, dx : float
        Pixels down and to the right.

    Returns
    -------
    ndarray, kh×kw or kh×kw×3
        Float64, every sum 1.

    Raises
    ------
    UsrnetError
        It is no kernel, see :func:`check`.

    Examples
    --------
    >>> from usrnet import kernels
    >>> kernels.shift(kernels.delta(), -0.5, -0.5)[:2, :2].tolist()
    [[0.25, 0.25], [0.25, 0.25]]
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
    """Place a centred kernel for a scale factor: moved by (s−1)/2 up and left, so that the result lies on the input.

    Parameters
    ----------
    kernel : ndarray, kh×kw or kh×kw×3
        A centred kernel.
    scale : int
        The scale factor s; 1 gives the kernel back.

    Returns
    -------
    ndarray, kh×kw or kh×kw×3
        As :func:`shift`.

    Raises
    ------
    UsrnetError
        It is no kernel, see :func:`check`.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import kernels
    >>> down, right = kernels.centre_of_mass(kernels.align(kernels.disk(3), 4))
    >>> round(down, 3), round(right, 3)
    (-1.5, -1.5)
    """
    return shift(kernel, -(scale - 1) / 2, -(scale - 1) / 2) if scale > 1 else kernel


def check(kernel: np.ndarray, *, name: str = "the kernel", quiet: bool = False) -> np.ndarray:
    """The kernel as float64 with every channel's sum 1; a note is given when the sum was more than 1 % off.

    Parameters
    ----------
    kernel : ndarray, kh×kw, kh×kw×1 or kh×kw×3
        Real numbers of any type.
    name : str
        What errors and notes call it.
    quiet : bool
        No note: for values that are grey levels or counts.

    Returns
    -------
    ndarray, kh×kw or kh×kw×3
        A copy.

    Raises
    ------
    UsrnetError
        It has another shape, is not real, not finite, or has a sum that is not clearly positive.

    Warns
    -----
    UsrnetWarning
        The sum was more than 1 % off.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import kernels
    >>> kernels.check(np.array([[1, 2, 1]]), quiet=True).tolist()
    [[0.25, 0.5, 0.25]]
    """
    if kernel.ndim == 3 and kernel.shape[-1] == 1:
        kernel = kernel[..., 0]
    if kernel.dtype.kind not in "biuf":
        raise UsrnetError(f"{name} holds {kernel.dtype} values: a kernel is made of real numbers")
    if kernel.ndim not in (2, 3) or (kernel.ndim == 3 and kernel.shape[-1] != 3) or not kernel.size:
        shape = "×".join(map(str, kernel.shape)) or "a single number"
        raise UsrnetError(f"{name} has the shape {shape}: a kernel is height×width, or height×width×3 per channel")
    with np.errstate(all="ignore"):  # what is not finite is found here
        values = kernel.astype(np.float64)
        total, mass = values.sum(axis=(0, 1)), np.abs(values).sum(axis=(0, 1))
    if not np.isfinite(values).all():
        raise UsrnetError(f"{name} holds values that are not finite (NaN or infinity)")
    if not np.isfinite(mass).all():
        raise UsrnetError(f"{name} holds values whose sum is no number any more: divide them by the largest")
    if (total <= 1e-3 * mass).any():  # all zero as well
        raise UsrnetError(f"{name} has the sum {np.min(total):g}: it must be clearly above zero to be scaled to 1")
    if not quiet and (abs(total - 1) > 0.01).any():
        warnings.warn(f"{name} has the sum {np.mean(total):g}, scaled to 1", UsrnetWarning, stacklevel=3)
    return values / total
