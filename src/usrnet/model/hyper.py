"""The hyper-parameters ``(α_1..α_K, β_1..β_K) = H(σ, s)`` of the unfolded iterations."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class HyPaNet(nn.Module):
    """A perceptron of three layers, softplus + 1e-6 (arXiv 2003.10428, section 4.3)."""

    def __init__(self, n_iter: int, hidden: int) -> None:
        super().__init__()
        self.n_iter = n_iter
        self.mlp = nn.Sequential(
            nn.Conv2d(2, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, 2 * n_iter, 1),
        )

    def forward(self, sigma: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """``sigma``: N×1×1×1 in [0,1]. Returns α and β, each K×N×1×1×1."""
        inputs = torch.cat((sigma, torch.full_like(sigma, scale)), dim=1)
        outputs = F.softplus(self.mlp(inputs)) + 1e-6
        alpha, beta = outputs.chunk(2, dim=1)
        return alpha.transpose(0, 1)[:, :, None], beta.transpose(0, 1)[:, :, None]


class HalfQuadraticSchedule(nn.Module):
    """The analytic schedule ``α_k = μ_k σ²``, ``β_k = √(λ / μ_k)`` with μ log-spaced over the iterations.

    ``weight`` = λ is the weight of the prior against ``‖y − A x‖² / (2σ²)``. σ is not taken below
    ``sigma_floor``: a picture stored in eight bits is never free of noise.
    """

    def __init__(
        self, n_iter: int, *, mu: tuple[float, float], weight: float, sigma_floor: float = 0.7 / 255
    ) -> None:
        super().__init__()
        self.n_iter, self.mu, self.weight, self.sigma_floor = n_iter, mu, weight, sigma_floor

    def forward(self, sigma: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """``sigma``: N×1×1×1 in [0,1]. Returns α and β, each K×N×1×1×1."""
        low, high = (math.log10(mu) for mu in self.mu)
        mu = torch.logspace(low, high, self.n_iter, dtype=sigma.dtype, device=sigma.device)
        mu = mu.reshape(-1, 1, 1, 1, 1).expand(-1, *sigma.shape)
        return mu * sigma.clamp_min(self.sigma_floor).square(), (self.weight / mu).sqrt()
