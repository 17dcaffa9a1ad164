"""The families of blur kernels: no blur, Gaussians, camera shake, bicubic shrinking."""

import math

import numpy as np

from usrnet.errors import UsrnetError
from usrnet.kernels.shape import align

SIZE = 25  # side of a parametric kernel, unless it needs more
LARGEST = 2001  # a side no picture needs; a mistyped width should not fill the memory


def delta(*, scale: int = 1) -> np.ndarray:
    """No blur. At scale 1 a single pixel; else moved, so that every patch is represented by its middle."""
    reach = scale // 2
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    kernel[reach, reach] = 1
    return align(kernel, scale)


def gaussian(
    width: float, width2: float | None = None, degrees: float = 0.0, *, scale: int = 1, size: int = SIZE
) -> np.ndarray:
    """A Gaussian with the standard deviations ``width`` and ``width2`` (the same if None) along its axes.

    ``degrees`` is the angle of the first axis to the horizontal, clockwise as seen on the screen. The array is
    ``size``×``size`` and grows when that would cut off more than 0.1 % of the mass. Raises ``UsrnetError`` for
    widths that are not positive numbers.
    """
    width2 = width if width2 is None else width2
    if not (0 < width < math.inf and 0 < width2 < math.inf and math.isfinite(degrees)):
        raise UsrnetError(f"a Gaussian needs positive widths, not {width:g} and {width2:g}")
    angle = math.radians(degrees)
    offset = (scale - 1) / 2
    along, across = width**2, width2**2
    variance_x = along * math.cos(angle) ** 2 + across * math.sin(angle) ** 2
    variance_y = along * math.sin(angle) ** 2 + across * math.cos(angle) ** 2
    # Outside ±3.5 standard deviations lies 0.05 % of the mass, for two axes together 0.1 %.
    reach = math.ceil(3.5 * math.sqrt(max(variance_x, variance_y)) + offset)
    side = max(size, 2 * reach + 1)
    if side > LARGEST:
        raise UsrnetError(f"a Gaussian of width {max(width, width2):g} is too large: use less than {LARGEST // 8}")
    return gaussians(np.array([along]), np.array([across]), np.array([angle]), size=side, offset=offset)[0]


def gaussians(
    variance1: np.ndarray, variance2: np.ndarray, angle: np.ndarray, *, size: int = SIZE, offset: float = 0.0
) -> np.ndarray:
    """N point-sampled Gaussians, N×size×size, from N variances along two axes and N angles (radians).

    The mean lies ``offset`` pixels above and left of the centre.
    """
    grid = np.arange(size) - size // 2 + offset
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along = cos * grid + sin * grid[:, None]  # rows grow downwards, so this turns clockwise on the screen
    across = cos * grid[:, None] - sin * grid
    exponent = along**2 / variance1[:, None, None] + across**2 / variance2[:, None, None]
    exponent -= exponent.min(axis=(1, 2), keepdims=True)  # the narrowest Gaussian must not vanish between the taps
    kernels = np.exp(-0.5 * exponent)
    return kernels / kernels.sum(axis=(1, 2), keepdims=True)


def motion(seed: int, *, scale: int = 1, size: int = SIZE) -> np.ndarray:
    """Camera shake: the exposure-weighted path of a point, random but the same for the same ``seed``.

    Raises ``UsrnetError`` for a negative seed or a size below 5.
    """
    if seed < 0:
        raise UsrnetError(f"the seed of a motion kernel must be 0 or more, not {seed}")
    if not 5 <= size <= LARGEST:
        raise UsrnetError(f"a motion kernel needs a size from 5 to {LARGEST}, not {size}")
    return align(motions(np.random.default_rng(seed), 1, size=size)[0], scale)


def motions(rng: np.random.Generator, count: int, *, size: int = SIZE) -> np.ndarray:
    """``count`` random camera-shake kernels, count×size×size, each centred on its centre of mass.

    A hand-held camera drifts, trembles and is pulled back, now and then with a jerk (after Boracchi and Foi,
    "Modeling the performance of image restoration from motion blur", IEEE TIP 21(8), 2012). The path is drawn
    as an anti-aliased line, brighter where the camera rests.
    """
    steps, oversampling = 64, 6
    tremble = rng.uniform(0.1, 1.0, (count, 1))
    inertia = rng.uniform(0.75, 0.97, (count, 1))
    pull = rng.uniform(0.0, 0.02, (count, 1))
    drift = rng.normal(size=(count, 2))
    jerks = rng.random((steps, count, 1)) < rng.uniform(0, 0.1, (count, 1))
    pushes = rng.normal(size=(steps, count, 2)) * (tremble + 6 * jerks)
    # How long the camera rests at each place: most of the light falls on little of the path.
    pauses = np.exp(rng.uniform(0.2, 1.3, (count, 1)) * rng.normal(size=(count, steps - 1)))

    position = np.zeros((count, 2))
    velocity = drift.copy()
    path = np.empty((steps, count, 2))
    for step in range(steps):
        velocity = inertia * velocity + (1 - inertia) * drift + 0.5 * pushes[step] - pull * position
        position = position + velocity
        path[step] = position
    path = path.transpose(1, 2, 0)  # count × (y, x) × steps

    fraction = np.arange(oversampling) / oversampling
    fine = (path[..., :-1, None] * (1 - fraction) + path[..., 1:, None] * fraction).reshape(count, 2, -1)
    light = np.repeat(pauses, oversampling, axis=1)
    light /= light.sum(axis=1, keepdims=True)
    fine -= (fine * light[:, None]).sum(axis=2, keepdims=True)
    room = (size - 1) // 2 - 1  # what is drawn is a pixel wide
    extent = np.abs(fine).max(axis=(1, 2), keepdims=True)
    fine *= room * rng.uniform(0.25, 1.0, (count, 1, 1)) / extent

    # A point shares its light among its four neighbours, which keeps the centre of mass.
    corner = np.floor(fine).astype(int)
    below, right = (fine - corner).transpose(1, 0, 2)
    row, column = (corner + size // 2).transpose(1, 0, 2)
    first = (np.arange(count)[:, None] * size + row) * size + column
    places = np.stack([first, first + 1, first + size, first + size + 1])
    shares = np.stack([(1 - below) * (1 - right), (1 - below) * right, below * (1 - right), below * right])
    kernels = np.bincount(places.ravel(), (shares * light).ravel(), minlength=count * size * size)
    return kernels.reshape(count, size, size) / light.sum(axis=1)[:, None, None]


def bicubic(scale: int) -> np.ndarray:
    """The blur inside MATLAB's antialiased bicubic shrinking by 1/``scale``; it has negative taps.

    That is :func:`cubic` stretched by s and centred on the middle of
    each s×s patch: with it ``(x ⊗ k)↓s`` equals ``imresize(x, 1/s)`` away from the border.
    """
    offset = (scale - 1) / 2
    reach = math.ceil(2 * scale + offset) - 1
    taps = cubic((np.arange(-reach, reach + 1) + offset) / scale)
    taps /= taps.sum()
    return np.outer(taps, taps)


def cubic(t: np.ndarray) -> np.ndarray:
    """The interpolating cubic of R. Keys (IEEE TASSP 29(6), 1981, a = −1/2); zero from |t| = 2 on."""
    t = np.abs(t)
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, np.where(t < 2, far, 0))
