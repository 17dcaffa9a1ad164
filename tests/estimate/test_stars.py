import numpy as np
import pytest
from scipy.signal import fftconvolve

from usrnet import kernels
from usrnet.errors import UsrnetError
from usrnet.estimate.stars import full_width, psf_from_edge, psf_from_stars

FINER = 5


def star_field(fwhm: float, count: int, *, seed: int, size=(320, 400), clip: float | None = None) -> np.ndarray:
    """Moffat stars anywhere between the pixels on a sloping sky, with photon and read noise."""
    rng = np.random.default_rng(seed)
    star = kernels.moffat(FINER * fwhm, 3.5)
    half = star.shape[0] // 2
    fine = np.zeros([FINER * side + 2 * half for side in size])
    for flux in np.geomspace(8e3, 2e5, count):
        top, left = (int(rng.integers(100, FINER * side - 100)) for side in size)
        fine[top : top + 2 * half + 1, left : left + 2 * half + 1] += flux * star
    fine = fine[half:-half, half:-half]
    light = fine.reshape(size[0], FINER, size[1], FINER).sum(axis=(1, 3)) + np.linspace(200, 260, size[1])
    seen = rng.poisson(light) + rng.normal(0, 4, size)
    return seen if clip is None else seen.clip(0, clip)


@pytest.mark.parametrize("fwhm", [3, 4.5, 6])
def test_the_psf_of_thirty_stars(fwhm):
    pytest.importorskip("photutils")
    measured = psf_from_stars(star_field(fwhm, 30, seed=0))
    truth = kernels.moffat(fwhm, 3.5)
    assert measured.count >= 8
    assert measured.found <= 32
    assert full_width(measured.kernel) == pytest.approx(full_width(truth), rel=0.03)
    assert measured.fwhm == pytest.approx(full_width(truth), rel=0.03)
    reach = min(truth.shape[0], measured.kernel.shape[0]) // 2
    inner = [k[tuple(slice(n // 2 - reach, n // 2 + reach + 1) for n in k.shape)] for k in (truth, measured.kernel)]
    assert np.abs(inner[0] - inner[1]).sum() < 0.08


def test_clipped_stars_and_crowded_ones_are_left_out():
    pytest.importorskip("photutils")
    sky = star_field(4, 30, seed=1)
    clipped = psf_from_stars(sky.clip(0, 3000))
    assert clipped.count < psf_from_stars(sky).count
    assert full_width(clipped.kernel) == pytest.approx(full_width(kernels.moffat(4, 3.5)), rel=0.03)


def test_a_psf_for_enlarging_lies_where_restore_expects_it():
    pytest.importorskip("photutils")
    sky = star_field(4, 30, seed=2)
    for scale in (2, 3):
        kernel = psf_from_stars(sky, scale=scale).kernel
        grid = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
        near = abs(grid) < 6 * scale  # the far wings are noise
        core = kernel[np.ix_(near, near)] / kernel[np.ix_(near, near)].sum()
        offset = [(core.sum(axis=axis) * grid[near]).sum() for axis in (0, 1)]
        assert offset == pytest.approx([-(scale - 1) / 2] * 2, abs=0.05 * scale)
        assert full_width(kernel) == pytest.approx(scale * full_width(kernels.moffat(4, 3.5)), rel=0.04)


def test_no_star():
    pytest.importorskip("photutils")
    noise = np.random.default_rng(0).normal(100, 3, (150, 150))
    for picture, text in [
        (noise, "nothing stands out"),
        (np.full((150, 150), 255, np.uint8), "nothing stands out"),
        (noise[:6], "too small"),
        (np.full((150, 150), np.nan), "finite"),
    ]:
        with pytest.raises(UsrnetError, match=text):
            psf_from_stars(picture)
    with pytest.raises(UsrnetError, match="clipped"):
        psf_from_stars(star_field(5, 3, seed=0).clip(0, 300))


def edge(width: float, degrees: float) -> np.ndarray:
    side, finer = 160, 8
    y, x = np.mgrid[: side * finer, : side * finer] / finer - side / 2
    turned = x * np.cos(np.radians(degrees)) + y * np.sin(np.radians(degrees)) > 2
    sharp = turned.reshape(side, finer, side, finer).mean(axis=(1, 3))
    blurred = fftconvolve(np.pad(sharp, 20, mode="edge"), kernels.gaussian(width), mode="same")[20:-20, 20:-20]
    return 0.2 + 0.6 * blurred + np.random.default_rng(0).normal(0, 1 / 255, blurred.shape)


@pytest.mark.parametrize("width", [1.0, 2.0])
@pytest.mark.parametrize("degrees", [5, 95, 184])
def test_the_psf_of_an_edge(width, degrees):
    measured = psf_from_edge(edge(width, degrees), (40, 40, 80, 80))
    grid = np.arange(measured.kernel.shape[0]) - measured.kernel.shape[0] // 2
    deviation = (measured.kernel.sum(axis=0) * grid**2).sum() ** 0.5
    assert deviation == pytest.approx((width**2 + 1 / 12) ** 0.5, rel=0.05)  # a pixel adds its own twelfth
    twice = psf_from_edge(edge(width, degrees), (40, 40, 80, 80), scale=2)
    grid = np.arange(twice.kernel.shape[0]) - twice.kernel.shape[0] // 2
    assert (twice.kernel.sum(axis=0) * grid).sum() == pytest.approx(-0.5, abs=0.05)


def test_no_edge():
    noise = np.random.default_rng(0).normal(0.5, 0.05, (80, 80))
    with pytest.raises(UsrnetError, match="hardly differ"):
        psf_from_edge(noise, (0, 0, 60, 60))
    for box in [(0, 0, 8, 60), (60, 0, 60, 60), (-1, 0, 60, 60)]:
        with pytest.raises(UsrnetError, match="16 pixels a side"):
            psf_from_edge(noise, box)
