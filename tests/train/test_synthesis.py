import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from usrnet import kernels
from usrnet.train.config import validate
from usrnet.train.photos import ResidentPhotos, list_photos
from usrnet.train.synthesis import Synthesis

CPU = torch.device("cpu")


@pytest.fixture
def make(tree):
    def make(**sections):
        merged = {name: {**tree.get(name, {}), **sections.get(name, {})} for name in {*tree, *sections}}
        config = validate(merged, "test")
        listing = list_photos(config.data.folders, config.data.patch)
        return Synthesis(config, ResidentPhotos(listing, CPU), listing.weights, CPU)

    return make


def test_batches_are_functions_of_seed_step_and_part(make):
    first = list(make().batches(range(3, 6), range(2), 3))
    again = list(make().batches(range(4, 6), range(1, 2), 3))
    assert torch.equal(first[3].y, again[0].y)
    assert torch.equal(first[5].kernel, again[1].kernel)
    assert not torch.equal(first[2].sharp, first[3].sharp)
    assert first[2].scale == first[3].scale
    other = next(make(run={"seed": 1}).batches(range(3, 4), range(1), 3))
    assert not torch.equal(other.y, first[0].y)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_y_is_the_degradation_of_sharp(make, scale):
    synthesis = make(degradation={"scales": [scale], "noiseless": 1.0})
    batch = next(synthesis.batches(range(1), range(1), 4))
    assert batch.scale == scale
    for sharp, y, kernel in zip(batch.sharp, batch.y, batch.kernel, strict=True):
        expected = [convolve(plane.numpy(), kernel[0].numpy(), mode="wrap")[::scale, ::scale] for plane in sharp]
        assert np.abs(np.stack(expected) - y.numpy()).max() < 1e-5


def test_the_noise_is_as_strong_as_sigma_says(make):
    synthesis = make(degradation={"noise": [10, 20], "noiseless": 0.0}, data={"patch": 96})
    for batch in synthesis.batches(range(4), range(1), 16):
        clean = make(degradation={"noise": [0, 0]}, data={"patch": 96})
        y = clean.degrade((batch.sharp * 255).round().byte(), batch.scale, np.random.default_rng(0))
        assert y.y.shape == batch.y.shape
        assert batch.sigma.min() >= 10 / 255
        assert batch.sigma.max() <= 20 / 255
    flat = synthesis.degrade(torch.full((32, 3, 96, 96), 128, dtype=torch.uint8), 1, np.random.default_rng(1))
    measured = (flat.y - 128 / 255).std(dim=(1, 2, 3))
    assert torch.allclose(measured, flat.sigma.reshape(-1), rtol=0.03)


def test_noiseless_share_and_eight_bits(make):
    synthesis = make(degradation={"noiseless": 0.5, "truncated": 0.5, "rounded": 0.2})
    batches = list(synthesis.batches(range(40), range(1), 8))
    sigma = torch.cat([batch.sigma for batch in batches])
    assert 0.4 < (sigma == 0).float().mean() < 0.6
    quiet = torch.cat([(batch.y * 255).flatten(1)[batch.sigma.flatten() == 0].sub_(0).flatten() for batch in batches])
    assert 0.55 < ((quiet - quiet.round()).abs() < 1e-3).float().mean() < 0.85


def test_families_of_kernels(make):
    rng = np.random.default_rng(0)
    for family in ("motion", "gaussian", "bicubic"):
        options = {"motion": 0.0, "gaussian": 0.0, "bicubic": 0.0, family: 1.0, "aligned": 0.5, "isotropic": 0.3}
        made = make(kernels=options).draw_kernels(rng, 9, 3)
        assert made.shape == (9, 25, 25)
        assert np.allclose(made.sum(axis=(1, 2)), 1)
        assert (made.min() < 0) == (family == "bicubic")


def test_known_kernels_only(make, tmp_path):
    small, large = kernels.gaussian(1, size=9), kernels.motion(3, size=31)
    kernels.save(tmp_path / "a.npy", small)
    kernels.save(tmp_path / "b.mat", large)
    files = [str(tmp_path / "a.npy"), str(tmp_path / "b.mat")]
    made = make(kernels={"files": files}).draw_kernels(np.random.default_rng(0), 20, 2)
    assert made.shape[1] == 31
    padded = np.pad(kernels.load(files[0]), (31 - 9) // 2)
    assert {bool(np.allclose(kernel, padded)) for kernel in made} == {True, False}
