"""The unfolding where the noise differs from place to place: ``sigma`` is a map.

α and β follow σ(p). With an α for every pixel the data step would have no closed form; but it depends on what lies
within the reach of the kernel only, so it is computed for a few levels of σ and interpolated between the two next to
σ(p), in the logarithm. The prior takes β as a map.
"""

import math

import torch
from torch import Tensor, nn

from usrnet.degradation import Degradation
from usrnet.model.data_step import DataStep

STEP = 3.0  # how far apart two levels may be, as a ratio
MOST_LEVELS = 4
LEAST = 0.1 / 255


class UnevenDataStep:
    """The data step of an observation whose noise is a map; see ``DataStep``.

    ``sigma``: N×1×h×w on the grid of ``y``, in [0,1].
    """

    def __init__(self, y: Tensor, kernel: Tensor, scale: int, sigma: Tensor) -> None:
        self.step = DataStep(y, kernel, scale)
        self.scale = scale
        self.levels, self.weights = levels_of(spread(sigma, kernel, scale))

    def schedule(self, hyper: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """For every iteration the α of the levels, L×N×1×1×1, and β as a map."""
        sizes = [weight.new_full((len(weight), 1, 1, 1), level) for level, weight in self._pairs()]
        alphas, betas = zip(*(hyper(size, self.scale) for size in sizes), strict=True)
        per_iteration = [torch.stack(alpha) for alpha in zip(*alphas, strict=True)]
        return per_iteration, [self._mixed(list(beta)) for beta in zip(*betas, strict=True)]

    def __call__(self, x: Tensor, alpha: Tensor) -> Tensor:
        """``x``: N×C×sh×sw, ``alpha``: L×N×1×1×1. Returns ``z``, N×C×sh×sw."""
        return self._mixed([self.step(x, level) for level in alpha])

    def _pairs(self) -> list[tuple[float, Tensor]]:
        return list(zip(self.levels, self.weights, strict=True))

    def _mixed(self, parts: list[Tensor]) -> Tensor:
        mixed = self.weights[0] * parts[0]
        for weight, part in zip(self.weights[1:], parts[1:], strict=True):
            mixed = mixed + weight * part
        return mixed


def spread(sigma: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """The noise that reaches a pixel of the result, N×1×sh×sw: the mean variance where the kernel looks."""
    sigma = sigma.clamp_min(LEAST)
    size = scale * sigma.shape[-2], scale * sigma.shape[-1]
    blur = Degradation(kernel.abs().mean(dim=1, keepdim=True), scale, *size)
    variance = blur.adjoint(sigma.square()) / blur.adjoint(torch.ones_like(sigma)).clamp_min(1e-3 / scale**2)
    return variance.clamp(sigma.min().square(), sigma.max().square()).sqrt()


def levels_of(sigma: Tensor) -> tuple[list[float], list[Tensor]]:
    """A few levels that cover ``sigma``, and for each the weight that every pixel gives it; they sum to one."""
    low, high = float(sigma.min()), float(sigma.max())
    count = min(MOST_LEVELS, 1 + math.ceil(math.log(high / low) / math.log(STEP) - 1e-6))
    if count == 1:
        return [high], [torch.ones_like(sigma)]
    levels = [low * (high / low) ** (i / (count - 1)) for i in range(count)]
    place = (sigma / low).log() * ((count - 1) / math.log(high / low))
    return levels, [(1 - (place - i).abs()).clamp_min(0) for i in range(count)]
