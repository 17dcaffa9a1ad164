import numpy as np
import torch

from usrnet import degrade
from usrnet.estimate import masks, network, spectrum
from usrnet.estimate.network import predict
from usrnet.restoration.light import SRGB


def tiles_of(photo: np.ndarray) -> torch.Tensor:
    grey = photo.mean(axis=2)
    return spectrum.cut(grey, np.array([[0, 0], [16, 40], [60, 20]]))


def test_white_noise_has_its_variance_at_every_frequency():
    tiles = 5 * torch.randn(200, 64, 64, generator=torch.Generator().manual_seed(0))
    power = spectrum.power(tiles).mean(dim=0)
    assert power.shape == (31, 16)
    assert (power[abs(torch.arange(-15, 16)) > 2] / 25 - 1).abs().max() < 0.2


def test_spectra_are_turned_as_their_tiles_are(photo):
    tiles = tiles_of(photo)
    plain = spectrum.power(tiles)
    assert torch.allclose(spectrum.turned(plain, transposed=True), spectrum.power(tiles.mT), rtol=1e-3, atol=1e-2)
    # The windows begin with a zero and end without: a mirrored tile is seen one pixel further.
    mirrored = spectrum.power(tiles.flip(2)).sum((1, 2)), spectrum.turned(plain, mirrored=True).sum((1, 2))
    assert torch.allclose(*mirrored, rtol=0.15)
    both = spectrum.turned(plain, mirrored=True, transposed=True)
    assert torch.equal(both, spectrum.turned(spectrum.turned(plain, mirrored=True), transposed=True))
    twice = spectrum.turned(spectrum.turned(plain, transposed=True), transposed=True)
    assert torch.allclose(twice, plain, rtol=1e-3, atol=1e-2)


def test_a_turned_picture_has_a_turned_blur(photo):
    spectra = spectrum.power(tiles_of(degrade(photo, "gaussian:2,1,30", scale=2)))
    noise = torch.ones(3)
    plain, turned, mirrored = (
        predict(view, scale=2, noise_level=noise)
        for view in (
            spectra,
            spectrum.turned(spectra, transposed=True),
            spectrum.turned(spectra, mirrored=True),
        )
    )
    assert torch.allclose(turned.mean, plain.mean * torch.tensor([1.0, -1, 1]), atol=1e-4)
    assert torch.allclose(mirrored.mean, plain.mean * torch.tensor([1.0, 1, -1]), atol=1e-4)
    assert torch.allclose(turned.variance, plain.variance, rtol=1e-3)


def test_many_tiles_know_more_than_one(photo):
    small = degrade(photo, "gaussian:1.6", scale=2, noise_level=5).mean(axis=2)
    corners = np.array([[top, left] for top in (0, 32, 64) for left in (0, 32, 64)])
    spectra = spectrum.power(spectrum.cut(small, corners))
    noise = torch.full((9,), 3.0)
    together = predict(spectra, scale=2, noise_level=noise)
    each = predict(spectra, scale=2, noise_level=noise, each=True)
    assert together.mean.shape == (1, 3)
    assert each.mean.shape == (9, 3)
    assert together.variance[0, 0] < each.variance[:, 0].median()
    alone = predict(spectra[:1], scale=2, noise_level=noise[:1])
    assert torch.allclose(alone.mean[0], each.mean[0], atol=1e-4)


def test_pictures_in_a_batch_do_not_see_each_other():
    generator = torch.Generator().manual_seed(0)
    made = network.BlurNet((16, 8), 8)
    inputs = torch.randn(5, network.INPUTS, generator=generator)
    picture = torch.tensor([0, 1, 0, 1, 1])
    both = made(inputs, picture, 2)[0]
    alone = made(inputs[picture == 1], torch.zeros(3, dtype=torch.long), 1)[0]
    assert torch.allclose(both[1], alone[0], atol=1e-5)
    assert torch.allclose(made(inputs[[4, 3, 1]], torch.zeros(3, dtype=torch.long), 1)[0], alone, atol=1e-5)


def test_smaller_tiles_are_read_too(photo):
    spectra = spectrum.power(tiles_of(photo)[:, :40, :33])
    assert predict(spectra, scale=1, noise_level=torch.zeros(3)).mean.isfinite().all()


def test_in_light_noise_is_larger_where_it_is_bright(photo):
    grey = photo.mean(axis=2).astype(np.float32)
    tiles = masks.choose_tiles(grey, noise_level=1)
    stored, even = spectrum.spectra_of(grey, tiles, 3.0)
    light, noise = spectrum.spectra_of(grey, tiles, 3.0, SRGB)
    assert (even == 3).all()
    assert stored.shape == light.shape
    brightness = torch.stack([tile.mean() for tile in spectrum.cut(grey, tiles.corners, tiles.height, tiles.width)])
    assert noise[brightness.argmax()] > 3 > noise[brightness.argmin()]


def test_the_weights_are_small_and_know_their_sizes():
    assert network.WEIGHTS.stat().st_size < 3e6
    assert next(network.load().parameters()).shape[1] == network.INPUTS
