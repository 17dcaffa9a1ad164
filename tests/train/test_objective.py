import math

import pytest
import torch

from usrnet.train.config import Objective
from usrnet.train.objective import TERMS, lattice, spectrum, weighted_sum


@pytest.mark.parametrize("name", sorted({*TERMS} - {"spectrum", "lattice"}))
def test_every_term_is_an_error_with_a_gradient_also_at_zero(name):
    sharp = torch.rand(3, 3, 8, 8)
    for error in (0.0, 0.1, 0.2):
        restored = (sharp + error).requires_grad_()
        value = TERMS[name](restored, sharp)
        value.backward()
        expected = {"l2": error**2}.get(name, error)
        assert float(value.detach()) == pytest.approx(expected, abs=1.1e-3)
        assert restored.grad is not None
        assert restored.grad.isfinite().all()


def test_an_easy_picture_counts_no_less_in_rmse():
    sharp = torch.zeros(2, 3, 8, 8)
    restored = torch.stack([torch.full((3, 8, 8), 0.01), torch.full((3, 8, 8), 0.1)]).requires_grad_()

    def share(name):
        (gradient,) = torch.autograd.grad(TERMS[name](restored, sharp), restored)
        return float(gradient[0].norm() / gradient[1].norm())

    assert share("rmse") == pytest.approx(1, abs=1e-3)
    assert share("l2") == pytest.approx(0.1, abs=1e-3)


def test_the_spectrum_asks_for_power_and_not_for_places():
    noise, other = 0.1 * torch.randn(2, 2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    assert float(spectrum(noise, noise)) == 0
    assert float(spectrum(noise, other)) < 0.2  # another picture of the same texture
    assert float(spectrum(2 * noise, noise)) == pytest.approx(math.log(4), abs=0.02)
    # white noise of σ = 0.1 has the power σ² at all frequencies but the very lowest, which the mean of a window takes
    expected = math.log(0.1**2 + 1 / 255**2) - math.log(1 / 255**2)
    assert float(spectrum(noise, torch.zeros_like(noise))) == pytest.approx(expected, rel=0.03)


def test_the_spectrum_sees_a_pattern_that_the_mean_error_does_not():
    smooth = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    sharp = torch.nn.functional.interpolate(smooth, (96, 96), mode="bicubic")
    random = 0.02 * torch.randn(sharp.shape, generator=torch.Generator().manual_seed(1))
    pattern = torch.zeros_like(sharp)
    pattern[..., ::4, ::4] = 1
    pattern = (pattern - pattern.mean()) / pattern.std() * random.std()  # the same power at one place in sixteen
    noisy = sharp + random
    assert float(spectrum(noisy + pattern, noisy)) > 2 * float(spectrum(noisy.flip(-1), noisy))


@pytest.mark.parametrize("period", [2, 3, 4])
def test_texture_that_keeps_to_a_lattice_is_seen_whatever_its_frequencies(period):
    noise, other = 0.1 * torch.randn(2, 2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    weight = torch.full((96, 96), 0.5)
    weight[::period, ::period] = 2  # white, as before, but not the same everywhere
    held = noise * weight / weight.square().mean().sqrt()
    assert float(spectrum(held, other)) < 0.2
    assert float(lattice(other, noise)) < 0.05
    assert float(lattice(held, noise)) > 0.2


@pytest.mark.parametrize("term", [lattice, spectrum])
@pytest.mark.parametrize("error", [0.0, 0.01])
def test_what_is_compared_as_logarithms_has_a_gradient_also_at_zero(term, error):
    sharp = torch.zeros(1, 3, 32, 32)
    restored = (sharp + error * torch.rand(sharp.shape)).requires_grad_()
    term(restored, sharp).backward()
    assert restored.grad is not None
    assert restored.grad.isfinite().all()


def test_the_terms_add_up_with_their_weights():
    restored, sharp = torch.rand(2, 2, 3, 8, 8)
    weights = {"l1": 2.0, "l2": 0.5}
    total = weighted_sum(weights, {name: TERMS[name](restored, sharp) for name in weights})
    difference = restored - sharp
    assert torch.allclose(total, 2 * difference.abs().mean() + 0.5 * difference.square().mean())


def test_the_terms_of_a_config():
    assert Objective().terms() == {"l1": 1}
    assert Objective(l2=3).terms() == {"l2": 3}
    assert Objective(l1=0, charbonnier=2).terms() == {"charbonnier": 2}
    assert set(Objective.model_fields) == {*TERMS, "perceptual", "adversarial"}
