"""What is known of one picture ``y = (x ⊗ k)↓s + n``: the scale, the kernel and the noise level."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from usrnet import kernels
from usrnet.degradation import check_noise_level, check_scale

DEFAULT_WIDTHS = {1: 0.4, 2: 0.7, 3: 1.5, 4: 2.0}
"""Gaussian widths (in high-resolution pixels) that suit clean photos, by scale (the published choice)."""

DEFAULT_NOISE_LEVEL = 2.0


@dataclass(frozen=True, eq=False)
class Observation:
    """``scale``: s; ``taps``: the kernel, C×kh×kw float64 with C = 1 or 3; ``noise_level``: on the 0–255 scale."""

    scale: int
    taps: np.ndarray
    noise_level: float

    @cached_property
    def extent(self) -> tuple[int, int]:
        """The sides of the window that holds the kernel; the margins of nothing around it cost time for nothing."""
        return kernels.extent(self.taps)


def observe(
    *, scale: int = 2, kernel: np.ndarray | str | None = None, noise_level: float = DEFAULT_NOISE_LEVEL
) -> Observation:
    """What a person says of a picture, checked: a kernel is an array, a text, or None for the mild default.

    Raises ``UsrnetError`` for a scale, a kernel or a noise level that makes no sense.
    """
    s = check_scale(scale)
    taps = kernels.resolve(default_kernel(s) if kernel is None else kernel, scale=s)
    return Observation(s, taps, check_noise_level(noise_level))


def default_kernel(scale: int) -> str:
    """The text of the kernel that is used when none is given."""
    return f"gaussian:{DEFAULT_WIDTHS[check_scale(scale)]}"
