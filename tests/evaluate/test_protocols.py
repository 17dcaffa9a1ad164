"""The degradations against the published code's, the choice of rows, and what is refused."""

import numpy as np
import pytest
from scipy.ndimage import convolve

from usrnet import kernels
from usrnet.errors import UsrnetError
from usrnet.evaluate.methods import interpolate, interpolate_circular
from usrnet.evaluate.protocols import PROTOCOLS, Row, published_rows


def row(scale: int, kernel: np.ndarray | None = None, noise_level: float = 0.0) -> Row:
    return Row(scale, 1, (kernels.gaussian(1.2) if kernel is None else kernel)[None], noise_level)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_table1_degradation_equals_the_published(shared, scale):
    oracle = np.load(shared / "oracle" / "table1_degradation.npz")
    small = PROTOCOLS["table1"].degrade(oracle["image"], row(scale, oracle["kernel"].astype(np.float64)))
    assert np.array_equal(small * 255, oracle[f"x{scale}"])


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(25, 25), (8, 12), (15, 6), (70, 70)])
def test_table1_degradation_is_scipys_bit_for_bit(photo, scale, size):
    taps = np.random.default_rng(0).random(size)
    taps[0, 0] = taps[-1, -1] = 1e-17
    taps /= taps.sum()
    truth = photo[: 15 * scale, : 18 * scale]
    expected = np.stack([convolve(truth[..., c], taps, mode="wrap") for c in range(3)], axis=-1)
    assert np.array_equal(PROTOCOLS["table1"].degrade(truth, row(scale, taps)), expected[::scale, ::scale] / 255)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_degradation_equals_the_published(shared, scale):
    oracle = np.load(shared / "oracle" / "bicubic_downsample.npz")
    small = PROTOCOLS["bicubic"].degrade(oracle["image"], row(scale))
    assert np.abs(small - oracle[f"x{scale}"]).max() < 1e-6


def test_float_protocol_differs_from_truncation_by_half_a_grey_level(photo):
    truth = photo[:96, :96]
    exact, cut = (PROTOCOLS[name].degrade(truth, row(2)) * 255 for name in ("table1-float", "table1"))
    assert (exact - cut).min() > -1e-6
    assert (exact - cut).max() < 1 + 1e-6
    assert (exact - cut).mean() == pytest.approx(0.5, abs=0.05)


def test_noise_is_the_published_one_for_every_picture(photo):
    truth = photo[:96, :96]
    protocol = PROTOCOLS["table1"]
    noise = protocol.observe(truth, row(2, noise_level=7.65)) - protocol.observe(truth, row(2))
    expected = np.random.RandomState(0).normal(0, 0.03, noise.shape)
    assert np.abs(noise - expected).max() < 1e-6


def test_truth_is_cropped_to_a_multiple(photo):
    assert PROTOCOLS["table1"].truth(photo[:100, :130], 3).shape == (96, 120, 3)
    assert PROTOCOLS["bicubic"].truth(photo[:100, :130], 3).shape == (99, 129, 3)
    with pytest.raises(UsrnetError, match="40×40 pixels are too few at ×4"):
        PROTOCOLS["table1"].truth(photo[:40, :40], 4)


def test_published_rows_are_those_of_the_paper():
    taps = [kernels.gaussian(1.0), kernels.gaussian(2.0)]
    rows = published_rows("table1", taps)
    assert [(r.scale, r.noise_level) for r in rows[::2]] == [(2, 0), (3, 0), (3, 2.55), (3, 7.65), (4, 0)]
    assert [r.kernel_name for r in rows[:2]] == [1, 2]
    assert [(r.scale, r.noise_level) for r in published_rows("table1", taps, [1], [5.0])] == [(1, 5.0)] * 2
    assert [r.scale for r in published_rows("bicubic", [])] == [2, 3, 4]
    with pytest.raises(UsrnetError, match="none for ×4"):
        published_rows("bicubic", taps, [4])
    with pytest.raises(UsrnetError, match="scale 5"):
        published_rows("bicubic", [], [5])


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_interpolation_lies_on_the_truth(scale):
    """A smooth periodic picture is interpolated where its pixels were taken from."""
    t = np.arange(48) * (2 * np.pi / 48)
    truth = (0.5 + 0.3 * np.sin(t)[:, None] * np.cos(t))[..., None].repeat(3, -1)
    small = truth[::scale, ::scale].astype(np.float32)
    assert np.abs(interpolate_circular(small, row(scale)) - truth).max() < 0.004
    areas = truth.reshape(48 // scale, scale, 48 // scale, scale, 3).mean(axis=(1, 3)).astype(np.float32)
    inside = np.s_[8:-8, 8:-8]
    assert np.abs(interpolate(areas, row(scale)) - truth)[inside].max() < 0.01
