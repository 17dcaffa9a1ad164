"""A measured PSF looked at before it is used: what is wrong with it, and how it is mended.

A PSF is the light of one point: dark at its border, brightest about its centre, in linear values. What programs and
instruments write is often something else by a pedestal, a shift or a sign, and costs 10 to 25 dB without a word.
"""

import math

import numpy as np

from usrnet.errors import UsrnetError
from usrnet.kernels.shape import check, shift

NOTED_SHARE = 0.05  # of a PSF's light that a flat border may hold before it is said
NOTED_SHIFT = 0.5  # pixels that the centre of mass may lie off
_SMALLEST = 7  # sides below this have no border to speak of


def findings(kernel: np.ndarray, *, scale: int = 1) -> list[str]:
    """What is doubtful in a PSF: a background, an inverted or moved one, an even size.

    Parameters
    ----------
    kernel : ndarray, kh×kw or kh×kw×3
        A PSF with the sum 1.
    scale : int
        The scale factor that it may have been placed for.

    Returns
    -------
    list of str
        Each half a sentence with its number and what mends it; empty if there is nothing to say.

    Examples
    --------
    >>> from usrnet import kernels
    >>> kernels.findings(kernels.gaussian(2))
    []
    >>> kernels.findings(kernels.shift(kernels.gaussian(2), 3, 0))[0][:40]
    'the centre of mass lies 3.0 pixels down '
    """
    flat = kernel if kernel.ndim == 2 else kernel.sum(axis=-1)
    found = []
    height, width = flat.shape
    level, flatness = _border(flat)
    peak, deep = float(flat.max()), float(flat.min())
    inverted = level - deep > 2 * (peak - level) and level > 0.3 * peak and peak > deep
    share = level * flat.size / flat.sum()
    if min(height, width) >= _SMALLEST and inverted:
        found.append(
            f"the border is brighter than the middle ({share:.0%} of the light if all were as bright): it is black "
            "on white, which `usrnet kernel --background auto` turns round"
        )
        return found
    if min(height, width) >= _SMALLEST and share > NOTED_SHARE and flatness < 0.25 * (peak - level):
        found.append(
            f"the border holds {share:.0%} of the light, so there is a background, which "
            "`usrnet kernel --background auto` takes off"
        )
        return found  # the centre of mass of a background says nothing
    if _in_corners(flat):
        found.append(
            f"the light lies in the corners (FFT order), {height // 2} pixels down and {width // 2} right of the "
            "centre; `usrnet kernel --center` mends it"
        )
        return found
    down, right = centre_of_mass(flat)
    placed = (scale - 1) / 2  # a kernel for this scale lies that far to the upper left
    if max(down, right) > NOTED_SHIFT or min(down, right) < -placed - NOTED_SHIFT:
        found.append(
            f"the centre of mass lies {_pixels(down, 'down', 'up')} and {_pixels(right, 'right', 'left')} of the "
            "centre, which moves the result; `usrnet kernel --center` mends it"
        )
    even = [side for side in (height, width) if side % 2 == 0]
    if even:
        found.append(
            f"the size {height}×{width} is even: the centre is taken to be pixel ({height // 2}, {width // 2}), "
            "counted from 0"
        )
    return found


def is_placed(kernel: np.ndarray, scale: int) -> bool:
    """Whether a kernel lies nearer to where one for ``scale`` lies, (s−1)/2 up and left, than to the centre."""
    flat = kernel if kernel.ndim == 2 else kernel.sum(axis=-1)
    return scale == 1 or max(centre_of_mass(flat)) < -(scale - 1) / 4


