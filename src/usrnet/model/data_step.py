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

    Parameters
    ----------
    y : Tensor, N×C×h×w
        The observation.
    kernel : Tensor, N×1×kh×kw or N×C×kh×kw
        Kernels that sum to one; N may be 1.
    scale : int
        The scale factor, s ≥ 1.

    Raises
    ------
    UsrnetError
        The kernel is larger than the enlarged image.

    Examples
    --------
    >>> import torch
    >>> from usrnet.model import DataStep
    >>> step = DataStep(torch.rand(1, 3, 8, 8), torch.full((1, 1, 3, 3), 1 / 9), 2)
    >>> step(torch.rand(1, 3, 16, 16), torch.full((1, 1, 1, 1), 0.01)).shape
    torch.Size([1, 3, 16, 16])
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
        """One data step, ``z = x + Aᵀ (A Aᵀ + α I)⁻¹ (y − A x)``.

        Parameters
        ----------
        x : Tensor, N×C×sh×sw
            What the prior said.
        alpha : Tensor, N×1×1×1
            How much it is trusted; positive.

        Returns
        -------
        Tensor, N×C×sh×sw
            The ``z`` with the least ``‖y − A z‖² + α ‖z − x‖²``.

        Examples
        --------
        >>> import torch
        >>> from usrnet.model import DataStep
        >>> x, y = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
        >>> float(DataStep(y, torch.ones(1, 1, 1, 1), 1)(x, torch.ones(1, 1, 1, 1))[0, 0, 0, 0])
        0.5
        """
        predicted = fold(torch.fft.rfft2(x) * self.otf, self.width, self.scale)
        residual = (self.y_spectrum - predicted) / (self.eigenvalues + self.scale**2 * alpha)
        correction = self.otf.conj().unflatten(-2, (self.scale, -1)) * unfold(residual, self.width, self.scale)
        return x + torch.fft.irfft2(correction.flatten(-3, -2), s=(self.height, self.width))


def data_step(x: Tensor, y: Tensor, kernel: Tensor, alpha: Tensor, scale: int) -> Tensor:
    """One data step; for several with one observation make a :class:`DataStep`.

    Parameters
    ----------
    x : Tensor, N×C×sh×sw
        What the prior said.
    y : Tensor, N×C×h×w
        The observation.
    kernel : Tensor, N×1×kh×kw or N×C×kh×kw
        Kernels that sum to one; N may be 1.
    alpha : Tensor, N×1×1×1
        How much ``x`` is trusted; positive.
    scale : int
        The scale factor, s ≥ 1.

    Returns
    -------
    Tensor, N×C×sh×sw
        The ``z`` with the least ``‖y − A z‖² + α ‖z − x‖²``.

    Raises
    ------
    UsrnetError
        The kernel is larger than the enlarged image.

    Examples
    --------
    >>> import torch
    >>> from usrnet.model import data_step
    >>> x, y, alpha = torch.zeros(1, 3, 12, 12), torch.rand(1, 3, 4, 4), torch.full((1, 1, 1, 1), 1e-3)
    >>> data_step(x, y, torch.full((1, 1, 5, 5), 1 / 25), alpha, 3).shape
    torch.Size([1, 3, 12, 12])
    """
    return DataStep(y, kernel, scale)(x, alpha)
