"""The total variation prior against another implementation, and its gradients. The learned prior: test_usrnet.py."""

import torch
from skimage.restoration import denoise_tv_chambolle

from usrnet.model import TotalVariation


def test_total_variation_equals_another_implementation(photo):
    z = torch.from_numpy(photo[:60, :75, 0] / 255) + 0.1 * torch.randn(
        60, 75, generator=torch.Generator().manual_seed(0)
    )
    weight = 0.15
    expected = denoise_tv_chambolle(z.numpy(), weight=weight, eps=1e-12, max_num_iter=20000)
    beta = torch.full((1, 1, 1, 1), weight**0.5, dtype=z.dtype)
    denoised = TotalVariation(iterations=1000)(z[None, None], beta)[0, 0]
    assert (denoised - z).abs().max() > 0.1
    assert (denoised - torch.from_numpy(expected)).abs().max() < 0.01  # the other one converges slowly
    assert energy(denoised, z, weight) <= energy(torch.from_numpy(expected), z, weight)


def energy(x: torch.Tensor, z: torch.Tensor, weight: float) -> float:
    """``½‖x − z‖² + weight · TV(x)``, written from the definition."""
    down, right = (torch.diff(x, dim=axis, append=x.narrow(axis, -1, 1)) for axis in (0, 1))
    return float((x - z).square().sum() / 2 + weight * torch.hypot(down, right).sum())


def test_total_variation_is_differentiable():
    generator = torch.Generator().manual_seed(0)
    z = torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    beta = torch.tensor([0.3, 0.5], dtype=torch.float64).reshape(2, 1, 1, 1).requires_grad_()
    assert torch.autograd.gradcheck(TotalVariation(iterations=4), (z, beta))
