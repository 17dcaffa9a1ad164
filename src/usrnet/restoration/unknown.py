"""A picture whose kernel or noise level nobody knows: ``kernel="auto"``, ``noise_level="auto"``.

The one place where what is unknown becomes an ``Observation``, picture by picture; the library's ``restore``, files,
large TIFFs and folders all come here.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from usrnet import kernels
from usrnet.degradation import check_noise_level, check_scale
from usrnet.errors import UsrnetError
from usrnet.restoration.observation import DEFAULT_NOISE_LEVEL, Observation, observe

if TYPE_CHECKING:
    from usrnet.estimate import Estimate, Jpeg

AUTO = "auto"


@dataclass(frozen=True, eq=False)
class Unknown:
    """What is known of every picture; None is what has to be found in each. ``taps``: C×kh×kw."""

    scale: int
    taps: np.ndarray | None
    noise_level: float | None


def ask(
    *, scale: int = 2, kernel: np.ndarray | str | None = None, noise_level: float | str = DEFAULT_NOISE_LEVEL
) -> Observation | Unknown:
    """As :func:`~usrnet.restoration.observe`, but kernel and noise level may also be ``"auto"``.

    Raises ``UsrnetError`` for what makes no sense.
    """
    unknown_kernel = isinstance(kernel, str) and kernel == AUTO
    level = None if noise_level == AUTO else check_noise_level(number(noise_level))
    if level is not None and not unknown_kernel:
        return observe(scale=scale, kernel=kernel, noise_level=level)
    taps = None if unknown_kernel else observe(scale=scale, kernel=kernel).taps
    return Unknown(check_scale(scale), taps, level)


def number(noise_level: float | str) -> float:
    """A noise level as a number; raises ``UsrnetError`` for a text that is none."""
    try:
        return float(noise_level)
    except ValueError as error:
        raise UsrnetError(f"noise level {noise_level!r} is not auto and not a number from 0 to 255") from error


def settle(
    known: Observation | Unknown, pixels: Any, jpeg: "Jpeg | None" = None
) -> "tuple[Observation, Estimate | None]":
    """What is known of one picture once it has been looked at, and the estimate if one was needed.

    ``pixels``: an array, or a file of which rows can be read. ``jpeg``: the tables of the JPEG file it comes from.
    """
    if isinstance(known, Observation):
        return known, None
    from usrnet.estimate import estimate_parts, noise_to_feed, parts_of

    found = estimate_parts(parts_of(pixels), scale=known.scale, jpeg=jpeg)
    taps = kernels.resolve(found.kernel, scale=known.scale) if known.taps is None else known.taps
    level = noise_to_feed(found.noise_level) if known.noise_level is None else known.noise_level
    return Observation(known.scale, taps, level), found
