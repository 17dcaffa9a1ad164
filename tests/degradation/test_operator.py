import numpy as np
import pytest
import scipy.ndimage
import torch

import usrnet
from usrnet import kernels
from usrnet.degradation import Degradation, degrade_batch
from usrnet.errors import UsrnetError


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
