import numpy as np
import torch

from usrnet import degrade
from usrnet.estimate import network, spectrum
from usrnet.estimate.network import predict


def tiles_of(photo: np.ndarray) -> torch.Tensor:
    grey = photo.mean(axis=2)
    return spectrum.cut(grey, np.array([[0, 0], [16, 40], [60, 20]]))


def test_white_noise_has_its_variance_at_every_frequency():
    tiles = 5 * torch.randn(200, 64, 64, generator=torch.Generator().manual_seed(0))
    power = spectrum.power(tiles).mean(dim=0)
    assert power.shape == (31, 16)
    assert (power[abs(torch.arange(-15, 16)) > 2] / 25 - 1).abs().max() < 0.2


def test_a_turned_tile_has_a_turned_blur(photo):
    tiles = tiles_of(degrade(photo, "gaussian:2,1,30", scale=2))
    plain, turned, mirrored = (predict(view, scale=2, noise_level=1.0) for view in (tiles, tiles.mT, tiles.flip(2)))
    assert torch.allclose(turned.mean, plain.mean * torch.tensor([1.0, -1, 1]), atol=0.05)
    assert torch.allclose(mirrored.mean, plain.mean * torch.tensor([1.0, 1, -1]), atol=0.05)
    assert torch.allclose(turned.variance, plain.variance, rtol=0.1)


def test_smaller_tiles_are_read_too(photo):
    tiles = tiles_of(photo)[:, :40, :33]
    assert predict(tiles, scale=1, noise_level=0.0).mean.isfinite().all()


def test_the_weights_are_small_and_know_their_sizes():
    assert network.WEIGHTS.stat().st_size < 3e6
    assert next(network.load().parameters()).shape[1] == network.INPUTS
