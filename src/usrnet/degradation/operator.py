"""The degradation model ``y = (x ⊗ k)↓s + n``.

``⊗`` is circular (true) convolution, ``↓s`` keeps the upper-left pixel of every s×s patch, ``n`` is white
Gaussian noise (Zhang et al., arXiv 2003.10428, eq. 1). s = 1 is blur alone. Everything is linear in ``x``,
batched, differentiable and works on any device and in float32 and float64.
"""

import numbers
import operator
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from usrnet.errors import UsrnetError

SCALES = (1, 2, 3, 4)


def otf(kernel: Tensor, height: int, width: int) -> Tensor:
    """Optical transfer function: the real FFT of the kernel, centred on the origin of a height×width grid.

    Parameters
    ----------
    kernel : Tensor, …×kh×kw
        Centred at ``(kh // 2, kw // 2)``.
    height, width : int
        Of the grid, in pixels.

    Returns
    -------
    Tensor, …×height×(width // 2 + 1)
        Complex; half a spectrum, because the kernel is real.

    Raises
    ------
    UsrnetError
        The kernel does not fit on the grid.

    Examples
    --------
    >>> import torch
    >>> from usrnet.degradation import otf
    >>> bool(torch.allclose(otf(torch.ones(1, 1), 4, 6), torch.ones(4, 4) + 0j))
    True
    """
    check_room(kernel, height, width)
    kh, kw = kernel.shape[-2:]
    padded = torch.nn.functional.pad(kernel, (0, width - kw, 0, height - kh))
    return torch.fft.rfft2(padded.roll((-(kh // 2), -(kw // 2)), dims=(-2, -1)))


def fold(spectrum: Tensor, width: int, scale: int) -> Tensor:
    """Sum the s×s aliases of every low-resolution frequency.

    An alias in the half that is not stored is the conjugate of the stored one at the opposite frequency.

    Parameters
    ----------
    spectrum : Tensor, …×sh×(sw // 2 + 1)
        The half spectrum of a real image.
    width : int
        Of the image, sw, which may be even or odd.
    scale : int
        The factor s.

    Returns
    -------
    Tensor, …×h×(w // 2 + 1)
        A half spectrum too: divided by s², that of the decimated image.

    Examples
    --------
    >>> import torch
    >>> from usrnet.degradation import fold
    >>> x = torch.rand(6, 9)
    >>> small = fold(torch.fft.rfft2(x), 9, 3) / 9
    >>> bool(torch.allclose(small, torch.fft.rfft2(x[::3, ::3]), atol=1e-5))
    True
    """
    w = width // scale
    rows = reduce(torch.add, spectrum.unflatten(-2, (scale, -1)).unbind(-3))
    stored = (rows[..., i * w : i * w + w // 2 + 1] for i in range((scale + 1) // 2))
    opposite = [rows[..., i * w - w // 2 : i * w + 1].flip(-1) for i in range(1, scale // 2 + 1)]
    total = reduce(torch.add, stored)
    return total + _opposite_rows(reduce(torch.add, opposite)) if opposite else total


def unfold(spectrum: Tensor, width: int, scale: int) -> Tensor:
    """Repeat a half spectrum over its aliases: the half spectrum of the zero-filled enlargement.

    Parameters
    ----------
    spectrum : Tensor, …×h×(w // 2 + 1)
        The half spectrum of a real image.
    width : int
        Of the enlargement, sw.
    scale : int
        The factor s.

    Returns
    -------
    Tensor, …×s×h×(sw // 2 + 1)
        A view: the same for every group of h rows, as in ``other.unflatten(-2, (scale, -1))``.

    Examples
    --------
    >>> import torch
    >>> from usrnet.degradation import unfold
    >>> y, large = torch.rand(2, 3), torch.zeros(4, 6)
    >>> large[::2, ::2] = y
    >>> repeated = unfold(torch.fft.rfft2(y), 6, 2).flatten(-3, -2)
    >>> bool(torch.allclose(repeated, torch.fft.rfft2(large), atol=1e-5))
    True
    """
    if scale > 1:
        columns = width // 2 + 1
        period = whole(spectrum, width // scale)
        repeats = -(-columns // period.shape[-1])
        spectrum = torch.cat([period] * repeats, dim=-1)[..., :columns]
    return spectrum.unsqueeze(-3).expand(*spectrum.shape[:-2], scale, -1, -1)


def whole(spectrum: Tensor, width: int) -> Tensor:
    """The full spectrum …×h×w of a real picture of ``width`` = w from its stored half …×h×(w // 2 + 1)."""
    return torch.cat((spectrum, _opposite_rows(spectrum[..., 1 : (width + 1) // 2].flip(-1))), dim=-1)


def _opposite_rows(spectrum: Tensor) -> Tensor:
    """The conjugates at the opposite vertical frequencies."""
    return torch.cat((spectrum[..., :1, :], spectrum[..., 1:, :].flip(-2)), dim=-2).conj()


class Degradation:
    """The linear operator ``A = ↓s ∘ (⊗k)`` and its adjoint.

    Parameters
    ----------
    kernel : Tensor, N×1×kh×kw or N×C×kh×kw
        Kernels that sum to one; N = 1 serves a whole batch.
    scale : int
        The factor s; every s-th pixel is kept, from the upper left one on.
    height, width : int
        Of the high-resolution images N×C×height×width, in pixels.

    Raises
    ------
    UsrnetError
        The kernel is larger than the images.

    Examples
    --------
    >>> import torch
    >>> from usrnet.degradation import Degradation
    >>> blur = Degradation(torch.full((1, 1, 3, 3), 1 / 9), 2, 8, 8)
    >>> x = torch.rand(1, 3, 8, 8)
    >>> blur(x).shape
    torch.Size([1, 3, 4, 4])
    """

    def __init__(self, kernel: Tensor, scale: int, height: int, width: int) -> None:
        self.scale, self.height, self.width = scale, height, width
        self.otf = otf(kernel, height, width)

    def __call__(self, x: Tensor) -> Tensor:
        """``A x``: blur and decimate.

        Parameters
        ----------
        x : Tensor, N×C×height×width
            High-resolution images.

        Returns
        -------
        Tensor, N×C×⌈height/s⌉×⌈width/s⌉
            What is observed of them without noise.

        Examples
        --------
        >>> import torch
        >>> from usrnet.degradation import Degradation
        >>> x = torch.rand(1, 3, 6, 6)
        >>> bool(torch.allclose(Degradation(torch.ones(1, 1, 1, 1), 3, 6, 6)(x), x[..., ::3, ::3], atol=1e-6))
        True
        """
        columns = torch.fft.ifft(torch.fft.rfft2(x) * self.otf, dim=-2)
        kept = columns[..., :: self.scale, :]  # before the second transform: s times less of it
        return torch.fft.irfft(kept, n=self.width, dim=-1)[..., :: self.scale]

    def adjoint(self, y: Tensor) -> Tensor:
        """``Aᵀ y``: ``y`` on the sampled pixels and zeros elsewhere, correlated with the kernel.

        Parameters
        ----------
        y : Tensor, N×C×⌈height/s⌉×⌈width/s⌉
            Low-resolution images.

        Returns
        -------
        Tensor, N×C×height×width
            On the high-resolution grid.

        Examples
        --------
        >>> import torch
        >>> from usrnet.degradation import Degradation
        >>> blur = Degradation(torch.rand(1, 1, 3, 3), 2, 8, 8)
        >>> x, y = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 4, 4)
        >>> bool(torch.isclose((blur(x) * y).sum(), (x * blur.adjoint(y)).sum()))
        True
        """
        filled = y.new_zeros(*y.shape[:-2], self.height, self.width)
        filled[..., :: self.scale, :: self.scale] = y
        return torch.fft.irfft2(torch.fft.rfft2(filled) * self.otf.conj(), s=(self.height, self.width))


def degrade_batch(
    x: Tensor,
    kernel: Tensor,
    scale: int,
    sigma: Tensor | float = 0.0,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Blur, decimate and add noise to a batch of images; differentiable in ``x``, ``kernel`` and ``sigma``.

    Parameters
    ----------
    x : Tensor, N×C×H×W
        High-resolution images.
    kernel : Tensor, N×1×kh×kw or N×C×kh×kw
        Kernels that sum to one; N = 1 serves the batch.
    scale : int
        The factor s.
    sigma : Tensor, N×1×1×1, or float
        Standard deviation of the noise in the units of ``x``.
    generator : torch.Generator, optional
        Where the noise comes from.

    Returns
    -------
    Tensor, N×C×⌈H/s⌉×⌈W/s⌉
        The observation.

    Raises
    ------
    UsrnetError
        The kernel is larger than the images.

    Examples
    --------
    >>> import torch
    >>> from usrnet.degradation import degrade_batch
    >>> degrade_batch(torch.rand(2, 3, 12, 12), torch.full((1, 1, 5, 5), 1 / 25), 3, 0.01).shape
    torch.Size([2, 3, 4, 4])
    """
    y = Degradation(kernel, scale, *x.shape[-2:])(x)
    if isinstance(sigma, float) and sigma == 0:
        return y
    noise = torch.randn(y.shape, generator=generator, dtype=y.dtype, device=y.device)
    return y + sigma * noise


def check_scale(scale: int) -> int:
    """The scale factor, or ``UsrnetError`` if it is not one that USRNet serves."""
    try:
        whole = operator.index(scale)  # NumPy's integers too
    except TypeError:
        whole = 0
    if whole not in SCALES:
        raise UsrnetError(f"scale {scale} is not supported: choose 1, 2, 3 or 4")
    return whole


def check_room(kernel: Tensor | np.ndarray, height: int, width: int) -> None:
    """``UsrnetError`` if a kernel …×kh×kw does not fit on a grid height×width."""
    kh, kw = kernel.shape[-2:]
    if kh > height or kw > width:
        raise UsrnetError(f"the {kh}×{kw} kernel is larger than the {height}×{width} grid it should blur")


def check_noise_level(noise_level: float) -> float:
    """The noise level on the 0–255 scale, or ``UsrnetError`` if it is not a number in that range."""
    number = isinstance(noise_level, numbers.Real | np.number | np.ndarray) and np.ndim(noise_level) == 0
    if not number or not 0 <= noise_level <= 255:  # false for NaN too
        raise UsrnetError(f"noise level {noise_level!r} is not a number from 0 to 255")
    return float(noise_level)
