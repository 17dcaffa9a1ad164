"""The families of blur kernels: no blur, Gaussians, camera shake, what lenses and air do, bicubic shrinking.

A pixel is an area. Where a family has an edge or a peak that a grid of points would miss, a tap is the integral of
the point-spread function over its pixel (``disk``, ``line``, ``moffat``, ``airy``).
"""

import math
from collections.abc import Callable

import numpy as np

from usrnet.errors import UsrnetError
from usrnet.kernels.shape import LOST_MASS, align

SIZE = 25  # side of a parametric kernel, unless it needs more
LARGEST = 2001  # a side no picture needs; a mistyped width should not fill the memory
NARROWEST = (
    0.01  # pixels; what is narrower is the same point, and would be lost between the places where it is sampled
)
FIRST_ZERO = 3.8317059702075125  # of the Bessel function J₁


def delta(*, scale: int = 1) -> np.ndarray:
    """No blur: a single pixel at scale 1, else moved, so that every patch is represented by its middle.

    Parameters
    ----------
    scale : int
        The scale factor s that the kernel is placed for: moved by (s−1)/2 up and left.

    Returns
    -------
    ndarray, kh×kw
        Float64, sum 1.

    Examples
    --------
    >>> from usrnet import kernels
    >>> kernels.delta().tolist()
    [[1.0]]
    """
    reach = scale // 2
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    kernel[reach, reach] = 1
    return align(kernel, scale)


def gaussian(
    width: float, width2: float | None = None, degrees: float = 0.0, *, scale: int = 1, size: int = SIZE
) -> np.ndarray:
    """A Gaussian; the array grows when ``size`` would cut off more than 0.1 % of the mass.

    Parameters
    ----------
    width : float
        Standard deviation along the first axis, in pixels of the high-resolution image.
    width2 : float, optional
        Standard deviation along the second axis; the same if None.
    degrees : float
        Angle of the first axis to the horizontal, clockwise as seen on the screen.
    scale : int
        The scale factor s that the kernel is placed for: its mean is moved by (s−1)/2 up and left.
    size : int
        Side of the array.

    Returns
    -------
    ndarray, size×size
        Float64, sum 1.

    Raises
    ------
    UsrnetError
        A width is not a positive number, or too large.

    Examples
    --------
    >>> from usrnet import kernels
    >>> kernels.gaussian(1.6, scale=4).shape
    (25, 25)
    >>> kernels.gaussian(3, 1, 30).sum().round(6).item()
    1.0
    """
    width2 = width if width2 is None else width2
    if not (0 < width < math.inf and 0 < width2 < math.inf and math.isfinite(degrees)):
        raise UsrnetError(f"a Gaussian needs positive widths, not {width:g} and {width2:g}")
    angle = math.radians(degrees)
    offset = (scale - 1) / 2
    along, across = max(width, NARROWEST) ** 2, max(width2, NARROWEST) ** 2
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
    """N point-sampled Gaussians at once, as training draws them.

    Parameters
    ----------
    variance1, variance2 : ndarray, N
        Variances along the two axes, in pixels².
    angle : ndarray, N
        Of the first axis to the horizontal, in radians, clockwise as seen on the screen.
    size : int
        Side of the arrays.
    offset : float
        How many pixels above and left of the centre the mean lies.

    Returns
    -------
    ndarray, N×size×size
        Float64, every sum 1.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import kernels
    >>> kernels.gaussians(np.array([1.0, 4.0]), np.array([1.0, 2.0]), np.zeros(2)).shape
    (2, 25, 25)
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

    Parameters
    ----------
    seed : int
        0 or more.
    scale : int
        The scale factor s that the kernel is placed for: moved by (s−1)/2 up and left.
    size : int
        Side of the array, 5 or more.

    Returns
    -------
    ndarray, size×size
        Float64, sum 1; a little larger where placing it needs room.

    Raises
    ------
    UsrnetError
        The seed is negative, or the size too small or too large.

    Examples
    --------
    >>> from usrnet import kernels
    >>> kernels.motion(7).shape
    (25, 25)
    """
    if seed < 0:
        raise UsrnetError(f"the seed of a motion kernel must be 0 or more, not {seed}")
    if not 5 <= size <= LARGEST:
        raise UsrnetError(f"a motion kernel needs a size from 5 to {LARGEST}, not {size}")
    return align(motions(np.random.default_rng(seed), 1, size=size)[0], scale)


