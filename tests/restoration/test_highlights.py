import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

import usrnet
from usrnet import io, kernels
from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.restoration import Restorer, observe, restore_file
from usrnet.restoration.highlights import take_out

MARGIN = 40
LAMPS = (3, 20)  # times white


@pytest.fixture(scope="module")
def restorer():
    return Restorer("default", precision="fp32")


def night(photo: np.ndarray, *, side: int = 272, count: int = 20, seed: int = 0) -> np.ndarray:
    """A photo as dark as at night with lamps, float64 light."""
    rng = np.random.default_rng(seed)
    scene = (photo[:side, :side] / 255.0) ** 2 / 4
    y, x = np.mgrid[:side, :side]
    for _ in range(count):
        row, column, radius = rng.integers(20, side - 20), rng.integers(20, side - 20), rng.uniform(1, 3)
        scene[(y - row) ** 2 + (x - column) ** 2 < radius**2] = rng.uniform(*LAMPS) * rng.uniform(0.4, 1, 3)
    return scene


def windows(photo: np.ndarray, *, side: int = 272) -> np.ndarray:
    """A photo with a blown sky and blown windows."""
    rng = np.random.default_rng(0)
    scene = (photo[:side, :side] / 255.0) ** 2 / 2
    scene[:70] = 1.5
    for _ in range(5):
        (top, left), (height, width) = rng.integers(80, side - 60, 2), rng.integers(20, 60, 2)
        scene[top : top + height, left : left + width] = rng.uniform(1.2, 4)
    return scene


def observed(scene: np.ndarray, kernel: np.ndarray, *, noise: float, scale: int = 1) -> np.ndarray:
    """What a camera stores: blurred, decimated, noisy, clipped, in 8 bits; without the margin that would wrap."""
    blurred = fftconvolve(scene, kernel[..., None], mode="same", axes=(0, 1))
    part = blurred[MARGIN:-MARGIN, MARGIN:-MARGIN][::scale, ::scale]
    noisy = part + np.random.default_rng(1).normal(0, noise / 255, part.shape)
    return (noisy.clip(0, 1) * 255).round().astype(np.uint8)


def psnr(picture: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(picture / 255.0 - truth)[where].mean()))


@pytest.mark.parametrize(("text", "noise", "scale"), [("motion:16", 1.0, 1), ("disk:5", 2.55, 1), ("disk:5", 1.0, 2)])
def test_lamps_no_longer_ring_over_the_night(restorer, photo, text, noise, scale):
    scene = night(photo)
    kernel = kernels.parse(text, scale)
    picture = observed(scene, kernel, noise=noise, scale=scale)
    truth = scene[MARGIN:-MARGIN, MARGIN:-MARGIN].clip(0, 1)
    dark = truth.max(axis=-1) < 0.3
    before = psnr(picture.repeat(scale, 0).repeat(scale, 1), truth, dark)
    options = {"scale": scale, "kernel": kernel, "noise_level": noise}
    after = psnr(restorer(picture, **options), truth, dark)
    off = psnr(restorer(picture, saturation="off", **options), truth, dark)
    assert after > before + (8 if scale == 1 else 5)
    assert after > off + 8


def test_blown_windows_and_skies_are_better_than_the_blurred_picture(restorer, photo):
    scene = windows(photo)
    picture = observed(scene, kernels.disk(5), noise=1)
    truth = scene[MARGIN:-MARGIN, MARGIN:-MARGIN].clip(0, 1)
    everywhere = np.ones(truth.shape[:2], bool)
    after = psnr(restorer(picture, kernel=kernels.disk(5), scale=1, noise_level=1), truth, everywhere)
    assert after > psnr(picture, truth, everywhere) + 4


def test_nothing_clipped_nothing_changed(restorer, photo):
    picture = observed(night(photo, count=0), kernels.disk(3), noise=1)
    assert picture.max() < 253
    options = {"scale": 1, "kernel": "disk:3"}
    assert (restorer(picture, **options) == restorer(picture, saturation="off", **options)).all()


