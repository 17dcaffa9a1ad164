"""The hyper-parameters ``(α_1..α_K, β_1..β_K) = H(σ, s)`` of the unfolded iterations."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class HyPaNet(nn.Module):
    """The hyper-parameter module: a perceptron of three layers, softplus + 1e-6.

    Parameters
    ----------
    n_iter : int
        Iterations K.
    hidden : int
        Units of the two hidden layers.

    References
    ----------
    Zhang, Van Gool, Timofte, arXiv 2003.10428, section 4.3.

    Examples
    --------
    >>> import torch
    >>> from usrnet.model import HyPaNet
    >>> alpha, beta = HyPaNet(8, 64)(torch.full((2, 1, 1, 1), 0.01), 4)
    >>> alpha.shape
    torch.Size([8, 2, 1, 1, 1])
    """

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
        """The α and β of every iteration.

        Parameters
        ----------
        sigma : Tensor, N×1×1×1
            Standard deviation of the noise in [0,1].
        scale : int
            The scale factor s.

        Returns
        -------
        tuple of Tensor
            Of α and of β, each K×N×1×1×1, positive.

        Examples
        --------
        >>> import torch
        >>> from usrnet.model import HyPaNet
        >>> alpha, beta = HyPaNet(6, 32)(torch.zeros(1, 1, 1, 1), 2)
        >>> bool((alpha > 0).all() and (beta > 0).all())
        True
        """
        inputs = torch.cat((sigma, torch.full_like(sigma, scale)), dim=1)
        outputs = F.softplus(self.mlp(inputs)) + 1e-6
        alpha, beta = outputs.chunk(2, dim=1)
        return alpha.transpose(0, 1)[:, :, None], beta.transpose(0, 1)[:, :, None]


class HalfQuadraticSchedule(nn.Module):
    """The analytic schedule ``α_k = μ_k σ²``, ``β_k = √(λ / μ_k)`` with μ log-spaced over the iterations.

    Parameters
    ----------
    n_iter : int
        Iterations K.
    mu : tuple of float
        The first and the last μ.
    weight : float
        The weight λ of the prior against ``‖y − A x‖² / (2σ²)``.
    sigma_floor : float
        The least σ, in [0,1]: an image stored in eight bits is never free of noise.

    Examples
    --------
    >>> import torch
    >>> from usrnet.model import HalfQuadraticSchedule
    >>> alpha, beta = HalfQuadraticSchedule(3, mu=(1.0, 100.0), weight=1.0)(torch.full((1, 1, 1, 1), 0.1), 2)
    >>> [round(float(value), 3) for value in beta.flatten()]
    [1.0, 0.316, 0.1]
    """

    def __init__(
        self, n_iter: int, *, mu: tuple[float, float], weight: float, sigma_floor: float = 0.7 / 255
    ) -> None:
        super().__init__()
        self.n_iter, self.mu, self.weight, self.sigma_floor = n_iter, mu, weight, sigma_floor

    def forward(self, sigma: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """The α and β of every iteration.

        Parameters
        ----------
        sigma : Tensor, N×1×1×1
            Standard deviation of the noise in [0,1].
        scale : int
            The scale factor s, which makes no difference here.

        Returns
        -------
        tuple of Tensor
            Of α and of β, each K×N×1×1×1, positive.

        Examples
        --------
        >>> import torch
        >>> from usrnet.model import HalfQuadraticSchedule
        >>> alpha, _ = HalfQuadraticSchedule(4, mu=(1.0, 10.0), weight=1.0)(torch.full((1, 1, 1, 1), 0.1), 1)
        >>> bool((alpha[1:] > alpha[:-1]).all())
        True
        """
        low, high = (math.log10(mu) for mu in self.mu)
        mu = torch.logspace(low, high, self.n_iter, dtype=sigma.dtype, device=sigma.device)
        mu = mu.reshape(-1, 1, 1, 1, 1).expand(-1, *sigma.shape)
        return mu * sigma.clamp_min(self.sigma_floor).square(), (self.weight / mu).sqrt()