def centre_of_mass(kernel: np.ndarray) -> tuple[float, float]:
    """How far the centre of mass lies from the centre pixel ``(kh // 2, kw // 2)``.

    Parameters
    ----------
    kernel : ndarray, kh×kw
        The kernel; its sum need not be 1.

    Returns
    -------
    tuple of float
        Pixels down and to the right.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import kernels
    >>> kernels.centre_of_mass(np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]]))
    (-0.5, 1.0)
    """
    total = kernel.sum()
    rows, columns = (np.arange(side) - side // 2 for side in kernel.shape)
    return float((kernel.sum(axis=1) * rows).sum() / total), float((kernel.sum(axis=0) * columns).sum() / total)


def center(kernel: np.ndarray) -> np.ndarray:
    """The kernel with its centre of mass on its centre pixel and with odd sides.

    Light in the corners (FFT order) is brought to the middle first. The kernels of three channels move together.

    Parameters
    ----------
    kernel : ndarray, kh×kw or kh×kw×3
        A kernel, see :func:`check`.

    Returns
    -------
    ndarray, kh×kw or kh×kw×3
        Float64, every sum 1.

    Raises
    ------
    UsrnetError
        It is no kernel.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import kernels
    >>> psf = np.fft.ifftshift(kernels.gaussian(2))  # as programs write a PSF for the FFT
    >>> bool(np.allclose(kernels.center(psf), kernels.gaussian(2)))
    True
    """
    kernel = check(kernel, quiet=True)
    flat = kernel if kernel.ndim == 2 else kernel.sum(axis=-1)
    if _in_corners(flat):
        kernel = np.fft.fftshift(kernel, axes=(0, 1))
    kernel = np.pad(kernel, [(0, 1 - side % 2) for side in kernel.shape[:2]] + [(0, 0)] * (kernel.ndim - 2))
    for _ in range(3):  # the array grows on all sides, so that the centre stays the centre
        flat = kernel if kernel.ndim == 2 else kernel.sum(axis=-1)
        down, right = (_whole(offset) for offset in centre_of_mass(flat))
        if max(abs(down), abs(right)) < 0.05:
            break
        kernel = shift(kernel, -down, -right)
    return kernel / kernel.sum(axis=(0, 1))


def subtract(kernel: np.ndarray, background: float | None) -> np.ndarray:
    """The PSF without its background.

    A PSF that is black on white is turned round.

    Parameters
    ----------
    kernel : ndarray, kh×kw or kh×kw×3
        What was measured, in linear values of any unit.
    background : float or None
        The level to take off, in the unit of ``kernel``; None takes the median of the border, and what then is within
        three standard deviations of the border's noise counts as dark.

    Returns
    -------
    ndarray, kh×kw or kh×kw×3
        Float64, nothing below zero; not normalised.

    Raises
    ------
    UsrnetError
        Nothing is left.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import kernels
    >>> measured = 100 + 1000 * kernels.gaussian(1.5, size=15)
    >>> round(float(kernels.subtract(measured, None).sum()))
    1000
    """
    values = kernel.astype(np.float64)
    planes = values[..., None] if values.ndim == 2 else values
    cleaned = []
    for index in range(planes.shape[-1]):
        plane = planes[..., index]
        ring = _ring(plane)
        level = float(np.median(ring)) if background is None else background
        noise = 1.4826 * float(np.median(np.abs(ring - level))) if background is None else 0.0
        above, below = plane.max() - level, level - plane.min()
        light = level - plane if background is None and below > 2 * above else plane - level
        cleaned.append(np.where(light > 3 * noise, light, 0.0))
    made = np.stack(cleaned, axis=-1)
    if not (made.sum(axis=(0, 1)) > 0).all():
        level = "of its border" if background is None else f"{background:g}"
        raise UsrnetError(f"nothing of the kernel is brighter than the background {level}")
    return made[..., 0] if values.ndim == 2 else made


def _whole(offset: float) -> float:
    """Whole pixels where it is one but for the noise: moving by a part of one blurs a little."""
    return round(offset) if abs(offset - round(offset)) < 0.05 else offset


def _ring(plane: np.ndarray) -> np.ndarray:
    return np.concatenate([plane[0], plane[-1], plane[1:-1, 0], plane[1:-1, -1]])


def _border(plane: np.ndarray) -> tuple[float, float]:
    """The level of the outermost pixels, and how far apart the middle four fifths of them lie."""
    ring = _ring(plane)
    low, level, high = np.percentile(ring, (10, 50, 90))
    return float(level), float(high - low)


def _in_corners(plane: np.ndarray) -> bool:
    """Whether most of the light is in the four corners and little in the middle."""
    if min(plane.shape) < _SMALLEST:
        return False
    light = np.abs(plane)
    inside = light[tuple(slice(math.ceil(side / 4), -math.ceil(side / 4)) for side in plane.shape)].sum()
    swapped = np.fft.fftshift(light)
    corners = swapped[tuple(slice(math.ceil(side / 4), -math.ceil(side / 4)) for side in plane.shape)].sum()
    # All four of them: light in one corner alone is a shift.
    quarter = [
        light[rows, columns].sum()
        for rows in (slice(0, plane.shape[0] // 2), slice(plane.shape[0] // 2, None))
        for columns in (slice(0, plane.shape[1] // 2), slice(plane.shape[1] // 2, None))
    ]
    return corners > 0.6 * light.sum() and corners > 3 * inside and min(quarter) > 0.05 * light.sum()


def _pixels(offset: float, positive: str, negative: str) -> str:
    return f"{abs(offset):.1f} pixels {positive if offset >= 0 else negative}"