def test_a_page_that_is_white_but_not_brighter_stays_as_it_is(restorer):
    """Black text on white paper: every other pixel is white, and none is above it."""
    page = np.full((96, 96), 255, np.uint8)
    page[20:80:12, 10:86] = page[20:80, 20:86:13] = 0
    blurred = usrnet.degrade(page, "gaussian:1.5", scale=1, noise_level=0.5)
    options = {"scale": 1, "kernel": "gaussian:1.5", "noise_level": 1}
    auto = restorer(blurred, **options)
    assert (auto == restorer(blurred, saturation="off", **options)).all()


def test_a_picture_that_is_white_all_over(restorer):
    white = np.full((40, 50, 3), 255, np.uint8)
    auto, off = (restorer(white, kernel="disk:4", scale=1, saturation=way) for way in ("auto", "off"))
    assert (auto == off).all()
    assert auto.min() > 245


def test_a_file_with_lamps_gets_a_note(tmp_path, restorer, photo):
    io.write(tmp_path / "night.png", io.Picture(observed(night(photo), kernels.disk(4), noise=1)))
    observation = observe(scale=1, kernel="disk:4", noise_level=1)
    with pytest.warns(UsrnetWarning, match=r"night.png: about \d+ pixels are clipped"):
        restore_file(restorer, tmp_path / "night.png", tmp_path / "out.png", observation)


def test_tiles_leave_no_seam_at_night(restorer, photo):
    scene = night(photo)
    picture = observed(scene, kernels.disk(4), noise=1)
    options = {"scale": 1, "kernel": kernels.disk(4), "noise_level": 1}
    tiled = Restorer("default", precision="fp32", tile=96)
    whole, pieces = (r(picture, **options).astype(float) for r in (restorer, tiled))
    dark = (scene[MARGIN:-MARGIN, MARGIN:-MARGIN] < 0.3).all(axis=-1)
    seams = np.zeros_like(dark)
    for cut in (96,):
        seams[cut - 6 : cut + 6] = seams[:, cut - 6 : cut + 6] = True
    apart = np.abs(whole - pieces).mean(axis=-1)
    assert apart[dark & seams].mean() < apart[dark & ~seams].mean() + 0.3  # grey levels of 255
    assert apart[dark].mean() < 1


def test_the_sources_explain_what_was_seen():
    """y is the blur of the sources and of the rest, wherever it was measured."""
    truth = torch.full((1, 3, 64, 64), 0.1)
    truth[..., 30:33, 20:23] = 8
    taps = torch.from_numpy(kernels.disk(4)).float()[None, None]
    full = torch.nn.functional.conv2d(truth.mT.mT, taps.expand(3, 1, -1, -1), padding=12, groups=3)
    y = full.clamp(0, 1)[..., 8:56, 8:56]
    clipped = y >= 1
    found = take_out(y, clipped, taps, 1, height=80, width=80)
    assert found is not None
    assert found.sources[..., 20:28, 10:18].sum(dim=(-2, -1)) == pytest.approx(torch.full((1, 3), 72.0), rel=0.15)
    assert found.rest[~clipped].min() > -0.02
    assert found.rest.max() < 1.2


def test_clipped_pixels_are_counted_and_not_their_channels():
    y = torch.full((1, 3, 24, 24), 0.2)
    clipped = torch.zeros_like(y, dtype=torch.bool)
    clipped[..., 12, 8:15] = True  # seven, with a glow around them that white does not explain
    y[..., 9:16, 5:18] = 0.9
    y[clipped] = 1
    taps = torch.from_numpy(kernels.gaussian(2.0)).float()[None, None]
    assert take_out(y, clipped, taps, 1, height=32, width=32) is None


@pytest.mark.parametrize("value", ["on", "0", 300])
def test_saturation_that_makes_no_sense(value):
    with pytest.raises(UsrnetError, match="saturation"):
        observe(saturation=value)
