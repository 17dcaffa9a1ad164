"""USRNet: half-quadratic splitting, unfolded (Zhang, Van Gool, Timofte, arXiv 2003.10428).

For k = 1..K:  z_k = data step of x_{k−1} with α_k;  x_k = P(z_k, β_k);  (α, β) = H(σ, s).
x_0 is the nearest-neighbour enlargement of y, x_K the answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from usrnet.errors import UsrnetError
from usrnet.model.data_step import DataStep
from usrnet.model.hyper import HalfQuadraticSchedule, HyPaNet
from usrnet.model.prior import ResUNet, TotalVariation
from usrnet.model.uneven import UnevenDataStep
from usrnet.weights.pretrained import Pretrained


class Unfolding(nn.Module):
    """The unfolded iterations with any prior ``P(z, β)`` and any schedule ``H(σ, s)``.

    ``prior``: called with N×C×H×W and N×1×1×1, returns N×C×H×W. One that carries features from iteration to
    iteration has a method ``remember`` that also takes and returns them.
    ``hyper``: called with σ (N×1×1×1) and s, returns α and β, each K×N×1×1×1.
    """

    def __init__(self, prior: nn.Module, hyper: nn.Module) -> None:
        super().__init__()
        self.p = prior  # named as in the published weight files
        self.h = hyper

    def forward(self, y: Tensor, kernel: Tensor, scale: int, sigma: Tensor | Sequence[float] | float) -> Tensor:
        """Restore a batch of pictures.

        ``y``: N×3×h×w in [0,1]; ``kernel``: N×1×kh×kw or N×3×kh×kw (N = 1 serves the batch), also N×kh×kw or
        kh×kw; ``sigma``: the noise's standard deviation in [0,1], N×1×1×1, N numbers or one, or N×1×h×w where it
        differs from pixel to pixel. Returns N×3×sh×sw, not clipped. Raises ``UsrnetError`` when the kernel is larger
        than the enlarged picture.
        """
        x = y
        for _, restored in self.iterate(y, kernel, scale, sigma):
            x = restored  # those of earlier iterations are not kept
        return x

    def iterate(
        self, y: Tensor, kernel: Tensor, scale: int, sigma: Tensor | Sequence[float] | float
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ``(z_k, x_k)`` for k = 1..K; arguments as for ``forward``."""
        kernel, sigma = _batched(y, kernel, sigma)
        _check_shapes(y, kernel, scale, sigma)
        # α spans six decades and the data step divides by it: never in reduced precision.
        with torch.autocast(y.device.type, enabled=False):
            step: DataStep | UnevenDataStep
            if sigma.shape[-2:] == (1, 1):
                alphas, betas = self.h(sigma.expand(y.shape[0], -1, -1, -1), scale)
                step = DataStep(y, kernel, scale)
            else:
                step = UnevenDataStep(y, kernel, scale, sigma.expand(y.shape[0], -1, -1, -1))
                alphas, betas = step.schedule(self.h)
        x = y.repeat_interleave(scale, dim=-2).repeat_interleave(scale, dim=-1)
        remember = getattr(self.p, "remember", None)
        carried = None
        for alpha, beta in zip(alphas, betas, strict=True):
            z = step(x, alpha)
            if remember is None:
                x = self.p(z, beta).to(y.dtype)
            else:
                x, carried = remember(z, beta, carried)
                x = x.to(y.dtype)
            yield z, x


@dataclass(frozen=True)
class Config:
    """The sizes of a USRNet: iterations K, widths of the prior, residual blocks per level, hidden units of H.

    ``carry``: whether features go from one iteration to the next, which the published network does not have.
    """

    n_iter: int
    channels: tuple[int, int, int, int]
    blocks: int
    hidden: int
    carry: bool = False


FULL = Config(n_iter=8, channels=(64, 128, 256, 512), blocks=2, hidden=64)
TINY = Config(n_iter=6, channels=(16, 32, 64, 64), blocks=2, hidden=32)

CONFIGS = {"usrnet": FULL, "usrgan": FULL, "usrnet-tiny": TINY, "usrgan-tiny": TINY}


class USRNet(Unfolding, Pretrained):
    """The network: ``Unfolding`` with a ``ResUNet`` and a ``HyPaNet`` of the sizes in ``config``."""

    def __init__(self, config: Config = TINY) -> None:
        prior = ResUNet(config.channels, config.blocks, carry=config.carry)
        super().__init__(prior, HyPaNet(config.n_iter, config.hidden))
        self.config = config


def total_variation(n_iter: int = 24) -> Unfolding:
    """The model-based baseline ``tv``: total variation with the analytic schedule, no weights."""
    return Unfolding(TotalVariation(), HalfQuadraticSchedule(n_iter, mu=(0.1, 1000.0), weight=5.0))


def _batched(y: Tensor, kernel: Tensor, sigma: Tensor | Sequence[float] | float) -> tuple[Tensor, Tensor]:
    """Kernel and σ with all their dimensions."""
    if kernel.dim() in (2, 3):
        kernel = kernel.reshape(-1, 1, *kernel.shape[-2:])
    sigma = torch.as_tensor(sigma, dtype=y.dtype, device=y.device)
    return kernel, sigma.reshape(-1, 1, 1, 1) if sigma.dim() < 2 else sigma


def _check_shapes(y: Tensor, kernel: Tensor, scale: int, sigma: Tensor) -> None:
    if y.dim() != 4 or min(y.shape) < 1:
        raise UsrnetError(f"the pictures must be a tensor N×3×h×w, not {tuple(y.shape)}")
    if kernel.dim() != 4 or kernel.shape[0] not in (1, y.shape[0]) or kernel.shape[1] not in (1, y.shape[1]):
        raise UsrnetError(
            f"the kernels must be a tensor N×1×kh×kw or N×{y.shape[1]}×kh×kw with N = {y.shape[0]}, "
            f"not {tuple(kernel.shape)}"
        )
    places = ((1, 1, 1), (1, *y.shape[-2:]))
    if sigma.dim() != 4 or sigma.shape[0] not in (1, y.shape[0]) or sigma.shape[1:] not in places:
        raise UsrnetError(f"sigma must be a tensor N×1×1×1 or N×1×h×w, not {tuple(sigma.shape)}")
    if not isinstance(scale, int | np.integer) or scale < 1:
        raise UsrnetError(f"the scale must be a whole number from 1, not {scale!r}")
