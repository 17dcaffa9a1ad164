"""A blur as its covariance, ``Σ = ∫ (r − r̄)(r − r̄)ᵀ k(r) dr``, and the kernel that belongs to it.

A Gaussian is its covariance; of any other kernel it says how far and in which direction light is spread. Estimates
are made, fused and compared in its matrix logarithm, where errors of narrow and wide blurs weigh the same, every
number is a valid answer, and nothing jumps when the axes of a round blur change places:
``log Σ = [[u + p, q], [q, u − p]]``, so that u is the logarithm of the mean variance and (p, q) is the elongation.

Covariances are triples (xx, xy, yy), logarithms triples (u, p, q).
"""

import math

import numpy as np
import torch
from torch import Tensor

FLOOR = 0.02
"""Added to variances in low-resolution pixels before the logarithm: blurs below 0.14 pixels are all the same."""


def logarithm(covariance: Tensor) -> Tensor:
    """``log (Σ + FLOOR)`` of N×3 covariances in low-resolution pixels → N×3."""
    xx, xy, yy = covariance.unbind(-1)
    mean, half, radius = _split(xx, xy, yy)
    high = torch.log(mean + radius + FLOOR)
    low = torch.log((mean - radius).clamp_min(0) + FLOOR)
    slope = (high - low) / 2 / radius
    return torch.stack([(high + low) / 2, slope * half, slope * xy], -1)


def exponential(log_covariance: Tensor) -> Tensor:
    """The inverse of :func:`logarithm`; variances below zero, which the floor makes possible, become zero."""
    u, p, q = log_covariance.unbind(-1)
    radius = torch.sqrt(p * p + q * q + 1e-12)
    high = (torch.exp(u + radius) - FLOOR).clamp_min(0)
    low = (torch.exp(u - radius) - FLOOR).clamp_min(0)
    mean, slope = (high + low) / 2, (high - low) / 2 / radius
    return torch.stack([mean + slope * p, slope * q, mean - slope * p], -1)


def _split(xx: Tensor, xy: Tensor, yy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    half = (xx - yy) / 2
    return (xx + yy) / 2, half, torch.sqrt(half * half + xy * xy + 1e-12)


def moments(taps: np.ndarray) -> np.ndarray:
    """The covariance of kernels, …×kh×kw → …×3, in pixels of the kernel: what its taps realise."""
    height, width = taps.shape[-2:]
    y, x = np.arange(height)[:, None], np.arange(width)

    def mean(values: np.ndarray) -> np.ndarray:
        return (taps * values).sum(axis=(-2, -1))

    centre_x, centre_y = mean(x + 0 * y), mean(y + 0 * x)
    return np.stack(
        [mean(x * x + 0 * y) - centre_x**2, mean(x * y) - centre_x * centre_y, mean(y * y + 0 * x) - centre_y**2], -1
    )


def axes(covariance: np.ndarray) -> tuple[float, float, float]:
    """The standard deviations along the longer and the shorter axis, and the longer one's angle in degrees.

    The angle is to the horizontal, clockwise as seen on the screen, in [0, 180); 0 for a round blur.
    """
    xx, xy, yy = (float(value) for value in covariance)
    mean, radius = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    degrees = math.degrees(math.atan2(2 * xy, xx - yy)) / 2 % 180
    return math.sqrt(max(mean + radius, 0)), math.sqrt(max(mean - radius, 0)), degrees


def text_of(covariance: np.ndarray, *, scale: int) -> str:
    """The Gaussian with a covariance in high-resolution pixels, as :func:`usrnet.kernels.parse` takes it.

    Where the blur is so narrow that a sampled Gaussian realises another variance than it is drawn with, the drawn
    one is chosen so that the realised one is right.
    """
    major, minor, degrees = axes(covariance)
    along, across = (_drawn_width(width, scale) for width in (major, minor))
    if along < 1.005 * across:
        return f"gaussian:{math.sqrt(along * across):.3f}"
    return f"gaussian:{along:.3f},{across:.3f},{degrees:.1f}"


def _drawn_width(width: float, scale: int) -> float:
    """The width with which to draw a Gaussian whose taps shall have the standard deviation ``width``."""
    if width > 0.8:
        return width
    grid = np.linspace(0.1, 0.9, 81)
    taps = np.arange(-6, 7) + (scale - 1) / 2 % 1
    weights = np.exp(-0.5 * (taps**2 - (taps**2).min()) / grid[:, None] ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    mean = weights @ taps
    realised = np.sqrt(np.maximum(weights @ taps**2 - mean**2, 0))
    return float(np.interp(width, realised, grid))


def matching_variance(kernel: np.ndarray) -> float:
    """The variance of the round Gaussian that blurs photos most like a kernel does.

    Kernels with negative taps (bicubic, Lanczos) keep more of the picture than they spread: their covariance is
    near zero although they blur. The difference is weighed by 1/f², the spectrum of photographs.
    """
    size = 64
    spectrum = np.abs(np.fft.fft2(kernel, (size, size)))
    f = np.fft.fftfreq(size)
    squared = f[:, None] ** 2 + f**2
    weight = 1 / (squared + 1 / size**2)
    variances = np.geomspace(0.01, 20, 400)
    errors = [(weight * (spectrum - np.exp(-2 * np.pi**2 * v * squared)) ** 2).sum() for v in variances]
    return float(variances[int(np.argmin(errors))])
