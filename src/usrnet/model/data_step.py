"""The data step: ``z = argmin_z ‖y − A z‖² + α ‖z − x‖²`` with ``A = ↓s ∘ (⊗k)``.

Its closed form (arXiv 2003.10428, eq. 7) is computed here as

    z = x + Aᵀ (A Aᵀ + α I)⁻¹ (y − A x),

which follows by the push-through identity and does not subtract nearly equal numbers when α is small.
``A Aᵀ`` is circulant on the low-resolution grid; its eigenvalues are the mean of |F(k)|² over the s×s
aliases of each frequency. There are no parameters.
"""

import torch
from torch import Tensor

from usrnet.degradation import fold, otf, unfold


class DataStep:
    """The data step of one observation; what does not change over the iterations is computed once.

    ``y``: N×C×h×w. ``kernel``: N×1×kh×kw or N×C×kh×kw, N may be 1. ``scale``: s ≥ 1.
    """

    def __init__(self, y: Tensor, kernel: Tensor, scale: int) -> None:
        self.scale = scale
        self.height, self.width = scale * y.shape[-2], scale * y.shape[-1]
        # Rounding errors of F(y) are amplified by up to 1/(2√α) where the blur has erased a frequency, those of
        # the iterations are not. So what is computed once is computed in float64 and rounded at the end.
        exact = otf(kernel.double(), self.height, self.width)
        # All three times s², which saves a division of every ``fold`` by s².
        power = fold(exact.real.square() + exact.imag.square(), self.width, scale)
        y_spectrum = scale**2 * torch.fft.rfft2(y.double())
        self.otf = exact.to(y.dtype.to_complex())
        self.y_spectrum = y_spectrum.to(y.dtype.to_complex())
        self.eigenvalues = power.to(y.dtype)

    def __call__(self, x: Tensor, alpha: Tensor) -> Tensor:
        """``x``: N×C×sh×sw, ``alpha``: N×1×1×1 and positive. Returns ``z``, N×C×sh×sw."""
        predicted = fold(torch.fft.rfft2(x) * self.otf, self.width, self.scale)
        residual = (self.y_spectrum - predicted) / (self.eigenvalues + self.scale**2 * alpha)
        correction = self.otf.conj().unflatten(-2, (self.scale, -1)) * unfold(residual, self.width, self.scale)
        return x + torch.fft.irfft2(correction.flatten(-3, -2), s=(self.height, self.width))


def data_step(x: Tensor, y: Tensor, kernel: Tensor, alpha: Tensor, scale: int) -> Tensor:
    """One data step: ``x`` N×C×sh×sw, ``y`` N×C×h×w, ``kernel`` N×{1,C}×kh×kw, ``alpha`` N×1×1×1 → ``z``."""
    return DataStep(y, kernel, scale)(x, alpha)