def motions(rng: np.random.Generator, count: int, *, size: int = SIZE) -> np.ndarray:
    """Random camera-shake kernels, each centred on its centre of mass.

    A hand-held camera drifts, trembles and is pulled back, now and then with a jerk. The path is drawn as an
    anti-aliased line, brighter where the camera rests.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the chance comes from.
    count : int
        How many.
    size : int
        Side of the arrays.

    Returns
    -------
    ndarray, count×size×size
        Float64, every sum 1.

    References
    ----------
    After Boracchi and Foi, "Modeling the performance of image restoration from motion blur", IEEE TIP 21(8), 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import kernels
    >>> kernels.motions(np.random.default_rng(0), 4, size=15).shape
    (4, 15, 15)
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


def disk(radius: float, *, scale: int = 1, size: int = SIZE) -> np.ndarray:
    """Defocus: a point becomes an even disk, the image of a round aperture.

    Exact along the rows, 64 lines per pixel across them.

    Parameters
    ----------
    radius : float
        In pixels of the high-resolution image.
    scale : int
        The scale factor s that the kernel is placed for: moved by (s−1)/2 up and left.
    size : int
        Side of the array, which grows where the disk needs more.

    Returns
    -------
    ndarray, size×size
        Float64, sum 1.

    Raises
    ------
    UsrnetError
        The radius is not positive, or too large.

    Examples
    --------
    >>> from usrnet import kernels
    >>> kernels.disk(30).shape
    (63, 63)
    """
    if not 0 < radius < math.inf:
        raise UsrnetError(f"a disk needs a positive radius, not {radius:g}")
    radius = max(radius, NARROWEST)
    reach, offset = _reach(radius + 0.5, scale, f"a disk of radius {radius:g}", size)
    grid = np.arange(-reach, reach + 1) + offset
    lines = 64
    taps = np.zeros((len(grid), len(grid)))
    for part in (np.arange(lines) + 0.5) / lines - 0.5:
        half = np.sqrt(np.maximum(radius**2 - (grid + part) ** 2, 0))[:, None]  # of the chord on this line
        taps += np.maximum(np.minimum(grid + 0.5, half) - np.maximum(grid - 0.5, -half), 0)
    return taps / taps.sum()


def line(length: float, degrees: float, *, scale: int = 1, size: int = SIZE) -> np.ndarray:
    """Even motion along a straight line; a tap is the length of it that lies in the pixel.

    Parameters
    ----------
    length : float
        Of the line, in pixels of the high-resolution image.
    degrees : float
        Its angle to the horizontal, clockwise as seen on the screen.
    scale : int
        The scale factor s that the kernel is placed for: moved by (s−1)/2 up and left.
    size : int
        Side of the array, which grows where the line needs more.

    Returns
    -------
    ndarray, size×size
        Float64, sum 1.

    Raises
    ------
    UsrnetError
        The length is not positive, or too large.

    Examples
    --------
    >>> from usrnet import kernels
    >>> kernels.line(3, 0, size=5)[2].round(3).tolist()
    [0.0, 0.333, 0.333, 0.333, 0.0]
    """
    if not (0 < length < math.inf and math.isfinite(degrees)):
        raise UsrnetError(f"a line needs a positive length and an angle, not {length:g} and {degrees:g}")
    reach, _ = _reach(length / 2, 1, f"a line of length {length:g}", size)
    direction = np.array([math.sin(math.radians(degrees)), math.cos(math.radians(degrees))])
    direction[np.abs(direction) < 1e-12] = 0
    length = max(length, 1e-12)  # a point already, and what is much smaller cannot be divided by
    edges = np.arange(-reach - 1, reach + 1) + 0.5
    crossings = [edges / part for part in direction if part]  # where it goes from pixel to pixel
    cuts = np.unique(np.concatenate([*crossings, [-length / 2, length / 2]]).clip(-length / 2, length / 2))
    middle = (cuts[1:] + cuts[:-1]) / 2
    row, column = np.rint(middle * direction[:, None]).astype(int) + reach
    taps = np.zeros((2 * reach + 1, 2 * reach + 1))
    np.add.at(taps, (row, column), np.diff(cuts))
    return align(taps / taps.sum(), scale)


def moffat(fwhm: float, beta: float, *, scale: int = 1, size: int = SIZE) -> np.ndarray:
    """A star through turbulent air: ``(1 + r²/a²)^−β``.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum, in pixels of the high-resolution image.
    beta : float
        Strength of the wings: 4.765 for Kolmogorov turbulence, 2.5 to 4 in practice.
    scale : int
        The scale factor s that the kernel is placed for: moved by (s−1)/2 up and left.
    size : int
        Side of the array, which grows when more than 0.1 % of the light would lie beyond it.

    Returns
    -------
    ndarray, size×size
        Float64, sum 1.

    Raises
    ------
    UsrnetError
        ``beta`` ≤ 1, whose wings hold infinite light, or a width that is not positive or too large.

    References
    ----------
    A. F. J. Moffat, Astronomy and Astrophysics 3, 1969.

    Examples
    --------
    >>> from usrnet import kernels
    >>> kernels.moffat(5, 4.765).shape
    (31, 31)
    """
    if not (0 < fwhm < math.inf and 1 < beta < math.inf):
        raise UsrnetError(f"a Moffat profile needs FWHM above 0 and BETA above 1, not {fwhm:g} and {beta:g}")
    core = max(fwhm, NARROWEST) / 2 / math.sqrt(2 ** (1 / beta) - 1)
    # Beyond r lies (1 + r²/a²)^(1−β) of the light; where beta is nearly 1, no array is large enough.
    outside = core * math.sqrt(max(LOST_MASS ** (1 / min(1 - beta, -1e-2)) - 1, 0))
    reach, offset = _reach(outside, scale, f"moffat:{fwhm:g},{beta:g}", size)
    return _integrated(lambda r2: (1 + r2 / core**2) ** -beta, reach, offset)


def airy(radius: float, *, scale: int = 1, size: int = SIZE) -> np.ndarray:
    """Diffraction at a round aperture: ``(2 J₁(v) / v)²``.

    The rings fall off slowly: the array ends where 1 % of the light lies beyond.

    Parameters
    ----------
    radius : float
        Of the first dark ring, in pixels of the high-resolution image; see :func:`airy_radius`.
    scale : int
        The scale factor s that the kernel is placed for: moved by (s−1)/2 up and left.
    size : int
        Side of the array, which grows where the rings need more.

    Returns
    -------
    ndarray, size×size
        Float64, sum 1.

    Raises
    ------
    UsrnetError
        The radius is not positive, or too large.

    Examples
    --------
    >>> from usrnet import kernels
    >>> kernels.airy(kernels.airy_radius(0.52, 0.8, 0.11)).shape
    (121, 121)
    """
    if not 0 < radius < math.inf:
        raise UsrnetError(f"an Airy disk needs a positive radius, not {radius:g}")
    radius = max(radius, NARROWEST)
    outside = 2 / math.pi / 0.01 * radius / FIRST_ZERO  # beyond v lie J₀² + J₁² ≈ 2/(πv) of the light
    reach, offset = _reach(outside, scale, f"airy:{radius:g}", size)

    def profile(r2: np.ndarray) -> np.ndarray:
        from scipy.special import j1

        v = np.maximum(FIRST_ZERO / radius * np.sqrt(r2), 1e-6)
        return (2 * j1(v) / v) ** 2

    return _integrated(profile, reach, offset)


def airy_radius(wavelength: float, aperture: float, pixel: float) -> float:
    """The radius of the first dark ring in pixels, ``0.61 λ / (NA · pixel)`` (Rayleigh's resolution).

    Parameters
    ----------
    wavelength : float
        Of the light.
    aperture : float
        The numerical aperture. An f-number N has 1/(2N); a telescope's N is its focal length over its diameter.
    pixel : float
        The size of a pixel in the unit of ``wavelength``: in the specimen (microscope) or on the sensor (lens,
        telescope).

    Returns
    -------
    float
        In pixels.

    Raises
    ------
    UsrnetError
        An argument is not positive.

    Examples
    --------
    >>> from usrnet import kernels
    >>> round(kernels.airy_radius(0.52, 0.8, 0.11), 2)
    3.6
    """
    if not min(wavelength, aperture, pixel) > 0:
        raise UsrnetError(
            f"wavelength, aperture and pixel must be above 0, not {wavelength:g}, {aperture:g} and {pixel:g}"
        )
    return FIRST_ZERO / (2 * math.pi) * wavelength / (aperture * pixel)


def _reach(outside: float, scale: int, name: str, size: int) -> tuple[int, float]:
    """How far the array goes from its centre to hold what lies within ``outside``, and the offset for the scale."""
    offset = (scale - 1) / 2
    reach = max(size // 2, math.ceil(outside + offset))
    if 2 * reach + 1 > LARGEST:
        raise UsrnetError(f"{name} is too large: its array would have more than {LARGEST} pixels a side")
    return reach, offset


def _integrated(profile: Callable[[np.ndarray], np.ndarray], reach: int, offset: float) -> np.ndarray:
    """A round profile of r², integrated over pixels (5×5 Gauss-Legendre points each), ``offset`` above and left."""
    grid = np.arange(-reach, reach + 1) + offset
    taps = np.zeros((len(grid), len(grid)))
    points, weights = np.polynomial.legendre.leggauss(5)
    for y, weight_y in zip(points / 2, weights, strict=True):
        for x, weight_x in zip(points / 2, weights, strict=True):
            taps += weight_y * weight_x * profile((grid[:, None] + y) ** 2 + (grid + x) ** 2)
    return taps / taps.sum()


def bicubic(scale: int) -> np.ndarray:
    """The blur inside MATLAB's antialiased bicubic shrinking by 1/``scale``; it has negative taps.

    That is Keys' cubic stretched by s and centred on the middle of each s×s patch: with it ``(x ⊗ k)↓s`` equals
    ``imresize(x, 1/s)`` away from the border.

    Parameters
    ----------
    scale : int
        The scale factor s.

    Returns
    -------
    ndarray, kh×kw
        Float64, sum 1.

    References
    ----------
    R. Keys, IEEE TASSP 29(6), 1981, a = −1/2.

    Examples
    --------
    >>> from usrnet import kernels
    >>> kernels.bicubic(2).shape, bool(kernels.bicubic(2).min() < 0)
    ((9, 9), True)
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
