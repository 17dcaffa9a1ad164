"""USRNet for deepinv (https://deepinv.github.io): a reconstructor for blur and decimation, and a denoiser.

deepinv's ``Downsampling``, ``Blur`` and ``BlurFFT`` are ``y = (x ⊗ k)↓s + n`` with the same convolution, the same
centre of kernels of odd and even size and the same pixel kept of every patch as here
(``tests/interop/test_deepinv.py``).
"""

from typing import Any

import torch
from deepinv.models import Denoiser, Reconstructor
from deepinv.physics import Blur, BlurFFT, Downsampling
from torch import Tensor, nn

from usrnet.errors import UsrnetError
from usrnet.interop.tensors import apply, noise_levels
from usrnet.model import Unfolding
from usrnet.weights import load


class USRNetReconstructor(Reconstructor):
    """``x = model(y, physics)`` for ``Downsampling``, ``Blur`` and ``BlurFFT`` with Gaussian noise.

    ``model``: a model, or a name or file for ``usrnet.load``. ``sigma``: the noise's standard deviation, for pictures
    in [0,1]; if it is None that of ``physics.noise_model`` is taken. Pictures have any number of channels.
    """

    def __init__(self, model: Unfolding | str = "default", *, sigma: float | Tensor | None = None) -> None:
        super().__init__()
        self.network = load(model) if isinstance(model, str) else model
        self.sigma = sigma

    def forward(self, y: Tensor, physics: nn.Module, **kwargs: Any) -> Tensor:
        """``y``: N×C×h×w. Returns N×C×H×W, the size of the pictures that ``physics`` takes.

        Raises ``UsrnetError`` for another physics, or when the noise level is known neither here nor there.
        """
        kernel, scale, padding = _operator(y, physics)
        s = noise_levels(self._sigma(physics), y)
        x = apply(self.network, y, kernel, scale, s, wraps=padding == "circular")
        size = [scale * length for length in y.shape[-2:]]
        if padding == "valid":
            # Pixel 0 of y is the pixel of x on which the kernel lies, all of it inside the picture.
            first = [taps - 1 - taps // 2 for taps in kernel.shape[-2:]]
            x = x.roll(first, dims=(-2, -1))
            size = [length + taps - 1 for length, taps in zip(y.shape[-2:], kernel.shape[-2:], strict=True)]
        if isinstance(physics, Downsampling) and physics.imsize is not None:
            size = physics.imsize[-2:]
        return x[..., : size[0], : size[1]]

    def _sigma(self, physics: nn.Module) -> float | Tensor:
        found = (
            self.sigma if self.sigma is not None else getattr(getattr(physics, "noise_model", None), "sigma", None)
        )
        if found is None:
            raise UsrnetError("the noise level is not known: give sigma=, or the physics a GaussianNoise")
        return found


class USRNetDenoiser(Denoiser):
    """A denoiser for plug-and-play methods: all iterations, with no blur and no decimation.

    The prior ``P(z, β)`` alone is none: what it meets in the iterations is not white noise, and told β = σ it removes
    little of it (docs/interop.md). ``model``: a model, or a name or file for ``usrnet.load``.
    """

    def __init__(self, model: Unfolding | str = "default") -> None:
        super().__init__()
        self.network = load(model) if isinstance(model, str) else model

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        """``x``: N×C×H×W in [0,1]; ``sigma``: a number or N numbers, in [0,1]. Returns N×C×H×W."""
        no_blur = torch.ones(1, 1, 1, 1, dtype=x.dtype, device=x.device)
        return apply(self.network, x, no_blur, 1, noise_levels(sigma, x), wraps=True)


def _operator(y: Tensor, physics: nn.Module) -> tuple[Tensor, int, str]:
    """Kernel, scale and padding of a physics."""
    if isinstance(physics, Downsampling):
        taps = torch.ones(1, 1, 1, 1) if physics.filter is None else physics.filter
        return taps.to(y), physics.factor, physics.padding if physics.filter is not None else "circular"
    if isinstance(physics, Blur | BlurFFT):
        if physics.filter is None:
            raise UsrnetError("the physics has no filter yet: give it one")
        return physics.filter.to(y), 1, "circular" if isinstance(physics, BlurFFT) else physics.padding
    raise UsrnetError(f"USRNet solves Downsampling, Blur and BlurFFT, not {type(physics).__name__}")
