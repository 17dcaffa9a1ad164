"""Places to start from.

``identity``: the prior does nothing and the schedule is the classical one, so that the untrained network is
half-quadratic splitting, and learns to denoise from there. ``orthogonal``: as the published training starts.
"""

import torch
from torch import Tensor, nn

from usrnet.model import USRNet
from usrnet.model.hyper import HyPaNet
from usrnet.model.prior import ResBlock, ResUNet


def start_as_identity(model: USRNet, seed: int = 0) -> None:
    """Initialise all parameters, the same for the same ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in model.p.modules():
            if isinstance(module, ResUNet):
                _identity_prior(module)
        _classical_schedule(model.h)  # pyright: ignore[reportArgumentType]


def start_orthogonal(model: USRNet, seed: int = 0, *, gain: float = 0.2) -> None:
    """Every convolution a (semi-)orthogonal matrix times ``gain``, every bias zero; the same for one ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.orthogonal_(module.weight, gain=gain)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def _identity_prior(prior: ResUNet) -> None:
    """P(z, β) = z, with Kaiming weights wherever they do not disturb that."""
    for module in prior.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    for module in prior.modules():
        if isinstance(module, ResBlock):
            nn.init.zeros_(module.res[2].weight)  # pyright: ignore[reportArgumentType]
    nn.init.zeros_(prior.m_up1[0].weight)  # pyright: ignore[reportArgumentType]
    if prior.m_carry is not None:
        nn.init.zeros_(prior.m_carry.weight)
    with torch.no_grad():
        for colour in range(3):  # three channels of the head carry the picture to the tail
            prior.m_head.weight[colour] = 0
            prior.m_head.weight[colour, colour, 1, 1] = 1
        prior.m_tail.weight.zero_()
        for colour in range(3):
            prior.m_tail.weight[colour, colour, 1, 1] = 1


def _classical_schedule(hyper: HyPaNet, *, iterations: int = 600) -> None:
    """Fit H to α_k = μ_k max(σ, 0.7/255)², μ from 1 to 150, and β_k from 0.5 to 0.02, all log-spaced."""
    n_iter = hyper.n_iter
    for module in hyper.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]
    sigma = torch.linspace(0, 50 / 255, 64).square().mul(255 / 50).reshape(-1, 1, 1, 1)
    mu = torch.logspace(0, 2.1761, n_iter).reshape(-1, 1)
    beta = torch.logspace(-0.301, -1.699, n_iter).reshape(-1, 1)
    target = torch.cat((mu * sigma.reshape(-1).clamp_min(0.7 / 255).square(), beta.expand(-1, len(sigma)))).log()

    def predicted(scale: int) -> Tensor:
        return torch.cat(hyper(sigma, scale)).reshape(2 * n_iter, -1).log()

    optimiser = torch.optim.Adam(hyper.parameters(), lr=0.02)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    for _ in range(iterations):
        optimiser.zero_grad()
        loss = torch.stack([(predicted(scale) - target).square().mean() for scale in (1, 2, 3, 4)]).mean()
        loss.backward()
        optimiser.step()
        decay.step()
    optimiser.zero_grad()  # or the first step of the training would add to the last of these gradients
