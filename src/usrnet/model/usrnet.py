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

    Parameters
    ----------
    prior : torch.nn.Module
        Called with N×C×H×W and β, N×1×1×1, returns N×C×H×W. One that carries features from iteration to iteration has
        a method ``remember`` that also takes and returns them. A ``torch.nn.ModuleList`` has one for every iteration.
    hyper : torch.nn.Module
        Called with σ, N×1×1×1, and s; returns α and β, each K×N×1×1×1.

    Examples
    --------
    >>> import torch
    >>> import usrnet
    >>> from usrnet.model import HalfQuadraticSchedule, TotalVariation
    >>> model = usrnet.Unfolding(TotalVariation(), HalfQuadraticSchedule(8, mu=(0.1, 1000.0), weight=5.0))
    >>> model(torch.rand(1, 3, 8, 8), torch.ones(1, 1, 1, 1), 2, 0.01).shape
    torch.Size([1, 3, 16, 16])
    """

    def __init__(self, prior: nn.Module, hyper: nn.Module) -> None:
        super().__init__()
        self.p = prior  # named as in the published weight files
        self.h = hyper

    def priors(self, n_iter: int) -> list[nn.Module]:
        """The prior of each of ``n_iter`` iterations: the same one, or one after the other of a list.

        Parameters
        ----------
        n_iter : int
            How many iterations there are.

        Returns
        -------
        list of torch.nn.Module
            ``n_iter`` of them.

        Raises
        ------
        UsrnetError
            The list has fewer or more.

        Examples
        --------
        >>> import usrnet
        >>> first, second = usrnet.load("tv").priors(2)
        >>> first is second
        True
        """
        if not isinstance(self.p, nn.ModuleList):
            return [self.p] * n_iter
        if len(self.p) != n_iter:
            raise UsrnetError(f"{len(self.p)} priors cannot serve {n_iter} iterations: give one for each, or one")
        return list(self.p)

    def forward(self, y: Tensor, kernel: Tensor, scale: int, sigma: Tensor | Sequence[float] | float) -> Tensor:
        """Restore a batch of images, which wrap around.

        Parameters
        ----------
        y : Tensor, N×3×h×w
            Low-resolution images in [0,1].
        kernel : Tensor, N×1×kh×kw, N×3×kh×kw, N×kh×kw or kh×kw
            Kernels that sum to one, on the grid of the result; N = 1 serves the batch.
        scale : int
            The scale factor s.
        sigma : Tensor, N×1×1×1 or N×1×h×w, sequence of N floats, or float
            Standard deviation of the noise in [0,1]; a map where it differs from pixel to pixel.

        Returns
        -------
        Tensor, N×3×sh×sw
            Not clipped.

        Raises
        ------
        UsrnetError
            The kernel is larger than the enlarged image, or shapes do not fit.

        Examples
        --------
        >>> import torch
        >>> import usrnet
        >>> model = usrnet.load("tv")
        >>> model(torch.rand(2, 3, 8, 8), torch.full((3, 3), 1 / 9), 3, [0.01, 0.02]).shape
        torch.Size([2, 3, 24, 24])
        """
        x = y
        for _, restored in self.iterate(y, kernel, scale, sigma):
            x = restored  # those of earlier iterations are not kept
        return x

    def iterate(
        self, y: Tensor, kernel: Tensor, scale: int, sigma: Tensor | Sequence[float] | float
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """What happens inside: data step and prior step, one after the other.

        Parameters
        ----------
        y : Tensor, N×3×h×w
            As for :meth:`forward`.
        kernel : Tensor, N×1×kh×kw, N×3×kh×kw, N×kh×kw or kh×kw
            As for :meth:`forward`.
        scale : int
            The scale factor s.
        sigma : Tensor, N×1×1×1 or N×1×h×w, sequence of N floats, or float
            As for :meth:`forward`.

        Yields
        ------
        tuple of Tensor
            ``(z_k, x_k)`` for k = 1..K, each N×3×sh×sw.

        Raises
        ------
        UsrnetError
            As :meth:`forward`.

        Examples
        --------
        >>> import torch
        >>> import usrnet
        >>> model = usrnet.load("default")
        >>> y = torch.rand(1, 3, 8, 8)
        >>> with torch.inference_mode():
        ...     steps = list(model.iterate(y, torch.ones(1, 1, 1, 1), 2, 0.01))
        >>> len(steps), steps[-1][1].shape
        (6, torch.Size([1, 3, 16, 16]))
        """
        kernel, sigma = _batched(y, kernel, sigma)
        check_shapes(y, kernel, scale, sigma)
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
        carried = None
        for prior, alpha, beta in zip(self.priors(len(alphas)), alphas, betas, strict=True):
            z = step(x, alpha)
            remember = getattr(prior, "remember", None)
            x, carried = remember(z, beta, carried) if remember else (prior(z, beta), None)
            x = x.to(y.dtype)
            yield z, x


@dataclass(frozen=True)
class Config:
    """The sizes of a USRNet.

    Attributes
    ----------
    n_iter : int
        Iterations K.
    channels : tuple of int
        Widths of the prior on its four resolutions.
    blocks : int
        Residual blocks on each.
    hidden : int
        Units of the hyper-parameter module H.
    carry : bool
        Whether features go from one iteration to the next, which the published network does not have.
    shared : bool
        Whether all iterations have the same prior, as in the published network, or each its own.

    Examples
    --------
    >>> import usrnet
    >>> from usrnet.model import Config
    >>> small = usrnet.USRNet(Config(n_iter=4, channels=(8, 8, 16, 16), blocks=1, hidden=16))
    >>> sum(weights.numel() for weights in small.parameters())
    22976
    """

    n_iter: int
    channels: tuple[int, int, int, int]
    blocks: int
    hidden: int
    carry: bool = False
    shared: bool = True


FULL = Config(n_iter=8, channels=(64, 128, 256, 512), blocks=2, hidden=64)
TINY = Config(n_iter=6, channels=(16, 32, 64, 64), blocks=2, hidden=32)

CONFIGS = {"usrnet": FULL, "usrgan": FULL, "usrnet-tiny": TINY, "usrgan-tiny": TINY}


class USRNet(Unfolding, Pretrained):
    """The network: ``Unfolding`` with a ``ResUNet`` and a ``HyPaNet``, with random weights.

    :func:`usrnet.load` gives one with learned weights.

    Parameters
    ----------
    config : Config
        The sizes; those of the tiny model by default.

    Examples
    --------
    >>> import usrnet
    >>> sum(weights.numel() for weights in usrnet.USRNet().parameters())
    590332
    """

    def __init__(self, config: Config = TINY) -> None:
        super().__init__(_prior(config), HyPaNet(config.n_iter, config.hidden))
        self.config = config


def _prior(config: Config) -> nn.Module:
    """The prior of all iterations, or a list with one for each."""
    if config.shared:
        return ResUNet(config.channels, config.blocks, takes=config.carry, gives=config.carry)
    last = config.n_iter - 1
    return nn.ModuleList(
        ResUNet(config.channels, config.blocks, takes=config.carry and k > 0, gives=config.carry and k < last)
        for k in range(config.n_iter)
    )


def total_variation(n_iter: int = 24) -> Unfolding:
    """The model-based baseline ``tv``: total variation with the analytic schedule, no weights.

    Parameters
    ----------
    n_iter : int
        Iterations K.

    Returns
    -------
    Unfolding
        As ``usrnet.load("tv")``.

    Examples
    --------
    >>> from usrnet.model import total_variation
    >>> len(list(total_variation(12).parameters()))
    0
    """
    return Unfolding(TotalVariation(), HalfQuadraticSchedule(n_iter, mu=(0.1, 1000.0), weight=5.0))


def _batched(y: Tensor, kernel: Tensor, sigma: Tensor | Sequence[float] | float) -> tuple[Tensor, Tensor]:
    """Kernel and σ with all their dimensions."""
    if kernel.dim() in (2, 3):
        kernel = kernel.reshape(-1, 1, *kernel.shape[-2:])
    sigma = torch.as_tensor(sigma, dtype=y.dtype, device=y.device)
    return kernel, sigma.reshape(-1, 1, 1, 1) if sigma.dim() < 2 else sigma


def check_shapes(y: Tensor | np.ndarray, kernel: Tensor | np.ndarray, scale: int, sigma: Tensor | np.ndarray) -> None:
    """``UsrnetError`` where shapes do not fit each other; whether the kernel is too large, ``otf`` says."""
    if y.ndim != 4 or min(y.shape) < 1:
        raise UsrnetError(f"the pictures must be a tensor N×3×h×w, not {tuple(y.shape)}")
    if kernel.ndim != 4 or kernel.shape[0] not in (1, y.shape[0]) or kernel.shape[1] not in (1, y.shape[1]):
        raise UsrnetError(
            f"the kernels must be a tensor N×1×kh×kw or N×{y.shape[1]}×kh×kw with N = {y.shape[0]}, "
            f"not {tuple(kernel.shape)}"
        )
    places = ((1, 1, 1), (1, *y.shape[-2:]))
    if sigma.ndim != 4 or sigma.shape[0] not in (1, y.shape[0]) or sigma.shape[1:] not in places:
        raise UsrnetError(f"sigma must be a tensor N×1×1×1 or N×1×h×w, not {tuple(sigma.shape)}")
    if not isinstance(scale, int | np.integer) or scale < 1:
        raise UsrnetError(f"the scale must be a whole number from 1, not {scale!r}")
