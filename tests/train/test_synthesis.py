import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from usrnet import kernels
from usrnet.errors import UsrnetError
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
        return Synthesis(config, ResidentPhotos(listing, CPU), listing.shares("pixels"), CPU)

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


def test_noise_of_whole_numbers(make):
    synthesis = make(degradation={"noise": [0.5, 4], "whole_noise": True, "noiseless": 0.0})
    batches = list(synthesis.batches(range(12), range(1), 8))
    levels = 255 * torch.cat([batch.sigma for batch in batches])
    assert set(levels.round().int().flatten().tolist()) == {1, 2, 3, 4}
    assert torch.allclose(levels, levels.round(), atol=1e-4)


def test_motion_kernels_are_moved_and_nothing_wraps(make):
    """A wrapped kernel has mass on two opposite sides with nothing between them."""
    made = make(kernels={"motion": 1, "gaussian": 0, "size": 15}).draw_kernels(np.random.default_rng(0), 200, 2)
    assert np.allclose(made.sum(axis=(1, 2)), 1)
    moved = 0
    for kernel in made:
        for axis in (0, 1):
            profile = kernel.sum(axis=axis)
            used = np.flatnonzero(profile)
            assert len(used) == used[-1] - used[0] + 1  # a path has no gap
            moved += abs(profile @ np.arange(15) - 7) > 0.9
    assert moved > 100


def test_enlarged_motion_kernels(make):
    options = {"motion": 1, "gaussian": 0}
    small = make(kernels=options).draw_kernels(np.random.default_rng(0), 60, 2)
    large = make(kernels={**options, "enlarged": 1.0}).draw_kernels(np.random.default_rng(0), 60, 2)
    assert large.shape == small.shape
    assert np.allclose(large.sum(axis=(1, 2)), 1)
    peak = np.sort(large.max(axis=(1, 2)) / small.max(axis=(1, 2)))
    assert np.median(peak) < 0.6  # the same light on a longer path


def test_gaussians_as_published(make):
    options = {"motion": 0, "gaussian": 1, "variances": [0.6, 12], "aligned": 1.0, "corner": "any"}
    synthesis = make(kernels=options)
    rng = np.random.default_rng(0)
    made = np.concatenate([synthesis.draw_kernels(rng, 4, 1) for _ in range(60)])
    grid = np.arange(25) - 12
    mean = np.stack([made.sum(axis=2) @ grid, made.sum(axis=1) @ grid])
    assert set(np.round(2 * np.abs(mean)).ravel()) == {0, 1, 2, 3}
    assert {(a, b) for a, b in np.sign(np.round(mean, 1)).T} >= {(-1, -1), (-1, 1), (1, -1), (1, 1)}
    total = made.sum(axis=2) @ grid**2 + made.sum(axis=1) @ grid**2 - (mean**2).sum(axis=0)
    assert 11.5 < total.mean() < 13.5  # twice the middle of 0.6 and 12, less what 25 pixels cut off
    assert 1 < total.min() < total.max() < 24.1


def test_colours(make):
    sharp = torch.rand(64, 3, 24, 24).mul(255).byte()
    flat = sharp.flatten(2).float() / 255

    def colours(**options):
        make_batch = make(degradation={"noise": [0, 0], **options}, kernels={"size": 5}, data={"patch": 24}).degrade
        return make_batch(sharp, 1, np.random.default_rng(0)).sharp.flatten(2)

    assert torch.equal(colours(), flat)
    permuted = colours(permuted=1.0)
    assert torch.allclose(permuted.sort(dim=1).values, flat.sort(dim=1).values)
    assert len({tuple(torch.cdist(a, b).argmin(dim=1).tolist()) for a, b in zip(permuted, flat, strict=True)}) == 6
    sharp = (100 + 20 * torch.rand(64, 3, 24, 24)).byte()  # nothing is clipped
    flat = sharp.flatten(2).float() / 255
    saturated = colours(saturated=0.5)
    assert torch.allclose(saturated.mean(dim=1), flat.mean(dim=1), atol=1e-6)
    factor = saturated.std(dim=1).mean(dim=1) / flat.std(dim=1).mean(dim=1)
    assert 20 < (factor.sub(1).abs() < 1e-4).sum() < 44
    assert 0.59 < factor.min() < 0.75
    assert 1.5 < factor.max() < 1.81


def test_a_kernel_larger_than_the_patch_is_refused_before_the_run(make, tmp_path):
    kernels.save(tmp_path / "a.npy", kernels.motion(3, size=51))
    with pytest.raises(UsrnetError, match=r"kernel of 51 pixels, which is larger than data\.patch = 48"):
        make(kernels={"files": [str(tmp_path / "a.npy")]})


def test_known_kernels_only(make, tmp_path):
    small, large = kernels.gaussian(1, size=9), kernels.motion(3, size=31)
    kernels.save(tmp_path / "a.npy", small)
    kernels.save(tmp_path / "b.mat", large)
    files = [str(tmp_path / "a.npy"), str(tmp_path / "b.mat")]
    made = make(kernels={"files": files}).draw_kernels(np.random.default_rng(0), 20, 2)
    assert made.shape[1] == 31
    padded = np.pad(kernels.load(files[0]), (31 - 9) // 2)
    assert {bool(np.allclose(kernel, padded)) for kernel in made} == {True, False}


def test_kernels_of_three_channels_are_refused(make, tmp_path):
    np.save(tmp_path / "rgb.npy", np.full((5, 5, 3), 1 / 25))
    for text in ("rgb.npy", "rgb.npy:rgb"):
        with pytest.raises(UsrnetError, match=rf"kernels.files: .*{text} holds one kernel per colour channel"):
            make(kernels={"files": [str(tmp_path / text)]})


def test_a_share_of_the_patches_are_collages(make):
    patches = torch.linspace(10, 200, 40).byte()[:, None, None, None].expand(40, 3, 48, 48)
    made = make(degradation={"collaged": 0.5}, data={"patch": 48}).degrade(patches, 2, np.random.default_rng(0))
    plain = (made.sharp == patches / 255).flatten(1).all(dim=1)
    assert 0.3 < plain.float().mean() < 0.7
