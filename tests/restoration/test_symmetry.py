from itertools import product

import numpy as np
import pytest
import torch

import usrnet
from usrnet import kernels, metrics
from usrnet.degradation import degrade_batch
from usrnet.errors import UsrnetError
from usrnet.restoration import Restorer, observe
from usrnet.restoration.symmetry import Symmetry


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(25, 25), (6, 4), (3, 8)])
def test_a_turned_picture_was_blurred_by_the_turned_kernel(scale, shape):
    rng = np.random.default_rng(0)
    kernel = rng.random(shape)
    observation = observe(scale=scale, kernel=kernel / kernel.sum())
    x = torch.from_numpy(rng.random((1, 3, 32 * scale, 33 * scale)))
    y = degrade_batch(x, torch.from_numpy(observation.taps)[None], scale)
    for turns, flipped in product(range(4), (False, True)):
        symmetry = Symmetry(turns, flipped)
        taps = torch.from_numpy(symmetry.observation(observation).taps)[None]
        assert (symmetry.back(symmetry.tensor(x)) == x).all()
        assert degrade_batch(symmetry.tensor(x), taps, scale).numpy() == pytest.approx(symmetry.tensor(y).numpy())


def test_the_ensemble_gains(photo):
    truth = photo[100:228, 100:228]
    small = usrnet.degrade(truth, "gaussian:1.2", scale=2, noise_level=1)
    one, eight = (
        Restorer("default", ensemble=ensemble)(small, scale=2, kernel="gaussian:1.2", noise_level=1, saturation="off")
        for ensemble in (False, True)
    )
    assert metrics.psnr(eight, truth, border=8) > metrics.psnr(one, truth, border=8)


def test_strength_mixes_with_the_plain_enlargement(photo):
    small = small_of(photo)
    full, half, none = (
        Restorer("tv", strength=strength)(small, scale=2, saturation="off").astype(float) for strength in (100, 50, 0)
    )
    assert half == pytest.approx((full + none) / 2, abs=1.01)
    assert np.abs(none[1::2, 1::2] - small).mean() < 8  # nothing but interpolation
    with pytest.raises(UsrnetError, match="strength"):
        Restorer("tv", strength=101)


def small_of(photo: np.ndarray) -> np.ndarray:
    return usrnet.degrade(photo[:96, :96], kernels.gaussian(0.7, scale=2), scale=2)
