"""Extending a picture so that it wraps around: the model is circular, pictures are not.

``extend``: the picture is completed to a torus by patches whose Laplacian is zero and whose edges continue the
picture's (R. Liu and J. Jia, "Reducing boundary artifacts in image deconvolution", ICIP 2008). Each patch solves the
Laplace equation with Dirichlet boundary values by a type-1 sine transform.

``extrapolate``: smooth is not enough. What is put beyond the border must be something that the blur can produce,
or the deconvolution amplifies what it cannot explain, and rings. A sharp picture has about the spectral density
``S_x(f) ∝ 1/|f|²`` (D. J. Field, JOSA A 4(12), 1987), so the observed one, ``y = (x ⊗ k)↓s + n``, is a stationary
process with the density ``S_y = (|F(k)|² S_x)↓s + σ²``, the first term being the mean over the s×s aliases. What is
beyond the border is predicted as the conditional mean of that process given the picture: the pixels that minimise
``yᵀ C⁻¹ y`` with the circulant covariance C whose eigenvalues are ``S_y``.
"""

import math

import torch
from torch import Tensor

from usrnet.degradation import fold, otf, whole

DENSITY = 0.002  # S_x = DENSITY / (|f|² + LOWEST²), f in cycles per pixel: pictures in [0,1] have a deviation of 0.25
LOWEST = 1 / 256
NOISE_FLOOR = 0.5 / 255  # no picture that was stored in 8 bits has less noise
CHUNK = 2**20  # numbers in the matrices that are factored at once


def extended_length(length: int, kernel_length: int, scale: int) -> int:
    """The length to which a low-resolution side is extended.

    The gap covers the kernel (so that nothing wraps into the picture), the enlarged length is a multiple of 8
    (the prior halves it three times) and has small prime factors (for the FFT).
    """
    extended = length + max(4, math.ceil(kernel_length / scale))
    while scale * extended % 8 or not _is_fast(scale * extended):
        extended += 1
    return extended


def _is_fast(length: int) -> bool:
    """Whether no prime factor is above 11. (``scipy.fft.next_fast_len`` knows, but takes 0.3 s to import.)"""
    for factor in (2, 3, 5, 7, 11):
        while length % factor == 0:
            length //= factor
    return length == 1


def extend(picture: Tensor, height: int, width: int) -> Tensor:
    """Extend a picture at the bottom and on the right so that it wraps smoothly (Liu & Jia 2008).

    ``picture``: …×h×w with height ≥ h and width ≥ w. Returns …×height×width whose upper-left corner is the
    picture. A side that is not extended stays as it is.
    """
    h, w = picture.shape[-2:]
    if height < h or width < w:
        raise ValueError(f"cannot extend {h}×{w} to {height}×{width}")
    below = _bridge(picture[..., -1:, :], picture[..., :1, :], height - h)
    right = _bridge(picture[..., :, -1:].mT, picture[..., :, :1].mT, width - w).mT
    # The corner continues the patch to the right downwards and the patch below to the right.
    corner = _harmonic(
        top=right[..., -1:, :],
        bottom=right[..., :1, :],
        left=below[..., :, -1:],
        right=below[..., :, :1],
    )
    # The published code starts this patch one row early, on a copy of the picture's last row. That is kept:
    # it costs nothing that can be seen, and results can be compared number for number.
    below = torch.cat((picture[..., -1:, :], below), -2)[..., : height - h, :]
    return torch.cat((torch.cat((picture, right), -1), torch.cat((below, corner), -1)), -2)


def extrapolate(
    picture: Tensor, kernel: Tensor, scale: int, sigma: Tensor | float, height: int, width: int
) -> Tensor:
    """Extend a blurred picture at the bottom and on the right by what the blur predicts there.

    ``picture``: N×C×h×w in [0,1], height ≥ h and width ≥ w. ``kernel``: N×{1,C}×kh×kw and ``scale``: what blurred it.
    ``sigma``: the standard deviation of the noise, in [0,1], a number or N×1×1×1. Returns N×C×height×width
    whose upper-left corner is the picture. Computed in float64. Raises ``UsrnetError`` when the kernel does not fit.
    """
    h, w = picture.shape[-2:]
    exact = picture.double()
    mean = exact.mean(dim=(-2, -1), keepdim=True)
    y = extend(exact - mean, height, width)
    noise = torch.as_tensor(sigma, dtype=y.dtype, device=y.device).clamp_min(NOISE_FLOOR)
    precision = 1 / observed_density(kernel.to(y), scale, noise, height, width)
    # The two strips meet in the corner only: one after the other, each exactly, is as good as both together.
    _predict_rows(y.mT, precision.mT, w)
    _predict_rows(y, precision, h)
    y += mean
    return y.to(picture.dtype)


