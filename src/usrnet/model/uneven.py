"""The unfolding where the noise differs from place to place: ``sigma`` is a map.

α and β follow σ(p). With an α for every pixel of the observation, ``D = diag(α_k(σ(p)))``, the data step is

    z = argmin_z (y − A z)ᵀ D⁻¹ (y − A z) + ‖z − x‖² = x + Aᵀ (A Aᵀ + D)⁻¹ (y − A x),

whose inverse conjugate gradients find on the low-resolution grid. Where α changes slowly, closed forms for a few
levels of it, cut together, are close already: they precondition. The prior takes β as a map.
"""

import math

import torch
from torch import Tensor, nn

from usrnet.degradation import Degradation, fold, unfold
from usrnet.model.data_step import DataStep

STEP = 3.0  # how far apart two levels may be, as a ratio
MOST_LEVELS = 4
LEAST = 0.1 / 255
ITERATIONS = 40  # of the conjugate gradients, at most: wide kernels and little noise need more than others
TOLERANCE = 1e-2  # share of the first residual, in the norm of the preconditioner, at which they end


class UnevenDataStep:
    """The data step of an observation whose noise is a map; see ``DataStep``.

    ``sigma``: N×1×h×w on the grid of ``y``, in [0,1].
    """

    def __init__(self, y: Tensor, kernel: Tensor, scale: int, sigma: Tensor) -> None:
        self.step = DataStep(y, kernel, scale)
        self.scale, self.size = scale, y.shape[-2:]
        self.eigenvalues = self.step.eigenvalues / scale**2  # of A Aᵀ
        self.levels, self.weights = levels_of(sigma.clamp_min(LEAST))
        self.shares = torch.stack(self.weights).sqrt()
        self.restored = spread(sigma, kernel, scale)

    def schedule(self, hyper: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """For every iteration α on the grid of the observation and β on that of the result."""
        alphas, _ = _at(hyper, self.levels, self.restored, self.scale)
        levels, weights = levels_of(self.restored)
        _, betas = _at(hyper, levels, self.restored, self.scale)
        return alphas, [(torch.stack(weights) * beta).sum(dim=0) for beta in betas]

    def __call__(self, x: Tensor, alpha: Tensor) -> Tensor:
        """``x``: N×C×sh×sw, ``alpha``: L×N×1×1×1, of the levels. Returns ``z``, N×C×sh×sw."""
        step = self.step
        if len(self.levels) == 1:
            return step(x, alpha[0])
        predicted = fold(torch.fft.rfft2(x) * step.otf, step.width, self.scale)
        missing = torch.fft.irfft2((step.y_spectrum - predicted) / self.scale**2, s=self.size)
        found = unfold(torch.fft.rfft2(self._solve(missing, alpha)), step.width, self.scale)
        correction = step.otf.conj().unflatten(-2, (self.scale, -1)) * found
        return x + torch.fft.irfft2(correction.flatten(-3, -2), s=(step.height, step.width))

    def _solve(self, right: Tensor, alpha: Tensor) -> Tensor:
        """``u`` with ``(A Aᵀ + D) u = right``."""
        tiny = torch.finfo(right.dtype).tiny  # what is solved already stays as it is
        diagonal = (torch.stack(self.weights) * alpha.log()).sum(dim=0).exp()
        inverses = 1 / (self.eigenvalues + alpha)

        def nearly_solved(values: Tensor) -> Tensor:
            return (self.shares * self._filtered(self.shares * values, inverses)).sum(dim=0)

        # From nothing, so that z is never further from the least sum than x is.
        u, rest = torch.zeros_like(right), right
        ahead = direction = nearly_solved(rest)
        first = size = _dot(rest, ahead)
        for _ in range(ITERATIONS):
            if bool((size <= TOLERANCE**2 * first).all()):
                break
            turned = self._filtered(direction, self.eigenvalues) + diagonal * direction
            length = size / _dot(direction, turned).clamp_min(tiny)
            u, rest = u + length * direction, rest - length * turned
            ahead = nearly_solved(rest)
            size, before = _dot(rest, ahead), size
            direction = ahead + size / before.clamp_min(tiny) * direction
        return u

    def _filtered(self, values: Tensor, response: Tensor) -> Tensor:
        return torch.fft.irfft2(response * torch.fft.rfft2(values), s=self.size)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Of every channel of every picture, which are problems of their own."""
    return (first * second).sum(dim=(-2, -1), keepdim=True)


def _at(hyper: nn.Module, levels: list[float], like: Tensor, scale: int) -> tuple[list[Tensor], list[Tensor]]:
    """For every iteration the α, and the β, of the levels, each L×N×1×1×1."""
    made = [hyper(like.new_full((len(like), 1, 1, 1), level), scale) for level in levels]
    alphas, betas = ([torch.stack(level) for level in zip(*part, strict=True)] for part in zip(*made, strict=True))
    return alphas, betas


def spread(sigma: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """The noise that reaches a pixel of the result, N×1×sh×sw: the mean variance where the kernel looks."""
    sigma = sigma.clamp_min(LEAST)
    size = scale * sigma.shape[-2], scale * sigma.shape[-1]
    blur = Degradation(kernel.to(sigma.dtype).abs().mean(dim=1, keepdim=True), scale, *size)
    variance = blur.adjoint(sigma.square()) / blur.adjoint(torch.ones_like(sigma)).clamp_min(1e-3 / scale**2)
    return variance.clamp(sigma.min().square(), sigma.max().square()).sqrt()


def levels_of(sigma: Tensor) -> tuple[list[float], list[Tensor]]:
    """A few levels that cover ``sigma``, and for each the weight that every pixel gives it; they sum to one.

    H is evaluated at these only; in between its answers are interpolated.
    """
    low, high = float(sigma.min()), float(sigma.max())
    count = min(MOST_LEVELS, 1 + math.ceil(math.log(high / low) / math.log(STEP) - 1e-6))
    if count == 1:
        return [high], [torch.ones_like(sigma)]
    levels = [low * (high / low) ** (i / (count - 1)) for i in range(count)]
    place = (sigma / low).log() * ((count - 1) / math.log(high / low))
    return levels, [(1 - (place - i).abs()).clamp_min(0) for i in range(count)]
