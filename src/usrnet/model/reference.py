"""The paper's algorithm as it is written (arXiv 2003.10428, eq. 6 to 9): slow, and of few digits when α is small.

What the speed is measured against, and what the tests compare with.
"""

import torch
from torch import Tensor

from usrnet.model.prior import ResUNet
from usrnet.model.usrnet import USRNet


def published_form(model: USRNet, y: Tensor, kernel: Tensor, scale: int, sigma: Tensor) -> Tensor:
    """The paper's algorithm as it is written: the same result up to rounding, none of this package's shortcuts."""
    height, width = (scale * length for length in y.shape[-2:])

    def blocks_mean(a: Tensor) -> Tensor:
        """The mean over the s×s distinct blocks, ⇓s of the paper."""
        return torch.stack([c for r in a.chunk(scale, -2) for c in r.chunk(scale, -1)]).mean(0)

    padded = kernel.new_zeros(*kernel.shape[:2], height, width)
    padded[..., : kernel.shape[-2], : kernel.shape[-1]] = kernel
    padded = padded.roll((-(kernel.shape[-2] // 2), -(kernel.shape[-1] // 2)), dims=(-2, -1))
    otf = torch.fft.fft2(padded)
    power = otf.abs().square()
    filled = y.new_zeros(*y.shape[:2], height, width)
    filled[..., ::scale, ::scale] = y
    back = otf.conj() * torch.fft.fft2(filled)
    alphas, betas = model.h(sigma, scale)
    x = torch.nn.functional.interpolate(y, scale_factor=scale, mode="nearest")
    assert isinstance(model.p, ResUNet)
    carried = None
    for alpha, beta in zip(alphas, betas, strict=True):
        d = back + torch.fft.fft2(alpha * x)
        inverse = blocks_mean(otf * d) / (blocks_mean(power.to(d.dtype)) + alpha)
        z = torch.fft.ifft2((d - otf.conj() * inverse.repeat(1, 1, scale, scale)) / alpha).real
        x, carried = model.p.remember(z, beta, carried)
    return x
