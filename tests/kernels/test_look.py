"""What is wrong with a measured PSF is said with its number, and mended by name."""

import numpy as np
import pytest

from usrnet import kernels
from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.kernels.language import looked_at
from usrnet.kernels.look import is_placed

PSF = kernels.gaussian(2.0, size=31)
RNG = np.random.default_rng(0)


def said(kernel: np.ndarray, *, scale: int = 1) -> str:
    return "; ".join(kernels.findings(kernels.check(kernel, quiet=True), scale=scale))


@pytest.mark.parametrize("text", ["delta", "gaussian:1.6", "gaussian:3,1,30", "motion:7", "motion:12", "bicubic"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_nothing_is_wrong_with_kernels_that_are_right(text, scale):
    assert said(kernels.parse(text, scale), scale=scale) == ""


@pytest.mark.parametrize(
    "kernel",
    [np.ones((9, 9)), np.ones((1, 9)), np.outer([1, 2, 1], [1, 2, 1]), kernels.gaussian(3, size=9), np.ones((7, 3))],
)
def test_small_and_flat_kernels_are_let_be(kernel):
    assert said(kernel) == ""


@pytest.mark.parametrize("noise", [0, 3, 30])
@pytest.mark.parametrize("level", [20, 100, 1000])
def test_a_pedestal_is_said_and_taken_off(level, noise):
    bead = PSF / PSF.max() * 1000 + level + RNG.normal(0, noise, PSF.shape)
    assert "the border holds" in said(bead)
    assert "% of the light" in said(bead)
    mended = kernels.check(kernels.subtract(bead, None), quiet=True)
    assert said(mended) == ""
    assert np.abs(mended - PSF).max() < (0.02 + noise / 150) * PSF.max()
    exact = kernels.check(kernels.subtract(bead, level), quiet=True)
    assert abs(exact - PSF).sum() < 0.02 + noise / 20


def test_black_on_white_is_said_and_turned_round():
    negative = 255 - (PSF / PSF.max() * 255).round()
    assert "black on white" in said(negative)
    mended = kernels.check(kernels.subtract(negative, None), quiet=True)
    assert np.abs(mended - PSF).max() < 0.01 * PSF.max()


@pytest.mark.parametrize("move", [(3, 5), (-4, 0), (0, 2), (-6, 6)])
def test_a_shift_is_said_and_mended(move):
    moved = np.roll(PSF, move, (0, 1))
    for offset, names in zip(move, (("down", "up"), ("right", "left")), strict=True):
        if offset:
            assert f"{abs(offset)}.0 pixels {names[offset < 0]}" in said(moved)
    mended = kernels.center(moved)
    assert np.abs(kernels.centre_of_mass(mended)).max() < 0.06
    assert mended.max() == pytest.approx(PSF.max(), rel=0.02)


@pytest.mark.parametrize("side", [31, 32])
def test_fft_order_is_said_and_mended(side):
    centred = kernels.gaussian(2.0, size=31) if side == 31 else np.pad(PSF, ((0, 1), (0, 1)))
    corner = np.fft.ifftshift(centred)
    assert "in the corners (FFT order), " in said(corner)
    mended = kernels.center(corner)
    assert mended.shape == (31, 31) if side == 31 else (33, 33)
    assert np.abs(kernels.centre_of_mass(mended)).max() < 0.06


def test_even_sizes_are_said_and_mended():
    even = kernels.gaussian(2.0, size=32)
    assert "32×32 is even: the centre is taken to be pixel (16, 16)" in said(even)
    between = np.outer(*[np.exp(-0.5 * ((np.arange(32) - 15.5) / 2) ** 2)] * 2)
    mended = kernels.center(between)
    assert mended.shape[0] % 2 == 1
    assert np.abs(kernels.centre_of_mass(mended)).max() < 0.06


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_centred_kernel_is_not_placed(scale):
    assert not is_placed(PSF, scale)
    assert is_placed(kernels.align(PSF, scale), scale)
    assert is_placed(PSF, 1)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize(("down", "right"), [(0.3, 0.3), (-0.2, 0.1), (0.0, -0.4)])
def test_a_kernel_that_is_not_quite_centred_is_moved_all_the_same(scale, down, right):
    """Coma, trailing and half a pixel of error in centring are no placing."""
    coma = kernels.shift(kernels.gaussian(1.5), down, right)
    moved, doubts = looked_at(coma, scale, align=True)
    assert doubts == []
    expected = (down - (scale - 1) / 2, right - (scale - 1) / 2)
    assert kernels.centre_of_mass(moved) == pytest.approx(expected, abs=0.05)
    assert "to the upper left of the input: --align" in looked_at(coma, scale, align=False)[1][0]


def test_channels_are_mended_together():
    colour = np.stack([np.roll(kernels.gaussian(width, size=31), (4, 4), (0, 1)) for width in (1, 2, 3)], axis=-1)
    mended = kernels.center(colour)
    assert mended.shape[-1] == 3
    assert all(np.abs(kernels.centre_of_mass(mended[..., index])).max() < 0.1 for index in range(3))


def test_a_background_above_everything():
    with pytest.raises(UsrnetError, match="nothing of the kernel is brighter"):
        kernels.subtract(PSF, 5.0)


@pytest.mark.parametrize("scale", [1, 3])
def test_files_are_looked_at_when_they_are_used(tmp_path, scale):
    np.save(tmp_path / "k.npy", np.roll(PSF, (3, 5), (0, 1)))
    with pytest.warns(UsrnetWarning, match=r"k\.npy: the centre of mass lies 3\.0 pixels down and 5\.0 pixels right"):
        kernels.parse(str(tmp_path / "k.npy"), scale)


def test_align(tmp_path):
    np.save(tmp_path / "k.npy", PSF)
    with pytest.warns(UsrnetWarning, match="0.5 pixels to the upper left of the input: --align"):
        kernels.parse(str(tmp_path / "k.npy"), 2, align=False)
    placed = kernels.parse(str(tmp_path / "k.npy"), 2, align=True)
    assert np.allclose(kernels.centre_of_mass(placed), (-0.5, -0.5))
    np.save(tmp_path / "k.npy", placed)
    kernels.parse(str(tmp_path / "k.npy"), 2, align=False)
    with pytest.warns(UsrnetWarning, match="placed for the scale already"):
        assert np.allclose(kernels.parse(str(tmp_path / "k.npy"), 2, align=True), placed)
