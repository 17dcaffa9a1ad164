import pytest
import torch

from usrnet import kernels
from usrnet.model import Unfolding, USRNet
from usrnet.model.uneven import levels_of, spread
from usrnet.model.usrnet import Config, total_variation


def small(*, carry: bool) -> Unfolding:
    torch.manual_seed(0)
    return USRNet(Config(3, (8, 8, 8, 8), 1, 8, carry=carry)).eval()


@pytest.mark.parametrize(
    "model", [small(carry=False), small(carry=True), total_variation(4)], ids=["net", "carry", "tv"]
)
@pytest.mark.parametrize("scale", [1, 2])
def test_an_even_map_is_a_number(model, scale):
    y = torch.rand(2, 3, 16, 24)
    kernel = torch.from_numpy(kernels.gaussian(1.2, size=9)).float()
    with torch.inference_mode():
        number = model(y, kernel, scale, 4 / 255)
        for batch in (1, 2):
            assert (model(y, kernel, scale, torch.full((batch, 1, 16, 24), 4 / 255)) - number).abs().max() < 1e-5


def test_far_from_the_other_level_only_ones_own_counts():
    model = total_variation(6)
    y = torch.rand(1, 3, 24, 160)
    kernel = torch.from_numpy(kernels.gaussian(1, size=9)).float()
    sigma = torch.full((1, 1, 24, 160), 2 / 255)
    sigma[..., 80:] = 20 / 255
    with torch.inference_mode():
        uneven, low, high = (model(y, kernel, 1, level) for level in (sigma, 2 / 255, 20 / 255))
    assert (uneven - low)[..., 30:50].abs().max() < 0.02
    assert (uneven - high)[..., 110:130].abs().max() < 0.02
    assert (low - high)[..., 30:50].abs().max() > 0.1


def test_weights_sum_to_one_and_levels_are_close_enough():
    sigma = torch.rand(1, 1, 40, 40).square() * 0.1 + 1e-3
    levels, weights = levels_of(sigma)
    assert torch.stack(weights).sum(dim=0) == pytest.approx(torch.ones(1, 1, 40, 40), abs=1e-5)
    mixed = sum(weight * torch.tensor(level).log() for level, weight in zip(levels, weights, strict=True))
    assert isinstance(mixed, torch.Tensor)
    assert mixed.exp() == pytest.approx(sigma, rel=1e-3)


def test_the_noise_reaches_as_far_as_the_kernel():
    sigma = torch.full((1, 1, 32, 32), 0.01)
    sigma[..., 16, 16] = 0.2
    reached = spread(sigma, torch.from_numpy(kernels.disk(3)).float()[None, None], 1)
    assert reached[0, 0, 16, 18] > 0.03
    assert reached[0, 0, 16, 22] == pytest.approx(0.01, rel=1e-3)
