"""USRNet for deepinv (https://deepinv.github.io): a reconstructor for blur and decimation, its prior as a denoiser.

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
from usrnet.model import Unfolding, USRNet
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
    """The prior ``P(z, β)`` as a denoiser for plug-and-play methods, β being the noise level.

    It was trained inside the iterations, where what it removes is not white noise: as a denoiser alone it is weaker
    than one that was trained to be one.
    """

    def __init__(self, model: USRNet | str = "default") -> None:
        super().__init__()
        network = load(model) if isinstance(model, str) else model
        if not isinstance(network, USRNet):
            raise UsrnetError("only a USRNet has a learned prior")
        self.prior = network.p

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        """``x``: N×C×H×W in [0,1]; ``sigma``: a number or N numbers, in [0,1]. Returns N×C×H×W."""
        beta = noise_levels(sigma, x).expand(x.shape[0], 1, 1, 1)
        if x.shape[1] == 3:
            return self.prior(x, beta)
        grey = x.flatten(0, 1)[:, None].expand(-1, 3, -1, -1)
        restored = self.prior(grey, beta.expand(-1, x.shape[1], 1, 1).flatten(0, 1)[:, None])
        return restored.mean(dim=1).unflatten(0, x.shape[:2])


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
