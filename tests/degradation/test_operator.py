import numpy as np
import pytest
import scipy.ndimage
import torch

import usrnet
from usrnet import kernels
from usrnet.degradation import Degradation, degrade_batch
from usrnet.errors import UsrnetError
from usrnet.restoration.noise import parse_noise


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel_size", [(5, 5), (4, 7), (6, 2), (1, 1)])
@pytest.mark.parametrize("size", [(24, 36), (13, 29)])
class TestOperator:
    def make(self, scale, kernel_size, size):
        rng = np.random.default_rng(3)
        return rng.random((2, 3, *size)), rng.random((2, 1, *kernel_size))

    def test_equals_scipy(self, scale, kernel_size, size):
        x, kernel = self.make(scale, kernel_size, size)
        y = degrade_batch(torch.from_numpy(x), torch.from_numpy(kernel), scale).numpy()
        for n in range(2):
            for c in range(3):
                expected = scipy.ndimage.convolve(x[n, c], kernel[n, 0], mode="wrap")[::scale, ::scale]
                assert np.abs(y[n, c] - expected).max() < 1e-10

    def test_adjoint(self, scale, kernel_size, size):
        x, kernel = self.make(scale, kernel_size, size)
        A = Degradation(torch.from_numpy(kernel), scale, *size)
        Ax = A(torch.from_numpy(x))
        y = torch.rand(Ax.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        assert torch.isclose((Ax * y).sum(), (torch.from_numpy(x) * A.adjoint(y)).sum(), rtol=1e-12)


def test_gradients():
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(1, 2, 6, 8, generator=rng, dtype=torch.float64, requires_grad=True)
    kernel = torch.rand(1, 1, 3, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, k: degrade_batch(x, k, 2), (x, kernel))


def test_noise_is_seeded_and_has_the_level_asked_for():
    x, kernel = torch.zeros(1, 3, 200, 200), torch.ones(1, 1, 1, 1)
    sigma = torch.full((1, 1, 1, 1), 0.1)
    y = degrade_batch(x, kernel, 1, sigma, generator=torch.Generator().manual_seed(5))
    again = degrade_batch(x, kernel, 1, sigma, generator=torch.Generator().manual_seed(5))
    assert torch.equal(y, again)
    assert abs(y.std().item() - 0.1) < 1e-3


@pytest.mark.parametrize("shape", [(12, 10), (12, 10, 2)])
def test_a_grey_picture_stays_grey_under_a_kernel_per_channel(shape):
    """Grey is three equal channels; their mean is blurred by the mean of the kernels."""
    picture = np.random.default_rng(0).random(shape)
    taps = np.stack([kernels.gaussian(width, size=9) for width in (0.5, 0.8, 1.1)], axis=-1)
    small = usrnet.degrade(picture, taps, scale=2)
    assert small.shape == (6, 5, *shape[2:])
    np.testing.assert_allclose(small, usrnet.degrade(picture, taps.mean(axis=-1), scale=2), atol=1e-6)


@pytest.mark.parametrize("scale", [np.int64(2), np.uint8(2)])
def test_scale_may_be_an_integer_of_numpy(scale):
    assert usrnet.degrade(np.zeros((4, 4), np.uint8), "delta", scale=scale).shape == (2, 2)


@pytest.mark.parametrize("noise_level", ["2", None, np.nan, -1, [1, 2]])
def test_a_noise_level_that_is_no_number_is_named(noise_level):
    with pytest.raises(UsrnetError, match="noise level"):
        usrnet.degrade(np.zeros((4, 4), np.uint8), "delta", scale=2, noise_level=noise_level)


@pytest.mark.parametrize("seed", [-1, 1.5, "a"])
def test_a_seed_that_is_none_is_named(seed):
    with pytest.raises(UsrnetError, match=f"seed {seed!r} is not a whole number"):
        usrnet.degrade(np.zeros((4, 4), np.uint8), "delta", scale=2, noise_level=1, seed=seed)


def test_what_is_wrong_with_a_noise_to_restore_with_is_named():
    hole = np.full((4, 5), 2.0)
    hole[1, 2] = np.nan
    for wrong, text in (
        (None, "noise None is not a number"),
        ([1, 2], r"noise \[1, 2\] is not a number"),
        (1j, "noise 1j is not a number"),
        (hole, "1 of its 20 are not: the first of them is nan"),
        (np.full((2, 3), 300), "6 of its 6 are not: the first of them is 300"),
        (np.zeros((2, 2, 3)), r"H×W numbers, not float64 \(2, 2, 3\)"),
    ):
        with pytest.raises(UsrnetError, match=text):
            parse_noise(wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsrnetError, match="noise None"):
        usrnet.restore(np.zeros((16, 16), np.uint8), model="tv", noise_level=None)  # pyright: ignore[reportArgumentType]
