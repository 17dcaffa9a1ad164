"""The point-spread function of a picture from what is known in it to be a point or an edge.

A star, or a bead below the resolution, shows the PSF itself, once, noisy and somewhere between the pixels. Many of
them show it well: found by segmentation above the background (E. Bertin and S. Arnouts, "SExtractor", A&AS 117, 1996,
as photutils has it), chosen (alone, not clipped, shaped like the others), moved to a common centre by splines, scaled
to the same light, and joined by the median.

Across a straight edge the picture is the integral of the PSF's projection; its Fourier transform is a line through
the optical transfer function, and all of it if the PSF is round (ISO 12233).
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from usrnet.errors import UsrnetError, require

LEAST_SIGNAL = 20  # deviations of the noise that the peak of a star must reach
ALIKE = 0.25  # how much wider or narrower than the median a star may be; galaxies and cosmic rays are more
REACH = 4  # the half side of the PSF's array, in full widths at half maximum
FINER = 4  # samples a pixel across an edge
MOST_STARS = 500  # the brightest; more only cost time


@dataclass(frozen=True)
class MeasuredPsf:
    """A PSF and what it was measured from.

    ``kernel``: kh×kw, what ``restore`` takes. ``count``: how many stars or beads it is made of, of ``found`` ones (1
    and 1 for an edge). ``fwhm``: the full width at half maximum in pixels of the picture.
    """

    kernel: np.ndarray
    count: int
    found: int
    fwhm: float


def psf_from_stars(
    pixels: np.ndarray, *, scale: int = 1, saturation: float | None = None, name: str = "stars"
) -> MeasuredPsf:
    """The PSF from the stars (or beads) of a picture, on the grid of the result at ``scale``, placed for it.

    ``pixels``: H×W or H×W×C, any real type; channels are averaged. ``saturation``: the value from which pixels are
    clipped; None takes the largest value if several pixels have it. ``name``: what errors call them. Needs photutils.
    Raises ``UsrnetError`` when there is no star that can be used, with what is wrong with them.
    """
    flat = _grey(pixels)
    if saturation is None:
        top = float(flat.max())
        saturation = top if np.count_nonzero(flat >= top) > 2 else math.inf
    noise, clean = _without_background(flat)
    catalog = _detect(clean, noise, name)
    chosen, fwhm = _choose(catalog, flat, noise, saturation, name)
    reach = math.ceil(REACH * fwhm)
    stamps = _Stamps(clean, chosen, reach=reach, fwhm=fwhm)
    for _ in range(3):
        stamps.fit(stamps.stack(scale=1, offset=0.0))
    kernel = _finish(stamps, scale=scale)
    return MeasuredPsf(kernel, len(chosen), len(catalog), full_width(stamps.stack(scale=1, offset=0.0)))


def full_width(psf: np.ndarray) -> float:
    """The full width at half maximum: the diameter of the circle with the area that lies above half of the peak."""
    from scipy.ndimage import zoom

    middle = np.array(psf.shape) // 2
    reach = min(*middle, 40)
    core = psf[tuple(slice(m - reach, m + reach + 1) for m in middle)]
    fine = np.asarray(zoom(core, 8, order=3, grid_mode=True, mode="grid-constant"))
    return 2 * math.sqrt(np.count_nonzero(fine > fine.max() / 2) / math.pi) / 8


def _grey(pixels: np.ndarray) -> np.ndarray:
    values = np.asarray(pixels, np.float64)
    values = values.mean(axis=-1) if values.ndim == 3 else values
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise UsrnetError(f"a picture of stars is H×W or H×W×C of finite numbers, not {np.shape(pixels)}")
    return values


def _without_background(flat: np.ndarray) -> tuple[float, np.ndarray]:
    """The noise's standard deviation and the picture less its background, smooth over 64 pixels."""
    require("photutils", extra="science")
    from astropy.stats import SigmaClip
    from photutils.background import Background2D, MedianBackground

    side = max(8, min(64, *(length // 3 for length in flat.shape)))
    if min(flat.shape) < side:
        raise UsrnetError(f"a picture of {flat.shape[1]}×{flat.shape[0]} pixels is too small to find stars in it")
    clip: Any = SigmaClip(3.0)
    background = Background2D(
        flat, (side, side), filter_size=3, sigma_clip=clip, bkg_estimator=MedianBackground(),
        exclude_percentile=90,
    )  # fmt: skip
    noise = max(float(background.background_rms_median), 1e-9 * float(np.ptp(flat) or 1))
    return noise, flat - np.asarray(background.background)


def _detect(clean: np.ndarray, noise: float, name: str) -> Any:
    """The photutils catalogue of everything that stands out from the noise."""
    from astropy.convolution import Gaussian2DKernel, convolve_fft
    from photutils.segmentation import SourceCatalog, detect_sources

    smooth = convolve_fft(clean, Gaussian2DKernel(1.3, x_size=7, y_size=7), boundary="wrap")
    with warnings.catch_warnings(action="ignore"):  # that there is nothing is said below
        segments = detect_sources(smooth, 5 * noise, 5)
    if segments is None:
        raise UsrnetError(f"there are no {name} in the picture: nothing stands out from the noise")
    return SourceCatalog(clean, segments, convolved_data=smooth)


def _choose(catalog: Any, flat: np.ndarray, noise: float, saturation: float, name: str) -> tuple[np.ndarray, float]:
    """The centres (y, x) of the stars that show the PSF, and their median full width."""
    x, y = np.atleast_2d(catalog.centroid_win).T
    width = np.atleast_1d(catalog.fwhm.value)
    long = np.atleast_1d(catalog.elongation.value)
    signal = np.atleast_1d(catalog.max_value)
    slices = catalog.slices if isinstance(catalog.slices, list) else [catalog.slices]
    clipped = np.array([flat[piece].max() >= saturation for piece in slices])
    bright = (signal > LEAST_SIGNAL * noise) & np.isfinite(x + y + width)
    usable = bright & ~clipped
    none = f"none of the {len(x)} {name} found can be used: {int(clipped.sum())} are clipped"
    if not usable.any():
        raise UsrnetError(f"{none}, the others are too faint")
    typical = float(np.median(width[usable]))
    reach = math.ceil(REACH * typical)
    inside = (y >= reach) & (x >= reach) & (y < flat.shape[0] - reach) & (x < flat.shape[1] - reach)
    alike = (abs(width / typical - 1) < ALIKE) & (abs(long - np.median(long[usable])) < ALIKE)
    near = np.hypot(y[:, None] - y, x[:, None] - x) < reach
    near &= signal > 0.02 * signal[:, None]  # what is fainter is outvoted by the median
    alone = near.sum(axis=1) == 1
    good = usable & inside & alike & alone
    if not good.any():
        raise UsrnetError(
            f"{none}, {int((~bright).sum())} are faint, {int((~inside).sum())} at the border, "
            f"{int((~alone).sum())} too close to another"
        )
    order = np.flatnonzero(good)[np.argsort(-signal[good])][:MOST_STARS]
    return np.stack([y[order], x[order]], axis=-1), typical


class _Stamps:
    """Pieces of the picture around the stars, with their sub-pixel centres, amounts of light and backgrounds."""

    def __init__(self, clean: np.ndarray, centres: np.ndarray, *, reach: int, fwhm: float) -> None:
        from scipy.ndimage import spline_filter

        self.coefficients = spline_filter(clean, order=3)
        self.centres, self.reach, self.fwhm = centres.copy(), reach, fwhm
        values = self._read(scale=1, offset=0.0)
        self.ground = np.median(values[:, self._radius() > 0.8 * reach], axis=1)
        self.light = (values - self.ground[:, None, None])[:, self._radius() < 1.5 * fwhm].sum(axis=1)

    def stack(self, *, scale: int, offset: float) -> np.ndarray:
        """The median star; ``scale`` times finer, its centre ``offset`` fine pixels above and left of the middle."""
        return np.median(self.scaled(scale=scale, offset=offset), axis=0)

    def scaled(self, *, scale: int, offset: float) -> np.ndarray:
        """Every star with its background taken away and its light scaled to one, N×h×w."""
        values = self._read(scale=scale, offset=offset)
        return (values - self.ground[:, None, None]) / self.light[:, None, None]

    def fit(self, mean: np.ndarray) -> None:
        """Move, scale and ground every star so that it agrees best with the stack (one Gauss-Newton step)."""
        near = self._radius() < 1.5 * self.fwhm
        dy, dx = np.gradient(mean)
        # star(p) = light · mean(p − move) + ground ≈ light · mean − light·move · ∇mean + ground
        columns = np.stack([mean[near], -dy[near], -dx[near], np.ones(near.sum())], axis=-1)
        values = self._read(scale=1, offset=0.0)
        solution = np.linalg.lstsq(columns, values[:, near].T, rcond=None)[0]
        light = np.maximum(solution[0], 1e-3 * self.light)
        self.centres += np.clip(solution[1:3] / light, -0.5, 0.5).T
        # The stack's own light within the radius stays one: else all would drift together.
        self.light = light * mean[near].sum()
        self.ground = np.median(
            (values - self.light[:, None, None] * mean)[:, self._radius() > 0.8 * self.reach], axis=1
        )

    def _read(self, *, scale: int, offset: float) -> np.ndarray:
        from scipy.ndimage import map_coordinates

        steps = (np.arange(-self.reach * scale, self.reach * scale + 1) + offset) / scale
        y = self.centres[:, 0, None, None] + steps[:, None]
        x = self.centres[:, 1, None, None] + steps
        places = np.broadcast_arrays(y, x)
        return map_coordinates(self.coefficients, places, order=3, prefilter=False, mode="nearest")

    def _radius(self) -> np.ndarray:
        steps = np.arange(-self.reach, self.reach + 1)
        return np.hypot(steps[:, None], steps)


def _finish(stamps: _Stamps, *, scale: int) -> np.ndarray:
    """The stack as a kernel: where single taps drown in noise, the mean of their ring; nothing negative; sum 1."""
    offset = (scale - 1) / 2
    scaled = stamps.scaled(scale=scale, offset=offset)
    stack = np.median(scaled, axis=0)
    # The median of n numbers has 1.25/√n of their deviation.
    doubt = 1.25 * 1.4826 * np.median(abs(scaled - stack), axis=0) / math.sqrt(len(scaled))
    steps = np.arange(-stamps.reach * scale, stamps.reach * scale + 1) + offset
    radius = np.hypot(steps[:, None], steps) / scale
    ring = np.rint(radius * scale).astype(int)
    means = np.bincount(ring.ravel(), stack.ravel()) / np.maximum(np.bincount(ring.ravel()), 1)
    noisy = (stack < 4 * doubt) & (radius > stamps.fwhm)
    taps = np.where(noisy, means[ring], stack)
    taps = taps - means[round(stamps.reach * scale)]  # the light beyond the array cannot be told from the sky
    taps = np.where(radius <= stamps.reach, taps, 0).clip(0)
    return taps / taps.sum()


def psf_from_edge(pixels: np.ndarray, box: tuple[int, int, int, int], *, scale: int = 1) -> MeasuredPsf:
    """A round PSF from a straight edge between two even areas, on the grid of the result at ``scale``.

    ``box``: left, top, width and height of the part of ``pixels`` (H×W or H×W×C) that shows the edge and nothing
    else; the edge should be a few degrees off the rows and columns, so that it passes between the pixels everywhere.
    Raises ``UsrnetError`` when there is no edge.
    """
    flat = _grey(pixels)
    left, top, width, height = box
    if left < 0 or top < 0 or min(width, height) < 16 or left + width > flat.shape[1] or top + height > flat.shape[0]:
        raise UsrnetError(
            f"the box {left},{top},{width},{height} (left, top, width, height) must have 16 pixels a side or more "
            f"and lie in the {flat.shape[1]}×{flat.shape[0]} picture"
        )
    part = flat[top : top + height, left : left + width]
    distance, values = _across(part)
    spread, reach = _spread(distance, values)
    kernel = _round_kernel(spread, reach=reach, scale=scale)
    plain = kernel if scale == 1 else _round_kernel(spread, reach=reach, scale=1)
    return MeasuredPsf(kernel, 1, 1, full_width(plain))


def _across(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The signed distance of every pixel to the edge, and its value, brighter on the positive side."""
    slopes = [np.abs(np.diff(part, axis=axis)).sum() for axis in (0, 1)]
    turned = slopes[0] > slopes[1]  # an edge that runs along the rows
    rows = part.T if turned else part
    steps = np.diff(rows, axis=1)
    if steps.sum() < 0:
        steps, rows = -steps, -rows
    place = np.arange(steps.shape[1]) + 0.5
    low, high = np.percentile(rows, [5, 95])
    noise = 1.4826 * np.median(abs(steps - np.median(steps)))
    if high - low < 6 * noise or high - low < 1e-6:
        raise UsrnetError("there is no edge in the box: its two sides hardly differ")
    centre = place.mean() + np.zeros(len(rows))
    fit = np.array([0.0, place.mean()])
    index = np.arange(len(rows))
    for reach in (len(place), len(place) / 2, len(place) / 3):  # what is far from the edge is noise
        weights = steps * (abs(place - centre[:, None]) < reach)
        with np.errstate(divide="ignore", invalid="ignore"):  # rows without a step drop out as not finite
            centroid = (weights * place).sum(axis=1) / weights.sum(axis=1)
        good = np.isfinite(centroid) & (abs(centroid - place.mean()) < len(place) / 2)
        if good.sum() < 8:
            raise UsrnetError("there is no edge in the box: no line goes through it")
        fit = np.polyfit(index[good], centroid[good], 1)
        centre = np.polyval(fit, index)
    if np.std(centroid[good] - centre[good]) > 2:
        raise UsrnetError("the edge in the box is not straight")
    along = np.arange(rows.shape[1]) - centre[:, None]
    return along / math.hypot(1, fit[0]), rows


def _spread(distance: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, int]:
    """The line-spread function, ``FINER`` samples a pixel, its middle the centre; and its reach in pixels."""
    half = int(min(-distance.min(), distance.max()) * FINER)
    bins = np.rint(distance * FINER).astype(int)
    inside = abs(bins) <= half
    count = np.bincount(bins[inside] + half, minlength=2 * half + 1)
    total = np.bincount(bins[inside] + half, values[inside], minlength=2 * half + 1)
    filled = np.flatnonzero(count)
    profile = np.interp(np.arange(2 * half + 1), filled, total[filled] / count[filled])
    spread = np.diff(profile)
    smooth = np.convolve(spread, np.hanning(2 * FINER + 1) / FINER, mode="same")  # the noise has a peak anywhere
    width = np.count_nonzero(smooth > smooth.max() / 2)
    middle = int(np.argmax(smooth))
    reach = min(int(1.75 * width), middle, len(spread) - 1 - middle)
    spread = spread[middle - reach : middle + reach + 1] * np.hanning(2 * reach + 3)[1:-1] ** 0.25
    return spread / spread.sum(), max(1, reach // FINER)


def _round_kernel(spread: np.ndarray, *, reach: int, scale: int) -> np.ndarray:
    """The round kernel whose projection is ``spread``: both have the same transfer function along any line."""
    place = (np.arange(len(spread)) - (len(spread) - 1) / 2) / FINER
    place -= (spread * place).sum()
    frequency = np.arange(0, 1.0, 1 / 256)
    transfer = (np.cos(2 * np.pi * frequency[:, None] * place) * spread).sum(axis=1)
    transfer /= np.sinc(frequency / FINER) ** 2  # of the bins and of the differences
    low = np.flatnonzero(transfer < 0.02)
    end = frequency[low[0]] if len(low) else 1.0  # beyond is noise
    side = 2 * reach * scale + 1
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)
    radius = scale * np.hypot(fy, fx)
    offset = (scale - 1) / 2
    spectrum = np.where(radius < end, np.interp(radius, frequency, transfer), 0) * np.exp(
        2j * np.pi * offset * (fy + fx)
    )
    taps = np.fft.fftshift(np.fft.irfft2(spectrum, s=(side, side))).clip(0)
    return taps / taps.sum()
