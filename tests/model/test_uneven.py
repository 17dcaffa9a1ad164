import pytest
import torch

from usrnet import kernels
from usrnet.degradation import Degradation
from usrnet.model import Unfolding, USRNet, uneven
from usrnet.model.uneven import UnevenDataStep, levels_of, spread
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


def test_a_kernel_may_be_of_another_type():
    y, kernel = torch.rand(1, 3, 8, 8), torch.full((1, 1, 3, 3), 1 / 9)
    sigma = torch.full((1, 1, 8, 8), 0.01)
    sigma[..., 4:] = 0.1
    model = total_variation(4)
    difference = model(y, kernel.double(), 2, sigma) - model(y, kernel, 2, sigma)
    assert difference.dtype == y.dtype
    assert difference.abs().max() < 1e-5


def test_far_from_the_other_level_only_ones_own_counts():
    model = total_variation(6)
    y = torch.rand(1, 3, 24, 160)
    kernel = torch.from_numpy(kernels.gaussian(1, size=9)).float()
    sigma = torch.full((1, 1, 24, 160), 2 / 255)
    sigma[..., 80:] = 20 / 255
    with torch.inference_mode():
        both, low, high = (model(y, kernel, 1, level) for level in (sigma, 2 / 255, 20 / 255))
    assert (both - low)[..., 30:50].abs().max() < 0.03
    assert (both - high)[..., 110:130].abs().max() < 0.03
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


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("kernel", ["gaussian:1.6", "motion:7"])
@pytest.mark.parametrize(("tolerance", "share"), [(uneven.TOLERANCE, 0.1), (1e-6, 1e-4)])
def test_the_data_step_has_the_least_weighted_sum_of_squares(monkeypatch, scale, kernel, tolerance, share):
    """Against the normal equations of the sum, solved densely; the closed form with one α is far from them."""
    monkeypatch.setattr(uneven, "ITERATIONS", 200)
    monkeypatch.setattr(uneven, "TOLERANCE", tolerance)
    torch.manual_seed(0)
    n = 14
    taps = torch.from_numpy(kernels.parse(kernel, scale)[8:17, 8:17])
    taps = (taps / taps.sum())[None, None]
    blur = Degradation(taps, scale, scale * n, scale * n)
    sigma = (0.08 + 0.05 * torch.sin(2 * torch.pi / n * torch.arange(n).double())).expand(1, 1, n, n)
    scene = torch.rand(1, 1, scale * n, scale * n).double()
    y = blur(scene) + sigma * torch.randn(1, 1, n, n).double()
    x = scene + 0.1 * torch.randn(scene.shape).double()
    unit = torch.eye((scale * n) ** 2).double()
    matrix = blur(unit.reshape(-1, 1, scale * n, scale * n)).reshape(len(unit), -1).T
    weighted = matrix.T / sigma.square().ravel()
    exact = torch.linalg.solve(weighted @ matrix + unit, weighted @ y.ravel() + x.ravel())
    step = UnevenDataStep(y, taps, scale, sigma)
    found = step(x, torch.tensor(step.levels).double().square().reshape(-1, 1, 1, 1, 1))
    even = step.step(x, sigma.square().mean().reshape(1, 1, 1, 1))
    error, far = ((z.ravel() - exact).square().mean().sqrt() for z in (found, even))
    assert error < share * far


def test_pictures_of_a_batch_do_not_touch_each_other():
    y, taps = torch.rand(2, 3, 16, 24), torch.from_numpy(kernels.disk(2)[9:16, 9:16]).float()[None, None]
    sigma = 0.01 + 0.1 * torch.rand(2, 1, 16, 24)
    with torch.inference_mode():
        step = UnevenDataStep(y, taps, 1, sigma)
        alone = UnevenDataStep(y[1:], taps, 1, sigma[1:])
        alone.levels, alone.weights, alone.shares = step.levels, [w[1:] for w in step.weights], step.shares[:, 1:]
        alpha = torch.tensor(step.levels).square().reshape(-1, 1, 1, 1, 1)
        assert (step(y, alpha)[1:] - alone(y[1:], alpha)).abs().max() < 1e-5
