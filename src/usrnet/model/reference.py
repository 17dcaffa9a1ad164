"""The paper's algorithm as it is written (arXiv 2003.10428, eq. 6 to 9): slow, and of few digits when α is small.

What the speed is measured against, and what the tests compare with.
"""

import torch
from torch import Tensor

from usrnet.model.prior import ResUNet
from usrnet.model.usrnet import USRNet


class PublishedDataStep:
    """``z = F⁻¹((d − F(k)* ⊙ ((F(k) d)⇓s / (|F(k)|²⇓s + α))) / α)``, eq. 7; arguments as those of ``DataStep``."""

    def __init__(self, y: Tensor, kernel: Tensor, scale: int) -> None:
        self.scale = scale
        height, width = (scale * length for length in y.shape[-2:])
        padded = kernel.new_zeros(*kernel.shape[:2], height, width)
        padded[..., : kernel.shape[-2], : kernel.shape[-1]] = kernel
        padded = padded.roll((-(kernel.shape[-2] // 2), -(kernel.shape[-1] // 2)), dims=(-2, -1))
        self.otf = torch.fft.fft2(padded)
        self.power = self.otf.abs().square()
        filled = y.new_zeros(*y.shape[:2], height, width)
        filled[..., ::scale, ::scale] = y
        self.back = self.otf.conj() * torch.fft.fft2(filled)

    def __call__(self, x: Tensor, alpha: Tensor) -> Tensor:
        d = self.back + torch.fft.fft2(alpha * x)
        inverse = self._blocks_mean(self.otf * d) / (self._blocks_mean(self.power.to(d.dtype)) + alpha)
        return torch.fft.ifft2((d - self.otf.conj() * inverse.repeat(1, 1, self.scale, self.scale)) / alpha).real

    def _blocks_mean(self, a: Tensor) -> Tensor:
        """The mean over the s×s distinct blocks, ⇓s of the paper."""
        return torch.stack([c for r in a.chunk(self.scale, -2) for c in r.chunk(self.scale, -1)]).mean(0)


def published_form(model: USRNet, y: Tensor, kernel: Tensor, scale: int, sigma: Tensor) -> Tensor:
    """The paper's algorithm as it is written: the same result up to rounding, none of this package's shortcuts."""
    step = PublishedDataStep(y, kernel, scale)
    alphas, betas = model.h(sigma, scale)
    x = torch.nn.functional.interpolate(y, scale_factor=scale, mode="nearest")
    carried = None
    for prior, alpha, beta in zip(model.priors(len(alphas)), alphas, betas, strict=True):
        assert isinstance(prior, ResUNet)
        x, carried = prior.remember(step(x, alpha), beta, carried)
    return x