def observed_density(kernel: Tensor, scale: int, sigma: Tensor, height: int, width: int) -> Tensor:
    """``S_y`` on the frequencies of the observed grid: …×kh×kw → …×height×width."""
    full_height, full_width = scale * height, scale * width
    fy = torch.fft.fftfreq(full_height, dtype=kernel.dtype, device=kernel.device)[:, None]
    fx = torch.fft.rfftfreq(full_width, dtype=kernel.dtype, device=kernel.device)
    transfer = otf(kernel, full_height, full_width)
    density = transfer * transfer.conj() * (DENSITY / (fy.square() + fx.square() + LOWEST**2))
    return whole(fold(density, full_width, scale), width).real / scale**2 + sigma.square()


def _predict_rows(y: Tensor, precision: Tensor, first: int) -> None:
    """Set the rows of ``y`` from ``first`` on so that ``yᵀ C⁻¹ y`` is least; the other rows are given.

    ``precision``: the eigenvalues of C⁻¹. Horizontal frequencies do not mix: each has a Toeplitz system of its own,
    with as many unknowns as rows miss.
    """
    height, width = y.shape[-2:]
    missing = height - first
    if missing == 0:
        return
    half = precision[..., : width // 2 + 1]
    gradient = torch.fft.irfft2(torch.fft.rfft2(y) * half, s=(height, width))[..., first:, :]
    gradient = torch.fft.rfft(gradient).mT[..., None]
    rows = torch.arange(missing, device=y.device)
    response = torch.fft.irfft2(half, s=(height, width))  # of C⁻¹ to one pixel
    response = torch.fft.rfft(response[..., :missing, :]).mT
    apart = rows[:, None] - rows
    step = torch.empty_like(gradient)
    for part in torch.arange(width // 2 + 1, device=y.device).split(max(1, CHUNK // missing**2)):
        system = response[..., part, :][..., apart.clamp_min(0)]  # above the diagonal nobody looks
        factor = torch.linalg.cholesky(system)
        step[..., part, :, :] = torch.cholesky_solve(gradient[..., part, :, :], factor)
    y[..., first:, :] -= torch.fft.irfft(step[..., 0].mT, n=width)


def _bridge(first: Tensor, last: Tensor, rows: int) -> Tensor:
    """``rows`` rows between the rows ``first`` and ``last`` (…×1×w), linear along the two outer columns."""
    if rows == 0:
        return first[..., :0, :]
    # The ramp reaches both ends, so that its first and last pixels repeat the picture's.
    ramp = torch.linspace(0, 1, rows, dtype=first.dtype, device=first.device)[:, None]
    sides = (1 - ramp) * first[..., [0, -1]] + ramp * last[..., [0, -1]]
    if first.shape[-1] < 3:
        return sides[..., : first.shape[-1]]
    inner = _harmonic(top=first[..., 1:-1], bottom=last[..., 1:-1], left=sides[..., :1], right=sides[..., 1:])
    return torch.cat((sides[..., :1], inner, sides[..., 1:]), -1)


def _harmonic(*, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The …×m×n patch with zero Laplacian between the rows (…×1×n) and columns (…×m×1) that frame it."""
    m, n = left.shape[-2], top.shape[-1]
    load = top.new_zeros(*top.shape[:-2], m, n)
    if m == 0 or n == 0:
        return load
    load[..., :1, :] -= top
    load[..., -1:, :] -= bottom
    load[..., :, :1] -= left
    load[..., :, -1:] -= right

    def eigenvalues(length: int) -> Tensor:
        k = torch.arange(1, length + 1, dtype=top.dtype, device=top.device)
        return 2 * torch.cos(math.pi * k / (length + 1)) - 2

    spectrum = _sine(_sine(load).mT).mT / (eigenvalues(m)[:, None] + eigenvalues(n))
    return _sine(_sine(spectrum).mT).mT / (4 * (m + 1) * (n + 1))


def _sine(x: Tensor) -> Tensor:
    """Unnormalised type-1 discrete sine transform of the last axis, ``2 Σ_j x_j sin(π (j+1)(k+1)/(n+1))``."""
    n = x.shape[-1]
    zero = x.new_zeros(*x.shape[:-1], 1)
    odd = torch.cat((zero, x, zero, -x.flip(-1)), -1)
    return -torch.fft.rfft(odd).imag[..., 1 : n + 1]
