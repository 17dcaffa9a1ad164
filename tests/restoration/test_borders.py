import numpy as np
import pytest
import torch
from scipy.fft import next_fast_len

import usrnet
from usrnet import kernels, metrics
from usrnet.errors import UsrnetError
from usrnet.restoration import Restorer
from usrnet.restoration.borders import extend, extended_length, extrapolate, observed_density


def test_equals_the_published_code(shared):
    case = np.load(shared / "oracle" / "boundary_liu_jia.npz")
    image = torch.from_numpy(case["image"]).permute(2, 0, 1)
    extended = extend(image, *case["extended"].shape[:2]).permute(1, 2, 0)
    assert np.abs(extended.numpy() - case["extended"]).max() < 1e-6


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (3, 50), (31, 17)])
def test_any_size_keeps_the_picture_and_stays_in_its_range(size):
    picture = torch.rand(3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    extended = extend(picture, size[0] + 8, size[1] + 15)
    assert extended.shape == (3, size[0] + 8, size[1] + 15)
    assert torch.equal(extended[:, : size[0], : size[1]], picture)
    # Harmonic functions take their extremes on the border.
    assert extended.min() >= picture.min() - 1e-12
    assert extended.max() <= picture.max() + 1e-12


def test_constant_stays_constant():
    extended = extend(torch.full((1, 20, 30), 0.3, dtype=torch.float64), 32, 48)
    assert (extended - 0.3).abs().max() < 1e-12


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel_length", [1, 25, 70])
def test_extended_length(scale, kernel_length):
    for length in (1, 7, 64, 97, 500, 1021):
        extended = extended_length(length, kernel_length, scale)
        assert scale * (extended - length) >= kernel_length
        assert scale * extended % 8 == 0
        assert next_fast_len(scale * extended) == scale * extended
        assert extended <= 1.15 * (length + kernel_length / scale) + 24


def test_fast_lengths_are_those_of_scipy():
    from scipy.fft import next_fast_len

    from usrnet.restoration.borders import _is_fast

    for length in range(1, 1500):
        assert _is_fast(length) == (next_fast_len(length) == length)


def precision_matrix(kernel: torch.Tensor, scale: int, sigma: float, height: int, width: int) -> torch.Tensor:
    """C⁻¹ written out: height·width × height·width."""
    density = observed_density(kernel, scale, torch.tensor(sigma, dtype=torch.float64), height, width)[0, 0]
    response = torch.fft.ifft2(1 / density).real
    rows, columns = (index.flatten() for index in torch.meshgrid(*map(torch.arange, (height, width)), indexing="ij"))
    return response[(rows[:, None] - rows) % height, (columns[:, None] - columns) % width]


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("size", [(32, 30), (24, 40), (32, 40)])
def test_extrapolation_is_the_conditional_mean(photo, scale, size):
    kernel = torch.from_numpy(kernels.motion(3, size=9))[None, None]
    picture = torch.from_numpy(photo[40:64, 50:80] / 255).permute(2, 0, 1)[None]
    given = torch.zeros(size, dtype=torch.bool)
    given[:24, :30] = True
    given = given.flatten()
    precision = precision_matrix(kernel, scale, 0.01, *size)
    mean = picture.mean(dim=(-2, -1), keepdim=True)
    known = (picture - mean).reshape(3, -1)
    expected = torch.zeros(3, given.numel(), dtype=torch.float64)
    expected[:, given] = known
    expected[:, ~given] = torch.linalg.solve(precision[~given][:, ~given], -precision[~given][:, given] @ known.T).T

    y = extrapolate(picture, kernel, scale, 0.01, *size)
    assert (y[..., :24, :30] - picture).abs().max() < 1e-12
    found = (y - mean).reshape(3, -1)

    def energy(x: torch.Tensor) -> float:
        return float(torch.einsum("ci,ij,cj", x, precision, x))

    if size != (32, 40):  # one strip: exact
        assert (found - expected).abs().max() < 1e-6
    smooth = (extend(picture, *size) - mean).reshape(3, -1)
    assert energy(found) <= energy(expected) + 0.01 * (energy(smooth) - energy(expected)) + 1e-6


def test_extrapolation_of_a_batch(photo):
    picture = torch.from_numpy(np.stack([photo[:30, :40], photo[60:90, 30:70]]) / 255).permute(0, 3, 1, 2)
    kernel = torch.from_numpy(np.stack([kernels.motion(1, size=9), kernels.gaussian(1.0, size=9)]))[:, None]
    kernel = torch.cat((kernel, kernel.mT, kernel), dim=1)  # one per channel
    sigma = torch.tensor([0.0, 0.05]).reshape(2, 1, 1, 1)
    together = extrapolate(picture, kernel, 2, sigma, 36, 48)
    for i in range(2):
        one = slice(i, i + 1)
        assert torch.allclose(together[one], extrapolate(picture[one], kernel[one], 2, sigma[one], 36, 48), atol=1e-9)
    assert extrapolate(picture.float(), kernel, 2, sigma, 36, 48).dtype == torch.float32


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (1, 2)])
def test_extrapolation_of_small_pictures(size):
    picture = torch.rand(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernel = torch.from_numpy(kernels.gaussian(1.6))[None, None]
    target = [extended_length(length, 25, 2) for length in size]
    assert extrapolate(picture, kernel, 2, 0.0, *target).isfinite().all()
    flat = torch.full((1, 3, *size), 0.3, dtype=torch.float64)
    assert (extrapolate(flat, kernel, 2, 0.0, *target) - 0.3).abs().max() < 1e-9
    with pytest.raises(UsrnetError, match="larger than"):
        extrapolate(picture, kernel, 2, 0.0, size[0] + 8, size[1] + 8)


@pytest.mark.parametrize(
    ("model", "kernel", "scale", "gain"),
    [
        ("tv", "motion:16", 1, 2.0),
        ("default", "motion:16", 1, 4.0),
        ("tv", "motion:5", 2, 0.3),
        ("default", "motion:5", 2, 0.5),
        ("tv", "gaussian:2", 1, 1.0),
        ("default", "gaussian:2", 1, 3.0),
    ],
)
def test_pictures_that_do_not_wrap_are_restored_up_to_the_border(photo, model, kernel, scale, gain):
    """The blur brought light from beyond the border: what is smooth there rings, what the blur explains does not."""
    taps = kernels.parse(kernel, scale)
    cut = max(taps.shape)
    small = usrnet.degrade(photo, taps, scale=scale, noise_level=1)[cut:-cut, cut:-cut]
    truth = photo[scale * cut : -scale * cut, scale * cut : -scale * cut]
    extrapolated, smooth = (
        metrics.psnr(Restorer(model, boundary=boundary)(small, scale=scale, kernel=taps, noise_level=1), truth)
        for boundary in ("extrapolate", "liu-jia")
    )
    assert extrapolated > smooth + gain
